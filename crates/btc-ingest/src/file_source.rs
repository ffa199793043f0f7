//! Daily values out of a file: long histories from elsewhere.

use crate::clean::Reason;
use crate::error::{Error, Result};
use crate::fetched::{Fetched, Window};
use crate::number::{Number, short};
use crate::series::{SeriesName, check_distinct};
use crate::source::{
    DailySeries, DayValue, Source, SourceError, daily_schema, from_batch, to_batch,
};
use crate::store::read_parquet;
use arrow::array::{AsArray, Date32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which columns of a file are taken, and what they are called here.
///
/// ```
/// let columns = btc_ingest::ColumnMapping::new("Date").with("Close", "close").with("Hash", "hash_rate");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMapping {
    date: String,
    columns: Vec<(String, String)>,
}

impl ColumnMapping {
    /// Takes the day of a row from the column `date`.
    ///
    /// The column holds days as `2012-01-31`, instants that begin so, or seconds or milliseconds
    /// since 1970. It tells the day that a row *describes*: a close belongs to the day that it
    /// ends.
    pub fn new(date: impl Into<String>) -> Self {
        Self {
            date: date.into(),
            columns: Vec::new(),
        }
    }

    /// Takes the column `from` of the file as the series `to`: open, high, low, close, volume, or
    /// the name of a chart with underscores.
    #[must_use]
    pub fn with(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.columns.push((from.into(), to.into()));
        self
    }

    /// Reads the columns of a CSV text with a header.
    ///
    /// ```
    /// let columns = btc_ingest::ColumnMapping::new("Date").with("Close", "close");
    /// let batch = columns.read_csv(b"Date,Open,Close\n2012-01-02,5.3,5.2\n2012-01-01,4.7,5.3\n")?;
    /// assert_eq!((batch.num_rows(), batch.num_columns()), (2, 2));
    /// # Ok::<(), btc_ingest::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a column is missing, a cell is not what it should be, or a day comes twice; the
    /// message names the line.
    pub fn read_csv(&self, text: &[u8]) -> Result<RecordBatch> {
        to_batch(
            self.schema(),
            &parse_csv_table(text, Path::new("the CSV text"), self)?,
        )
    }

    fn schema(&self) -> SchemaRef {
        let names = self.columns.iter().map(|(_, to)| SeriesName::of_chart(to));
        let names: Vec<SeriesName> = names.collect();
        daily_schema(names.iter().map(SeriesName::as_str))
    }
}

/// Daily values out of a CSV file with a header, or a Parquet file.
///
/// Empty cells are days without a value. Each day may come once; the order does not matter.
#[derive(Debug, Clone)]
pub struct FileSource {
    name: String,
    path: PathBuf,
    columns: ColumnMapping,
}

impl FileSource {
    /// Calls the columns of the file at `path`, by the mapping, a source called `name`.
    ///
    /// # Errors
    ///
    /// Fails if no column is named, a series is named twice, or a name has other characters than
    /// lower-case letters, digits and underscores.
    pub fn new(name: &str, path: impl Into<PathBuf>, columns: ColumnMapping) -> Result<Self> {
        if columns.columns.is_empty() {
            return Err(Error::config(
                "no column is named; map at least one, as Close=close",
            ));
        }
        for (_, series) in &columns.columns {
            SeriesName::new(series)?;
        }
        check_distinct(columns.columns.iter().map(|(_, series)| series.as_str()))?;
        Ok(Self {
            name: name.to_owned(),
            path: path.into(),
            columns,
        })
    }

    fn read(&self) -> Result<Vec<DailySeries>> {
        if self
            .path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            self.read_parquet()
        } else {
            let bytes = std::fs::read(&self.path).map_err(|e| Error::read(&self.path, e))?;
            parse_csv_table(&bytes, &self.path, &self.columns)
        }
    }

    fn read_parquet(&self) -> Result<Vec<DailySeries>> {
        let invalid = |problem: String| Error::invalid(&self.path, problem);
        let batch = read_parquet(&self.path)?;
        let column = |name: &str, to: &DataType| {
            let found = batch.column_by_name(name).ok_or_else(|| {
                let schema = batch.schema();
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                invalid(unknown_column(name, &names))
            })?;
            cast(found, to).map_err(|problem| invalid(format!("column {name:?}: {problem}")))
        };
        let days = column(&self.columns.date, &DataType::Date32)?;
        let days: &Date32Array = days.as_primitive::<Date32Type>();
        let mut order: Vec<usize> = (0..days.len()).collect();
        order.sort_by_key(|row| days.value(*row));
        let order = arrow::array::UInt64Array::from_iter_values(order.iter().map(|r| *r as u64));
        let mut fields = vec![arrow::compute::take(days, &order, None)?];
        for (from, _) in &self.columns.columns {
            let values = column(from, &DataType::Float64)?;
            fields.push(arrow::compute::take(&values, &order, None)?);
        }
        let sorted = RecordBatch::try_new(self.schema(), fields)
            .map_err(|problem| invalid(problem.to_string()))?;
        from_batch(&self.name, &sorted).map_err(|problem| invalid(problem.to_string()))
    }
}

#[async_trait]
impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let source = self.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let mut series =
            read.map_err(|problem| Error::invalid(&self.path, problem.to_string()))??;
        for series in &mut series {
            let days = window.days(series.name.as_str());
            series.values.retain(|(day, _)| days.contains(day));
        }
        Ok(to_batch(self.schema(), &series)?.into())
    }
}

/// Reads the columns of a CSV text with a header; `path` is where it is said to be from.
///
/// # Errors
///
/// Fails if a column is missing, a cell is not what it should be, or a day comes twice; the
/// message names the line.
pub(crate) fn parse_csv_table(
    text: &[u8],
    path: &Path,
    columns: &ColumnMapping,
) -> Result<Vec<DailySeries>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let invalid = |problem: String| Error::invalid(path, problem);
    let header = reader
        .headers()
        .map_err(|problem| invalid(problem.to_string()))?
        .clone();
    let place = |name: &str| {
        // A byte-order mark belongs to the file, not to the first name.
        let names: Vec<&str> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim())
            .collect();
        let found = names.iter().position(|column| *column == name);
        found.ok_or_else(|| invalid(unknown_column(name, &names)))
    };
    let date = place(&columns.date)?;
    let places: Vec<usize> = columns
        .columns
        .iter()
        .map(|(from, _)| place(from))
        .collect::<Result<_>>()?;
    let mut rows: BTreeMap<NaiveDate, Vec<Option<f64>>> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|problem| invalid(problem.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: usize| record.get(place).unwrap_or_default().trim();
        let day = parse_day(cell(date)).ok_or_else(|| {
            invalid(format!(
                "line {line}: {:?} is not a day, as 2012-01-31",
                short(cell(date))
            ))
        })?;
        let mut values = Vec::with_capacity(places.len());
        for (place, (from, _)) in places.iter().zip(&columns.columns) {
            values.push(match Number::of_text(cell(*place)) {
                Number::Value(value) => Some(value),
                Number::Null => None,
                Number::Other(text) => {
                    let reason = Reason::NotANumber.as_str();
                    return Err(invalid(format!(
                        "line {line}, column {from:?}: {text:?} is {reason}"
                    )));
                }
            });
        }
        if rows.insert(day, values).is_some() {
            let problem = format!("line {line}: {day} comes twice; give one row per day");
            return Err(invalid(problem));
        }
    }
    let series = columns
        .columns
        .iter()
        .enumerate()
        .map(|(index, (_, series))| {
            let values = rows
                .iter()
                .filter_map(|(day, row)| Some((*day, row[index]?)));
            DailySeries {
                name: SeriesName::of_chart(series),
                values: values.collect::<Vec<DayValue>>(),
            }
        });
    Ok(series.collect())
}

fn unknown_column(name: &str, names: &[&str]) -> String {
    format!(
        "there is no column {name:?}; there are {}",
        short(&names.join(", "))
    )
}

/// Reads a day, an instant that begins with one, or seconds or milliseconds since 1970.
fn parse_day(text: &str) -> Option<NaiveDate> {
    if let Some(day) = text
        .get(..10)
        .and_then(|start| NaiveDate::parse_from_str(start, "%Y-%m-%d").ok())
    {
        return Some(day);
    }
    /// Milliseconds of 1973 and seconds of the year 5138: nothing daily is near.
    const MILLIS_FROM: i64 = 100_000_000_000;
    let number: i64 = text.parse().ok()?;
    let millis = if number.abs() < MILLIS_FROM {
        number.checked_mul(1000)?
    } else {
        number
    };
    DateTime::from_timestamp_millis(millis).map(|instant| instant.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<DailySeries>> {
        let columns = ColumnMapping::new("Date")
            .with("Close", "close")
            .with("Vol", "volume");
        parse_csv_table(text.as_bytes(), Path::new("x.csv"), &columns)
    }

    #[track_caller]
    fn fails(text: &str, expected: &str) {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn rows_may_come_in_any_order_and_have_holes() {
        let series = parse("\u{feff}Date,Vol,Close\n2012-01-02 00:00:00,,5.5\n1325376000,7,\n");
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let series = series.unwrap();
        assert_eq!(series[0].values, [(day("2012-01-02"), 5.5)]);
        assert_eq!(series[1].values, [(day("2012-01-01"), 7.0)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        fails(
            "Day,Close,Vol\n",
            "no column \"Date\"; there are Day, Close, Vol",
        );
        fails(
            "Date,Close,Vol\n2012-13-01,1,1\n",
            "line 2: \"2012-13-01\" is not a day",
        );
        fails(
            "Date,Close,Vol\n2012-01-01,x,1\n",
            "line 2, column \"Close\": \"x\"",
        );
        fails(
            "Date,Close,Vol\n2012-01-01,1,1\n2012-01-01,2,2\n",
            "line 3: 2012-01-01 comes twice",
        );
    }

    #[test]
    fn a_day_is_told_in_several_ways() {
        let day = NaiveDate::from_ymd_opt(2012, 1, 1).unwrap();
        for text in [
            "2012-01-01",
            "2012-01-01T05:00:00Z",
            "1325376000",
            "1325376000000",
        ] {
            assert_eq!(parse_day(text), Some(day), "{text}");
        }
        for text in ["", "yesterday", "2012-1", "99999999999999999"] {
            assert_eq!(parse_day(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_checked() {
        let source =
            |to: &str| FileSource::new("x", "x.csv", ColumnMapping::new("d").with("a", to));
        for name in ["hash_rate", "Close", "hash-rate"] {
            assert!(source(name).is_ok(), "{name}");
        }
        for name in ["", "date", "../x"] {
            assert!(source(name).is_err(), "{name}");
        }
        let twice = ColumnMapping::new("d")
            .with("a", "hash-rate")
            .with("b", "Hash_Rate");
        assert!(FileSource::new("x", "x.csv", twice).is_err());
        assert!(FileSource::new("x", "x.csv", ColumnMapping::new("d")).is_err());
    }
}
