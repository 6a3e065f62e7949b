//! Owns lines for people: broken between words, and not inside a command in backticks that fits on a line of its own; a page
//! cut to the rows that there are.
//!
//! A program that reads them gets each line whole.

use rollout_api::unbroken;

use crate::env::{Env, Screen};

/// `text` as a line of a page: indented by `indent` blanks, and on a terminal broken where it is too long. What follows is
/// indented by two more.
pub(super) fn line(text: &str, indent: usize, env: &Env) -> String {
    let whole = format!("{:indent$}{text}\n", "");
    let width = usize::from(env.width);
    if env.stdout == Screen::Pipe || whole.chars().count() <= width + 1 {
        return whole;
    }
    let mut page = format!("{:indent$}", "");
    let mut used = indent;
    let hang = indent + 2;
    for word in unbroken(text, width.saturating_sub(hang)) {
        let len = word.chars().count();
        let is_first = used == indent && page.ends_with(' ') || page.is_empty();
        if !is_first && used + 1 + len > width {
            page.push_str(&format!("\n{:hang$}", ""));
            used = hang;
        } else if !is_first {
            page.push(' ');
            used += 1;
        }
        page.push_str(word);
        used += len;
    }
    page.push('\n');
    page
}

/// As much of `page` as the terminal has rows for, from the top; the last row says how to see the rest.
pub(crate) fn cut(page: &str, id: &str, env: &Env) -> String {
    let width = usize::from(env.width);
    let Some(rows) = env.rows.map(usize::from) else { return page.to_owned() };
    let rows_of = |line: &str| line.chars().count().div_ceil(width).max(1);
    // The cursor stands below the page.
    let room = rows.saturating_sub(1);
    if page.lines().map(rows_of).sum::<usize>() <= room {
        return page.to_owned();
    }
    let (mut used, mut shown) = (0, String::new());
    let mut lines = page.lines();
    for line in lines.by_ref() {
        used += rows_of(line);
        if used >= room {
            break;
        }
        shown.push_str(line);
        shown.push('\n');
    }
    // The line that did not fit is one of them.
    let more = 1 + lines.count();
    let last = format!("… {more} more lines; rolloutctl get {id} shows all");
    shown.push_str(&last.chars().take(width).collect::<String>());
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    fn on(width: u16, rows: u16) -> Env {
        Env { stdout: Screen::Terminal, width, rows: Some(rows), ..samples::env() }
    }

    #[test]
    fn a_command_stays_whole_where_it_fits() {
        let text = "a person: Runbook reviewed (`rolloutctl check r1 runbook --phase 1 --reason …`), then more";
        assert_eq!(
            line(text, 2, &on(62, 24)),
            "  a person: Runbook reviewed\n    (`rolloutctl check r1 runbook --phase 1 --reason …`), then\n    more\n"
        );
        let narrow = line(text, 2, &on(40, 24));
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert_eq!(line(text, 2, &samples::env()), format!("  {text}\n"), "a pipe gets it whole");
        assert_eq!(line("short `x", 0, &on(40, 24)), "short `x\n");
    }

    #[test]
    fn a_page_is_cut_to_the_rows_that_there_are() {
        let page: String = (1..=30).map(|number| format!("line {number}\n")).collect();
        let shown = cut(&page, "r2", &on(80, 24));
        assert_eq!(shown.lines().count(), 23);
        assert!(shown.starts_with("line 1\n") && shown.contains("line 22\n"));
        assert!(shown.ends_with("… 8 more lines; rolloutctl get r2 shows all\n"), "{shown}");
        assert_eq!(cut(&page, "r2", &on(80, 31)), page);
        let long = format!("{}\n{page}", "x".repeat(200));
        assert_eq!(
            cut(&long, "r2", &on(80, 24)).lines().count(),
            21,
            "a long line takes three rows"
        );
        assert_eq!(cut(&page, "r2", &Env { rows: None, ..on(80, 24) }), page);
    }
}
