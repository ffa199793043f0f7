//! Tables of text.

use std::io::IsTerminal as _;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

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

/// More columns than these are no table on a terminal that they do not fit.
const MOST_COLUMNS: usize = 9;

/// The lines of a table; columns of numbers are right-aligned. With a width, long cells are
/// wrapped to fit it; without, each row is one line.
pub(crate) fn table_lines(
    header: &[&str],
    rows: &[Vec<String>],
    width: Option<u16>,
) -> Vec<String> {
    if let Some(width) = width
        && MOST_COLUMNS < header.len()
        && usize::from(width) < natural_width(header, rows)
    {
        return records(header, rows);
    }
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
        let mut ids = rows.iter().filter_map(|row| row.get(index)).peekable();
        if ids.peek().is_some() && ids.all(|cell| is_id(cell)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
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

/// The columns that a table takes if nothing is wrapped.
fn natural_width(header: &[&str], rows: &[Vec<String>]) -> usize {
    let cells = |index: usize| rows.iter().filter_map(move |row| row.get(index));
    let column = |(index, name): (usize, &&str)| {
        let widest = cells(index).map(|cell| cell.chars().count()).max();
        2 + name.chars().count().max(widest.unwrap_or(0))
    };
    header.iter().enumerate().map(column).sum()
}

/// A row after the other, each cell on its line behind its name.
fn records(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widest = header.iter().map(|name| name.chars().count()).max();
    let widest = widest.unwrap_or(0);
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        lines.extend(cells.map(|(name, cell)| format!("{name:widest$}  {cell}")));
    }
    lines
}

/// Whether a cell is an id, which is of use only in one piece.
fn is_id(cell: &str) -> bool {
    cell.len() == 32 && cell.bytes().all(|byte| byte.is_ascii_hexdigit())
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
    fn many_columns_that_do_not_fit_are_records() {
        let names: Vec<String> = (0..12).map(|n| format!("column_{n}")).collect();
        let header: Vec<&str> = names.iter().map(String::as_str).collect();
        let lines = table_lines(&header, &[names.clone(), names.clone()], Some(80));
        assert_eq!(lines.len(), 12 + 1 + 12);
        assert_eq!(lines[0], "column_0   column_0");
        assert_eq!(table_lines(&header, &[names.clone()], Some(200)).len(), 2);
        assert_eq!(table_lines(&header, &[names.clone()], None).len(), 2);
    }

    #[test]
    fn an_id_stays_in_one_piece() {
        let id = "0123456789abcdef0123456789abcdef";
        let rows = [row(&[id, &"metric=1.25 ".repeat(9)])];
        let lines = table_lines(&["run", "metrics"], &rows, Some(60));
        assert!(lines[1].starts_with(id), "{lines:?}");
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
