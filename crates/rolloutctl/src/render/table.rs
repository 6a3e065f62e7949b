//! Owns tables: columns in line, two blanks between them, no boxes. Cells wrap where a person's page is narrow; a program that
//! reads them gets each row on one line, whole.

use comfy_table::{ContentArrangement, Table, presets};

use crate::env::{Env, Screen};

/// A table as text, each line indented by `indent` blanks.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, indent: usize, env: &Env) -> String {
    let mut table = Table::new();
    let taken = u16::try_from(indent).unwrap_or(0);
    let arrangement = match env.stdout {
        Screen::Terminal | Screen::Monochrome => ContentArrangement::Dynamic,
        Screen::Pipe => ContentArrangement::Disabled,
    };
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(arrangement)
        .set_width(env.width.saturating_sub(taken))
        .set_header(header.to_vec())
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let line = |line: String| format!("{:indent$}{}\n", "", line.trim_end());
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn columns_are_in_line_and_a_narrow_page_wraps_words() {
        let rows = vec![vec!["r1".to_string(), "a long headline of a rollout".to_string()]];
        assert_eq!(
            table(&["ID", "HEADLINE"], rows.clone(), 2, &on(Screen::Monochrome, 80)),
            "  ID  HEADLINE\n  r1  a long headline of a rollout\n"
        );
        let narrow = table(&["ID", "HEADLINE"], rows, 2, &on(Screen::Terminal, 24));
        assert!(
            narrow.lines().count() > 2 && narrow.lines().all(|line| line.len() <= 24),
            "{narrow}"
        );
    }

    #[test]
    fn a_program_gets_each_row_on_one_line() {
        let long = "a headline that goes on and on ".repeat(10);
        let rows = vec![vec!["r1".to_string(), long.clone()]];
        let page = table(&["ID", "HEADLINE"], rows, 0, &on(Screen::Pipe, 40));
        assert_eq!(page.lines().count(), 2, "{page}");
        assert!(page.contains(long.trim_end()), "{page}");
    }

    fn on(stdout: Screen, width: u16) -> Env {
        Env { stdout, width, ..samples::env() }
    }
}
