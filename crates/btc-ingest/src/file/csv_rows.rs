//! Rows of a text file.

use super::figures;
use super::layout::{self, Layout, Lines};
use super::mapping::ColumnMapping;
use super::options::FileOptions;
use super::rows::{Cell, Content, Row, Rows};
use crate::error::{Error, Result};
use crate::number::short;
use csv::StringRecord;
use std::borrow::Cow;
use std::path::Path;

/// A text laid out in rows.
#[derive(Debug)]
pub(super) struct CsvRows<'a> {
    path: &'a Path,
    text: &'a str,
    encoding: String,
    layout: Layout,
    columns: Vec<Option<String>>,
    missing: &'a [String],
}

impl<'a> CsvRows<'a> {
    /// Finds out how the text is laid out.
    ///
    /// # Errors
    ///
    /// Fails if a column of the mapping is not in it.
    pub(super) fn new(
        path: &'a Path,
        text: &'a str,
        encoding: String,
        mapping: &ColumnMapping,
        options: &'a FileOptions,
    ) -> Result<Self> {
        let layout = layout::recognise(text, mapping, options)
            .map_err(|problem| Error::invalid(path, problem))?;
        let name = |column: &Option<(usize, String)>| column.as_ref().map(|(_, name)| name.clone());
        Ok(Self {
            path,
            text,
            encoding,
            columns: layout.columns.iter().map(name).collect(),
            layout,
            missing: &options.missing,
        })
    }

    fn cell<'r>(&self, record: &'r StringRecord, place: usize) -> Cell<'r> {
        let text = record.get(place).unwrap_or_default().trim();
        if figures::is_missing(text, self.missing) {
            Cell::Missing
        } else {
            Cell::Text(Cow::Borrowed(text))
        }
    }

    /// A quotation mark that is not closed takes the rows behind it into its cell.
    fn swallows_rows(&self, record: &StringRecord, is_narrow: bool) -> bool {
        let has_break = |cell: &str| cell.trim().contains(['\n', '\r']);
        let wanted = self.layout.columns.iter().flatten();
        let mut places = wanted
            .map(|(place, _)| *place)
            .chain(std::iter::once(self.layout.date));
        if is_narrow {
            record.iter().any(has_break)
        } else {
            places.any(|place| record.get(place).is_some_and(has_break))
        }
    }
}

impl Rows for CsvRows<'_> {
    fn unit(&self) -> &'static str {
        "line"
    }

    fn columns(&self) -> &[Option<String>] {
        &self.columns
    }

    fn date_name(&self) -> &str {
        &self.layout.date_name
    }

    fn has_points(&self) -> bool {
        // Where commas stand between cells, they are no decimal marks.
        self.layout.delimiter == b','
    }

    fn describe(&self) -> String {
        let delimiter = match self.layout.delimiter {
            b'\t' => "tabs".to_owned(),
            other => format!("{:?}", char::from(other)),
        };
        let header = match self.layout.header {
            None => "no header".to_owned(),
            Some((first, last)) if first == last => format!("header in line {first}"),
            Some((first, last)) => format!("header in lines {first} to {last}"),
        };
        format!("{}, {delimiter} between cells, {header}", self.encoding)
    }

    fn visit(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        let start = self.layout.start.min(self.text.len());
        let text = &self.text[start..];
        let mut reader = layout::reader(text, self.layout.delimiter);
        let mut lines = Lines::new(self.text, 0, 1);
        let mut record = StringRecord::new();
        loop {
            let before = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
            let more = reader
                .read_record(&mut record)
                .map_err(|problem| Error::invalid(self.path, problem.to_string()))?;
            if !more {
                return Ok(());
            }
            let (_, number) = lines.record_at(start + before.min(text.len()));
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let (found, expected) = (record.len(), self.layout.width);
            let extra_is_empty = record
                .iter()
                .skip(expected)
                .all(|cell| cell.trim().is_empty());
            let fits = found == expected || (found > expected && extra_is_empty);
            if self.swallows_rows(&record, !fits) {
                let text = record.iter().find(|cell| cell.trim().contains('\n'));
                return Err(Error::invalid(
                    self.path,
                    format!(
                        "line {number}: a quotation mark is opened and not closed in its row: {:?}",
                        short(text.unwrap_or_default())
                    ),
                ));
            }
            if !fits {
                let content = Content::Width { found, expected };
                visit(Row { number, content })?;
                continue;
            }
            let columns = self.layout.columns.iter();
            let cells: Vec<Cell<'_>> = columns
                .map(|column| match column {
                    Some((place, _)) => self.cell(&record, *place),
                    None => Cell::Missing,
                })
                .collect();
            let date = self.cell(&record, self.layout.date);
            let content = Content::Cells(date, &cells);
            visit(Row { number, content })?;
        }
    }
}
