//! Owns tables: columns in line, two blanks between them, no boxes. Cells wrap where a page is narrow.

use comfy_table::{ContentArrangement, Table, presets};

/// A table as text, each line indented by `indent` blanks.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, indent: usize, width: u16) -> String {
    let mut table = Table::new();
    let taken = u16::try_from(indent).unwrap_or(0);
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.saturating_sub(taken))
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

    #[test]
    fn columns_are_in_line_and_a_narrow_page_wraps_words() {
        let rows = vec![vec!["r1".to_string(), "a long headline of a rollout".to_string()]];
        assert_eq!(
            table(&["ID", "HEADLINE"], rows.clone(), 2, 80),
            "  ID  HEADLINE\n  r1  a long headline of a rollout\n"
        );
        let narrow = table(&["ID", "HEADLINE"], rows, 2, 24);
        assert!(
            narrow.lines().count() > 2 && narrow.lines().all(|line| line.len() <= 24),
            "{narrow}"
        );
    }
}
