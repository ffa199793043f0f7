//! Which columns of a file are taken, and what they are called here.

use crate::error::{Error, Result};
use crate::series::{SeriesName, check_distinct};
use crate::source::daily_schema;
use arrow::datatypes::SchemaRef;

/// Which columns of a file are taken, and what they are called here.
///
/// ```
/// let columns = btc_ingest::ColumnMapping::new("Date").with("Close", "close").with("Hash", "hash_rate");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMapping {
    /// Names of the date, the first that the file has counts.
    pub(super) date: Vec<String>,
    pub(super) columns: Vec<MappedColumn>,
}

/// A column that becomes a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MappedColumn {
    /// Names in the file, the first that it has counts.
    pub(super) names: Vec<String>,
    pub(super) series: String,
    /// Whether the file may be without it.
    pub(super) optional: bool,
}

impl ColumnMapping {
    /// Takes the day of a row from the column `date`.
    ///
    /// The column holds days, instants or counts since 1970 in one of the notations of
    /// [`FileOptions::date_format`](crate::FileOptions::date_format). It tells the day that a row
    /// *describes*: a close belongs to the day that it ends.
    ///
    /// A column is named as in the header, or by its place from 0.
    pub fn new(date: impl Into<String>) -> Self {
        Self {
            date: vec![date.into()],
            columns: Vec::new(),
        }
    }

    /// Takes the column `from` of the file as the series `to`: open, high, low, close, volume, or
    /// the name of a chart with underscores.
    #[must_use]
    pub fn with(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.columns.push(MappedColumn {
            names: vec![from.into()],
            series: to.into(),
            optional: false,
        });
        self
    }

    /// Takes the day of a row from another column.
    #[must_use]
    pub fn with_date(mut self, date: impl Into<String>) -> Self {
        self.date = vec![date.into()];
        self
    }

    /// The same without the column that becomes the series `to`.
    #[must_use]
    pub fn without(mut self, to: &str) -> Self {
        let name = SeriesName::of_chart(to);
        self.columns
            .retain(|column| SeriesName::of_chart(&column.series) != name);
        self
    }

    /// Takes a column that has one of several names.
    pub(super) fn with_one_of(mut self, names: &[&str], series: &str, optional: bool) -> Self {
        self.columns.push(MappedColumn {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            series: series.to_owned(),
            optional,
        });
        self
    }

    /// The names of the series.
    pub(super) fn series(&self) -> Vec<SeriesName> {
        let names = self.columns.iter();
        names
            .map(|column| SeriesName::of_chart(&column.series))
            .collect()
    }

    pub(super) fn schema(&self) -> SchemaRef {
        daily_schema(self.series().iter().map(SeriesName::as_str))
    }

    /// Checks that there is a column and every name can be that of a series, once.
    pub(super) fn check(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::config(
                "no column is named; map at least one, as Close=close",
            ));
        }
        for column in &self.columns {
            SeriesName::new(&column.series)?;
        }
        check_distinct(self.columns.iter().map(|column| column.series.as_str()))
    }
}
