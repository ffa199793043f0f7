//! The layout of a text file: what stands between cells, and where header and rows begin.

use super::dates::looks_like_date;
use super::figures;
use super::mapping::ColumnMapping;
use super::options::{DecimalMark, FileOptions};
use crate::number::short;
use csv::StringRecord;

/// How many records are looked at.
const SAMPLE: usize = 100;
/// How many records before the first row are looked at as a header.
const DEEPEST_HEADER: usize = 40;
/// How many lines of a header can follow the one with the names: yfinance has two.
const MORE_NAMES: usize = 2;
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// How a text is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) delimiter: u8,
    /// Lines of the first and the last record of the header.
    pub(super) header: Option<(u64, u64)>,
    /// Where the first row begins in the text.
    pub(super) start: usize,
    /// The number of cells in a row.
    pub(super) width: usize,
    /// The place of the date in a row.
    pub(super) date: usize,
    pub(super) date_name: String,
    /// Places and names of the columns of the mapping; `None` for an optional one that is absent.
    pub(super) columns: Vec<Option<(usize, String)>>,
}

/// A record, its line, and where it begins in the text.
struct Sampled {
    line: u64,
    start: usize,
    cells: Vec<String>,
}

impl Sampled {
    /// Whether it has the look of a row: a date, or a number that is not a name as well.
    fn is_row(&self) -> bool {
        let number = |cell: &str| figures::parse(cell, DecimalMark::Point).is_some();
        let comma = |cell: &str| figures::parse(cell, DecimalMark::Comma).is_some();
        let typed = |cell: &String| looks_like_date(cell) || number(cell) || comma(cell);
        self.cells.iter().any(typed)
    }
}

/// A record reader over a text.
pub(super) fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .delimiter(delimiter)
        .from_reader(text.as_bytes())
}

/// Counts lines up to a place in a text; places must ascend.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// Counts from `at`, which is in line `line`.
    pub(super) fn new(text: &'a str, at: usize, line: u64) -> Self {
        let text = text.as_bytes();
        Self { text, at, line }
    }

    /// The place and line of the record that a reader begins to look for at `from`: empty lines
    /// are passed over.
    pub(super) fn record_at(&mut self, from: usize) -> (usize, u64) {
        let mut place = from;
        while matches!(self.text.get(place), Some(b'\r' | b'\n')) {
            place += 1;
        }
        let place = place.min(self.text.len());
        for at in self.at..place {
            let next = self.text.get(at + 1);
            let ends = match self.text[at] {
                b'\n' => true,
                // An end of line of old Macs; before a newline it is a part of that.
                b'\r' => next != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
        }
        self.at = self.at.max(place);
        (place, self.line)
    }
}

/// Finds out how a text is laid out.
///
/// # Errors
///
/// Fails, with the reason, if a column of the mapping is not in it.
pub(super) fn recognise(
    text: &str,
    mapping: &ColumnMapping,
    options: &FileOptions,
) -> Result<Layout, String> {
    let (skipped, first_line) = skip_lines(text, options.skip_lines);
    // A spreadsheet's own way of telling the delimiter.
    let named = text[skipped..].lines().next().unwrap_or_default();
    let named = named.strip_prefix("sep=").and_then(|rest| {
        let mut rest = rest.trim_end_matches('\r').chars();
        rest.next()
            .filter(|c| c.is_ascii() && rest.next().is_none())
    });
    let (skipped, first_line) = match named {
        Some(_) => {
            let (more, line) = skip_lines(&text[skipped..], 1);
            (skipped + more, first_line + line - 1)
        }
        None => (skipped, first_line),
    };
    let asked = options.delimiter.or(named);
    let candidates: Vec<char> = asked.map_or(DELIMITERS.to_vec(), |asked| vec![asked]);
    let mut best: Option<(Score, Result<Layout, String>)> = None;
    for delimiter in candidates {
        let byte = u8::try_from(delimiter)
            .ok()
            .filter(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n'))
            .ok_or_else(|| format!("{delimiter:?} cannot stand between cells"))?;
        let records = sample(text, skipped, first_line, byte)?;
        let (score, layout) = lay_out(&records, byte, mapping, options);
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, layout));
        }
    }
    match best {
        Some((_, layout)) => layout,
        None => Err("there is no row".to_owned()),
    }
}

/// How well a delimiter fits: the columns are found, rows with a date, their width.
type Score = (bool, usize, usize);

fn skip_lines(text: &str, count: usize) -> (usize, u64) {
    let mut at = 0;
    let mut line = 1;
    for _ in 0..count {
        let Some(end) = text[at..].find('\n') else {
            return (text.len(), line);
        };
        at += end + 1;
        line += 1;
    }
    (at, line)
}

fn sample(text: &str, from: usize, line: u64, delimiter: u8) -> Result<Vec<Sampled>, String> {
    let mut reader = reader(&text[from..], delimiter);
    let mut lines = Lines::new(text, from, line);
    let mut records = Vec::new();
    let mut record = StringRecord::new();
    while records.len() < SAMPLE {
        let before = reader.position().byte();
        let before = from
            + usize::try_from(before)
                .unwrap_or(usize::MAX)
                .min(text.len() - from);
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(problem) => return Err(problem.to_string()),
        }
        let (start, line) = lines.record_at(before);
        let cells = record.iter().map(|cell| cell.trim().to_owned()).collect();
        records.push(Sampled { line, start, cells });
    }
    Ok(records)
}

fn lay_out(
    records: &[Sampled],
    delimiter: u8,
    mapping: &ColumnMapping,
    options: &FileOptions,
) -> (Score, Result<Layout, String>) {
    let (header, rows) = match options.header_lines {
        Some(count) => records.split_at(count.min(records.len())),
        None => split_header(records, mapping),
    };
    // Lines of a title have other widths than those of names.
    let usual = usual_width(rows);
    let mut widths = header.iter().map(|record| record.cells.len());
    let width = if rows.is_empty() || !widths.clone().any(|width| width == usual) {
        widths
            .by_ref()
            .max()
            .filter(|width| *width > 1)
            .unwrap_or(usual)
    } else {
        usual
    };
    let names: Vec<&Sampled> = header
        .iter()
        .filter(|record| record.cells.len() == width)
        .collect();
    let found = find_columns(&names, width, mapping);
    let fits = |record: &&Sampled| {
        record.cells.len() == width
            && width > 1
            && match &found {
                Ok((date, _)) => looks_like_date(&record.cells[date.0]),
                Err(_) => record.cells.iter().any(|cell| looks_like_date(cell)),
            }
    };
    let score = (found.is_ok(), rows.iter().filter(fits).count(), width);
    let layout = found.map(|((date, date_name), columns)| Layout {
        delimiter,
        header: names
            .first()
            .zip(names.last())
            .map(|(first, last)| (first.line, last.line)),
        start: rows.first().map_or(usize::MAX, |record| record.start),
        width,
        date,
        date_name,
        columns,
    });
    (score, layout)
}

/// Tells the lines before the first row from the rows.
fn split_header<'a>(
    records: &'a [Sampled],
    mapping: &ColumnMapping,
) -> (&'a [Sampled], &'a [Sampled]) {
    let deepest = &records[..records.len().min(DEEPEST_HEADER)];
    // The last line that names all columns, should one before it look like a row.
    let names_all = |record: &Sampled| {
        let by_name = |names: &[String]| names.iter().any(|name| place(&[record], name).is_ok());
        by_name(&mapping.date)
            && mapping
                .columns
                .iter()
                .all(|column| column.optional || by_name(&column.names))
    };
    let header = deepest.iter().position(names_all);
    let from = header.map_or(0, |at| at + 1);
    let rows = records[from..].iter().position(Sampled::is_row);
    let first_row = match rows {
        // More lines than two below the names are no header, but rows that cannot be used.
        Some(rows) if header.is_some() && rows > MORE_NAMES => from,
        Some(rows) => from + rows,
        // Nothing but names.
        None if header.is_none() => records.len().min(1),
        None => from,
    };
    records.split_at(first_row)
}

fn usual_width(rows: &[Sampled]) -> usize {
    let mut widths: Vec<usize> = rows.iter().map(|record| record.cells.len()).collect();
    widths.sort_unstable();
    widths.get(widths.len() / 2).copied().unwrap_or(0)
}

type Found = ((usize, String), Vec<Option<(usize, String)>>);

fn find_columns(
    names: &[&Sampled],
    width: usize,
    mapping: &ColumnMapping,
) -> Result<Found, String> {
    let find = |wanted: &[String]| -> Result<(usize, String), String> {
        let mut problem = None;
        for name in wanted {
            match place(names, name) {
                Ok(place) => return Ok((place, name.clone())),
                Err(Some(ambiguous)) => problem = Some(ambiguous),
                Err(None) => {}
            }
        }
        // Where no name fits, a number is the place of a column.
        let by_place = wanted.iter().find_map(|name| {
            let place: usize = name.parse().ok()?;
            (place < width).then(|| (place, name.clone()))
        });
        by_place.ok_or_else(|| problem.unwrap_or_else(|| unknown_column(names, width, wanted)))
    };
    let date = find(&mapping.date)?;
    let mut columns = Vec::with_capacity(mapping.columns.len());
    for column in &mapping.columns {
        columns.push(match find(&column.names) {
            Ok(found) => Some(found),
            Err(_) if column.optional => None,
            Err(problem) => return Err(problem),
        });
    }
    Ok((date, columns))
}

/// The place of a name in the lines of a header: exactly, or without regard to case. A name that
/// ends in `*` stands for all that begin so.
fn place(names: &[&Sampled], wanted: &str) -> Result<usize, Option<String>> {
    let wanted = wanted.trim();
    let lower = wanted.to_lowercase();
    let exact = |cell: &str| cell == wanted;
    let any_case = |cell: &str| cell.to_lowercase() == lower;
    let start = lower.strip_suffix('*');
    let begins = |cell: &str| start.is_some_and(|start| cell.to_lowercase().starts_with(start));
    let fits: [&dyn Fn(&str) -> bool; 3] = [&exact, &any_case, &begins];
    for fit in fits {
        let mut places: Vec<usize> = Vec::new();
        for record in names {
            let found = record
                .cells
                .iter()
                .enumerate()
                .filter(|(_, cell)| fit(cell));
            places.extend(found.map(|(place, _)| place));
        }
        places.sort_unstable();
        places.dedup();
        match places.as_slice() {
            [] => {}
            // The first of several that begin alike is the one of the traded coin.
            [first, ..] if start.is_some() => return Ok(*first),
            [place] => return Ok(*place),
            many => {
                return Err(Some(format!(
                    "{} columns are called {wanted:?}; name one by its place: {}",
                    many.len(),
                    many.iter()
                        .map(usize::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
        }
    }
    Err(None)
}

fn unknown_column(names: &[&Sampled], width: usize, wanted: &[String]) -> String {
    let wanted = wanted.join("\" or \"");
    match names.last() {
        None => format!(
            "there is no column \"{wanted}\": the file has no header; name columns by their \
             place, 0 to {}",
            width.saturating_sub(1)
        ),
        Some(_) => {
            let all: Vec<&str> = names
                .iter()
                .flat_map(|record| &record.cells)
                .filter(|cell| !cell.is_empty())
                .map(String::as_str)
                .collect();
            format!(
                "there is no column \"{wanted}\"; there are {}",
                short(&all.join(", "))
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str, date: &str, close: &str) -> Result<Layout, String> {
        let mapping = ColumnMapping::new(date).with(close, "close");
        recognise(text, &mapping, &FileOptions::default())
    }

    #[track_caller]
    fn check(text: &str, date: &str, close: &str, expected: (char, usize, usize, &str)) {
        let found = layout(text, date, close).unwrap();
        let close = found.columns[0].as_ref().unwrap().0;
        let start = text[found.start..].lines().next().unwrap();
        let seen = (char::from(found.delimiter), found.date, close, start);
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn the_delimiter_is_found() {
        for delimiter in DELIMITERS {
            let d = delimiter.to_string();
            let text = format!("Date{d}Open{d}Close\n2024-01-01{d}1{d}2\n");
            let row = format!("2024-01-01{d}1{d}2");
            check(&text, "Date", "Close", (delimiter, 0, 2, &row));
        }
        let german = "Datum;Zuletzt\n29.12.2024;95000,5\n";
        check(
            german,
            "Datum",
            "Zuletzt",
            (';', 0, 1, "29.12.2024;95000,5"),
        );
        let bare = "29.12.2024;95000,5\n30.12.2024;95000,7\n";
        check(bare, "0", "1", (';', 0, 1, "29.12.2024;95000,5"));
        let told = "sep=|\nDate|Close\n2024-01-01|1\n";
        check(told, "Date", "Close", ('|', 0, 1, "2024-01-01|1"));
    }

    #[test]
    fn lines_before_the_rows_are_found() {
        let url = "https://www.example.com\nunix,date,close\n1,2024-01-01,5\n";
        check(url, "date", "close", (',', 1, 2, "1,2024-01-01,5"));
        let three = "Price,Close,High\nTicker,BTC-USD,BTC-USD\nDate,,\n2024-01-01,5,6\n";
        check(three, "Date", "Close", (',', 0, 1, "2024-01-01,5,6"));
        check(three, "Price", "High", (',', 0, 2, "2024-01-01,5,6"));
        let title = "Prices;;\nfrom;2024-01-01;\n\nDate;Open;Close\n2024-01-02;5;6\n";
        check(title, "Date", "Close", (';', 0, 2, "2024-01-02;5;6"));
        let none = "1735430400000,5\n";
        check(none, "0", "1", (',', 0, 1, "1735430400000,5"));
        // Rows of which none can be read are rows all the same.
        let unusable = "Date,Close\na,b\nc,d\ne,f\n2024-01-01,5\n";
        check(unusable, "Date", "Close", (',', 0, 1, "a,b"));
        // A first row with a typing error is a row.
        check(
            "Date,Close\ngarbage,5\n",
            "Date",
            "Close",
            (',', 0, 1, "garbage,5"),
        );
    }

    #[test]
    fn names_are_found_in_any_case_or_by_place() {
        let text = "Date,Open,open,Close\n2024-01-01,1,2,3\n";
        check(text, "date", "open", (',', 0, 2, "2024-01-01,1,2,3"));
        check(text, "Date", "Clo*", (',', 0, 3, "2024-01-01,1,2,3"));
        check(text, "Date", "3", (',', 0, 3, "2024-01-01,1,2,3"));
        let error = layout(text, "Date", "OPEN").unwrap_err();
        assert!(error.contains("by its place: 1, 2"), "{error}");
        let error = layout(text, "Date", "Vol").unwrap_err();
        assert!(
            error.contains("there are Date, Open, open, Close"),
            "{error}"
        );
        let error = layout("2024-01-01,1\n", "Date", "Close").unwrap_err();
        assert!(error.contains("no header"), "{error}");
        let twice = layout("Date,Close,Close\n2024-01-01,1,2\n", "Date", "Close").unwrap_err();
        assert!(twice.contains("2 columns are called"), "{twice}");
    }

    #[test]
    fn lines_are_counted_past_empty_ones_and_of_every_kind() {
        let text = "a\r\n\r\nb\rc\n\nd";
        let mut lines = Lines::new(text, 0, 1);
        let places: Vec<(usize, u64)> = [0, 3, 6, 8].map(|at| lines.record_at(at)).to_vec();
        assert_eq!(places, [(0, 1), (5, 3), (7, 4), (10, 6)]);
    }

    #[test]
    fn lines_to_be_skipped_are() {
        let mapping = ColumnMapping::new("Date").with("Close", "close");
        let mut options = FileOptions {
            skip_lines: 1,
            ..FileOptions::default()
        };
        let text = "Date,Close\nDate,Close\n2024-01-01,5\n";
        let found = recognise(text, &mapping, &options).unwrap();
        assert_eq!(found.header, Some((2, 2)));
        options.skip_lines = 9;
        assert!(recognise(text, &mapping, &options).is_err());
    }
}
