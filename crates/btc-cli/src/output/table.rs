//! Tables of text.

/// The lines of a table; columns of numbers are right-aligned.
pub(crate) fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    let mut numeric = vec![true; header.len()];
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            widths[column] = widths[column].max(width(cell));
            let bare = cell.trim_end_matches('%').trim();
            numeric[column] &= bare.is_empty() || bare == "-" || bare.parse::<f64>().is_ok();
        }
    }
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate().take(widths.len()) {
            let pad = " ".repeat(widths[column].saturating_sub(width(cell)));
            if numeric[column] && !rows.is_empty() {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
            line.push_str("  ");
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![render(&mut header.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| render(&mut row.iter().map(String::as_str))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_align_right_and_words_left() {
        let rows = vec![
            vec!["a".into(), "1.5".into()],
            vec!["bcd".into(), "20".into()],
        ];
        assert_eq!(
            table_lines(&["name", "n"], &rows),
            ["name    n", "a     1.5", "bcd    20"]
        );
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(table_lines(&["name", "n"], &[]), ["name  n"]);
    }
}
