//! Tables of text.

use std::io::IsTerminal as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The columns of a terminal that does not say how many it has.
const USUAL_WIDTH: u16 = 80;

/// The columns of the terminal that stdout is; none if it is none.
pub(crate) fn terminal_width() -> Option<u16> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = terminal_size::terminal_size_of(&stdout);
    let width = size.map(|(width, _)| width.0).filter(|width| 0 < *width);
    Some(width.unwrap_or(USUAL_WIDTH))
}

/// The lines of a table; columns of numbers are right-aligned. With a width, long cells are
/// wrapped to fit it; without, each row is one line.
pub(crate) fn table_lines(
    header: &[&str],
    rows: &[Vec<String>],
    width: Option<u16>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for (index, column) in table.column_iter_mut().enumerate() {
        // The gap to the next column; the last one has none to keep.
        let gap = if index + 1 == header.len() { 0 } else { 2 };
        column.set_padding((0, gap));
        let mut cells = rows.iter().filter_map(|row| row.get(index));
        if !rows.is_empty() && cells.all(|cell| is_number(cell)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

fn is_number(cell: &str) -> bool {
    let bare = cell.trim_end_matches('%').trim();
    bare.is_empty() || bare == "-" || bare.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn numbers_align_right_and_words_left() {
        let rows = [row(&["a", "1.5"]), row(&["bcd", "20"])];
        assert_eq!(
            table_lines(&["name", "n"], &rows, None),
            ["name    n", "a     1.5", "bcd    20"]
        );
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(table_lines(&["name", "n"], &[], None), ["name  n"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let rows = [row(&["価格", "1"]), row(&["ab", "2"])];
        assert_eq!(
            table_lines(&["name", "n"], &rows, None),
            ["name  n", "価格  1", "ab    2"]
        );
    }

    #[test]
    fn a_terminal_is_not_overrun_and_a_pipe_not_wrapped() {
        let long = "word ".repeat(30);
        let rows = [row(&["first", &long, "1.25"])];
        let header = ["name", "text", "n"];
        let wrapped = table_lines(&header, &rows, Some(80));
        assert!(wrapped.len() > 2);
        assert!(
            wrapped.iter().all(|line| line.chars().count() <= 80),
            "{wrapped:?}"
        );
        assert_eq!(table_lines(&header, &rows, None).len(), 2);
    }
}
