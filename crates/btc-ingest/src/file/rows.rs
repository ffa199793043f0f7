//! Rows as a reader of files gives them: what CSV and Parquet have in common.

use super::dates::Count;
use crate::error::Result;
use chrono::NaiveDateTime;
use std::borrow::Cow;

/// A cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// There is no value.
    Missing,
    /// A text, trimmed.
    Text(Cow<'a, str>),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Number(f64),
    /// A day or an instant, in UTC.
    Instant(NaiveDateTime),
    /// Something that is neither a number nor a time: how it is shown.
    Other(String),
}

impl Cell<'_> {
    /// The cell as a person reads it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Text(text) => crate::number::short(text),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Instant(instant) => instant.to_string(),
            Self::Other(shown) => crate::number::short(shown),
        }
    }

    /// The cell as a count, if it is a number.
    pub(super) fn count(&self) -> Option<Count> {
        match self {
            Self::Whole(number) => Some(Count::Whole(*number)),
            Self::Number(number) => Some(Count::of_number(*number)),
            _ => None,
        }
    }
}

/// A row of a file.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Its line, or its number; from one.
    pub(super) number: u64,
    pub(super) content: Content<'a>,
}

/// What a row holds.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// The date, and the wanted cells in the order of the mapping.
    Cells(Cell<'a>, &'a [Cell<'a>]),
    /// It has another number of cells than there are columns.
    Width { found: usize, expected: usize },
}

/// A file whose rows can be gone through more than once.
pub(super) trait Rows {
    /// What a row's number counts: `line` or `row`.
    fn unit(&self) -> &'static str;

    /// The columns that were found, by name, in the order of the mapping; `None` for an optional
    /// one that the file does not have.
    fn columns(&self) -> &[Option<String>];

    /// The name of the date column.
    fn date_name(&self) -> &str;

    /// Whether a point in a number can be trusted to be the decimal point.
    fn has_points(&self) -> bool;

    /// How the file reads, in a few words.
    fn describe(&self) -> String;

    /// Goes through all rows.
    ///
    /// # Errors
    ///
    /// Fails if the file is broken, or as `visit` does.
    fn visit(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()>;
}
