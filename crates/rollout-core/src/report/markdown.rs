//! Owns the page: blocks with the right blank lines between them, and the escaping of every text that is not ours.
//!
//! Invariant: a text that went through [`inline`] stays within its line and its table cell, one that went through [`code`]
//! within its code span, whatever it contains.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A page under way.
pub(super) struct Page {
    text: String,
    after_heading: bool,
}

/// A table under way; cells are Markdown already.
pub(super) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { text: String::new(), after_heading: false }
    }

    /// The page, ending in one line break.
    pub(super) fn finish(self) -> String {
        let mut text = self.text;
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    /// A heading; what follows one of level 3 stands right under it, as in the guide's log.
    pub(super) fn heading(&mut self, level: usize, title: &str) {
        self.after_heading = false;
        self.block(&[format!("{} {title}", "#".repeat(level))]);
        self.after_heading = level == 3;
    }

    pub(super) fn rule(&mut self) {
        self.block(&["---".to_string()]);
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.block(&[text.to_string()]);
    }

    /// Lines of `**Label:** value`, each on a line of its own also when rendered.
    pub(super) fn fields(&mut self, fields: &[(&str, String)]) {
        let last = fields.len().saturating_sub(1);
        let line = |(index, (label, value)): (usize, &(&str, String))| {
            let end = if index < last { "  " } else { "" };
            format!("**{label}:** {value}{end}")
        };
        self.block(&fields.iter().enumerate().map(line).collect::<Vec<_>>());
    }

    /// A list; nothing at all when it is empty.
    pub(super) fn bullets(&mut self, items: &[String]) {
        self.block(&items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>());
    }

    /// A code block that its lines cannot end, because its fence is longer than any run of backticks in them.
    pub(super) fn fence(&mut self, language: &str, lines: &[String]) {
        let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
        let fence = "`".repeat(longest.saturating_add(1).max(3));
        let mut block = Vec::from([format!("{fence}{language}")]);
        block.extend(lines.iter().map(|line| without_controls(line)));
        block.push(fence);
        self.block(&block);
    }

    pub(super) fn table(&mut self, table: &Table) {
        let rule: String =
            table.heads.iter().map(|head| "-".repeat(head.chars().count() + 2) + "|").collect();
        let mut lines = Vec::from([row(&table.heads), format!("|{rule}")]);
        lines.extend(table.rows.iter().map(|cells| row(cells)));
        self.block(&lines);
    }

    fn block(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if !self.after_heading && !self.text.is_empty() {
            self.text.push('\n');
        }
        self.after_heading = false;
        for line in lines {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}

impl Table {
    pub(super) fn new<'h>(heads: impl IntoIterator<Item = &'h str>) -> Self {
        Self { heads: heads.into_iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

fn row(cells: &[String]) -> String {
    let cell = |cell: &String| match cell.is_empty() {
        true => " |".to_string(),
        false => format!(" {cell} |"),
    };
    format!("|{}", cells.iter().map(cell).collect::<String>())
}

/// A foreign text as Markdown that shows it to the letter, on one line, in a paragraph as well as in a table cell.
pub(super) fn inline(text: &str) -> String {
    let text = one_line(text);
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let special = match letter {
            '\\' | '`' | '*' | '|' | '[' | ']' | '#' | '~' | '&' => true,
            // `target < 1` begins no tag.
            '<' => letters.peek().is_some_and(|after| *after != ' '),
            // Inside a word an underscore is only itself: flag names stay readable.
            '_' => {
                let after = letters.peek().copied().unwrap_or(' ');
                !(before.is_alphanumeric() && after.is_alphanumeric())
            }
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(letter);
        before = letter;
    }
    escaped
}

/// A foreign text as a code span. Not for table cells: a code span cannot escape the bar between two of them.
pub(super) fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    match text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// A text on one line: line breaks and other control characters become blanks, and runs of blanks become one.
pub(super) fn one_line(text: &str) -> String {
    let text = without_controls(text);
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn without_controls(text: &str) -> String {
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    text.chars().map(|letter| if breaks(letter) { ' ' } else { letter }).collect()
}

fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_in_its_line_and_cell() {
        assert_eq!(inline("a|b\n# c"), "a\\|b \\# c");
        assert_eq!(inline("``` <b> *x*"), "\\`\\`\\` \\<b> \\*x\\*");
        assert_eq!(inline("ENABLE_WORKFLOW _x_ error_rate"), "ENABLE_WORKFLOW \\_x\\_ error_rate");
        assert_eq!(inline("< 1 <!-- </b>"), "< 1 \\<!-- \\</b>");
        assert_eq!(inline("\u{1b}[31mred\r\n\t\u{2028}end"), "\\[31mred end");
        assert_eq!(inline("back\\slash"), "back\\\\slash");
    }

    #[test]
    fn code_spans_are_longer_than_the_backticks_in_them() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code("a|b\nc"), "`a|b c`");
    }

    #[test]
    fn fences_cannot_be_closed_from_inside() {
        let mut page = Page::new();
        page.fence("bash", &["```".to_string(), "````` x".to_string()]);
        assert_eq!(page.finish(), "``````bash\n```\n````` x\n``````\n");
    }

    #[test]
    fn blocks_are_set_apart_except_right_under_a_small_heading() {
        let mut page = Page::new();
        page.heading(2, "Two");
        page.heading(3, "None");
        page.heading(3, "Three");
        page.fields(&[("A", "1".to_string()), ("B", "2".to_string())]);
        page.bullets(&[]);
        page.bullets(&["x".to_string()]);
        assert_eq!(page.finish(), "## Two\n\n### None\n\n### Three\n**A:** 1  \n**B:** 2\n\n- x\n");
    }

    #[test]
    fn empty_cells_keep_their_column() {
        let mut table = Table::new(["Checkpoint", "Time"]);
        table.row(["T+1h".to_string(), String::new()]);
        let mut page = Page::new();
        page.table(&table);
        assert_eq!(page.finish(), "| Checkpoint | Time |\n|------------|------|\n| T+1h | |\n");
    }
}
