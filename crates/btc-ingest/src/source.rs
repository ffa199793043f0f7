//! The trait of all sources, and tables of daily values.

use crate::error::{Error, Result};
use crate::fetched::{Fetched, Window};
use crate::report::PlannedRequest;
use crate::series::{SeriesName, check_distinct};
use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{Datelike, NaiveDate};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

/// Where daily values come from.
///
/// Every source gives the same kind of table: a column `date` (`Date32`, the day a row
/// describes, in UTC) and one nullable `Float64` column per series. There is at most one row per
/// day, days ascend, and a row of day *d* holds nothing that was not known when *d* ended, at
/// 00:00 UTC of *d* + 1. Days without any value have no row. The running day may be among them
/// where [`Fetched::running_day`] tells of it, or the clock does.
///
/// Asking twice for the same days is allowed and changes nothing.
///
/// Whoever implements it gets all that the built-in services have from [`pull_sources`]: what is
/// new is asked for and the last days again, revisions are kept, what is not fit for use is set
/// aside, the running day is left out, progress is told. `fetch` may fail with any error, so that
/// `?` works. The example `own_source` is one, and [`conformance`](crate::conformance) checks that
/// it keeps this contract.
///
/// ```
/// use btc_ingest::{Fetched, Source, SourceError, Window, async_trait};
/// use btc_ingest::{ColumnMapping, arrow::datatypes::SchemaRef};
///
/// #[derive(Debug)]
/// struct FearAndGreed;
///
/// #[async_trait]
/// impl Source for FearAndGreed {
///     fn name(&self) -> &str {
///         "fear-and-greed"
///     }
///
///     fn schema(&self) -> SchemaRef {
///         btc_ingest::daily_schema(["fear_and_greed"])
///     }
///
///     async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
///         let _days = window.days("fear_and_greed");
///         let answer = b"day,index\n2024-01-01,65\n";
///         let columns = ColumnMapping::new("day").with("index", "fear_and_greed");
///         Ok(columns.read_csv(answer)?.into())
///     }
/// }
/// ```
///
/// [`pull_sources`]: crate::pull_sources
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The name of the source: lower case, digits and hyphens, usable as a folder name.
    fn name(&self) -> &str;

    /// The columns of every batch that [`fetch`](Self::fetch) gives.
    fn schema(&self) -> SchemaRef;

    /// Gets the values that are asked for. More than that may come, and is stored.
    ///
    /// # Errors
    ///
    /// Fails if the source as a whole cannot be reached or does not give what it should; a part of
    /// it that fails alone is a [`Part`](crate::Part) with an error. An [`Error`] of this crate
    /// comes out as it is, any other as [`Error::Source`].
    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError>;

    /// The requests that [`fetch`](Self::fetch) would make, as far as can be told without making
    /// any.
    ///
    /// # Errors
    ///
    /// Fails if the source cannot be asked as it is set up.
    fn requests(&self, window: &Window<'_>) -> Result<Vec<PlannedRequest>> {
        let _ = window;
        Ok(Vec::new())
    }

    /// Whether it is one of this crate's services, whose names nobody else may have.
    #[doc(hidden)]
    fn is_built_in(&self, _: private::Token) -> bool {
        false
    }
}

/// Why a source gives nothing: any error.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) mod private {
    /// What only this crate can make.
    #[derive(Debug)]
    pub struct Token(pub(crate) ());
}

/// The name of the column that holds the day.
pub(crate) const DATE: &str = "date";

/// The columns of a price table, in order.
pub(crate) const OHLCV: [&str; 5] = ["open", "high", "low", "close", "volume"];

/// One value of one day.
pub(crate) type DayValue = (NaiveDate, f64);

/// The values of one series, by ascending time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimedSeries<T> {
    pub(crate) name: SeriesName,
    pub(crate) values: Vec<(T, f64)>,
}

/// The values of one series, by ascending day.
pub(crate) type DailySeries = TimedSeries<NaiveDate>;

/// The columns of a table of daily values: `date`, and one per series.
///
/// ```
/// let schema = btc_ingest::daily_schema(["close", "hash_rate"]);
/// assert_eq!(schema.fields().len(), 3);
/// ```
pub fn daily_schema<'a>(columns: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    let date = Field::new(DATE, DataType::Date32, false);
    let values = columns
        .into_iter()
        .map(|name| Field::new(name, DataType::Float64, true));
    Arc::new(Schema::new(
        std::iter::once(date).chain(values).collect::<Vec<_>>(),
    ))
}

/// Puts series side by side, in the order of `schema`.
pub(crate) fn to_batch(schema: SchemaRef, series: &[DailySeries]) -> Result<RecordBatch> {
    let days: BTreeSet<NaiveDate> = series
        .iter()
        .flat_map(|series| series.values.iter().map(|(day, _)| *day))
        .collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Date32Array::from_iter_values(
        days.iter().map(|day| days_since_epoch(*day)),
    ))];
    for field in &schema.fields()[1..] {
        let values = series
            .iter()
            .find(|series| series.name == *field.name().as_str());
        let mut values = values
            .map_or(&[][..], |series| &series.values)
            .iter()
            .peekable();
        columns.push(Arc::new(Float64Array::from_iter(days.iter().map(|day| {
            values
                .next_if(|(value_day, _)| value_day == day)
                .map(|(_, value)| *value)
        }))));
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Takes the series of a batch apart; days must ascend.
pub(crate) fn from_batch(source: &str, batch: &RecordBatch) -> Result<Vec<DailySeries>> {
    let wrong = |problem: &str| Error::malformed(format!("source {source}"), problem);
    let days = batch
        .column_by_name(DATE)
        .and_then(|column| column.as_any().downcast_ref::<Date32Array>())
        .ok_or_else(|| wrong("there is no column \"date\" of type Date32"))?;
    let days: Vec<NaiveDate> = days
        .iter()
        .map(|day| {
            day.and_then(day_of_epoch)
                .ok_or_else(|| wrong("a date is missing"))
        })
        .collect::<Result<_>>()?;
    if !days.is_sorted_by(|a, b| a < b) {
        return Err(wrong("the dates do not ascend"));
    }
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    check_distinct(names).map_err(|problem| wrong(&problem.to_string()))?;
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .filter(|(field, _)| field.name() != DATE)
        .map(|(field, column)| {
            let values = column
                .as_any()
                .downcast_ref::<Float64Array>()
                .ok_or_else(|| {
                    wrong(&format!("column {:?} is not of type Float64", field.name()))
                })?;
            let values = days
                .iter()
                .zip(values)
                .filter_map(|(day, value)| Some((*day, value?)));
            Ok(DailySeries {
                name: SeriesName::new(field.name())
                    .map_err(|problem| wrong(&problem.to_string()))?,
                values: values.collect(),
            })
        })
        .collect()
}

const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day of the calendar");

pub(crate) fn days_since_epoch(day: NaiveDate) -> i32 {
    day.num_days_from_ce() - EPOCH.num_days_from_ce()
}

pub(crate) fn day_of_epoch(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH.num_days_from_ce())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2021, 1, day).unwrap()
    }

    #[test]
    fn series_of_different_days_share_one_table() {
        let a = DailySeries {
            name: SeriesName::of_chart("a"),
            values: vec![(day(1), 1.0), (day(3), 3.0)],
        };
        let b = DailySeries {
            name: SeriesName::of_chart("b"),
            values: vec![(day(2), 2.0), (day(3), 4.0)],
        };
        let batch = to_batch(daily_schema(["a", "b"]), &[b.clone(), a.clone()]).unwrap();
        assert_eq!(batch.num_rows(), 3);
        assert_eq!(from_batch("x", &batch).unwrap(), [a, b]);
    }

    #[test]
    fn days_are_counted_from_the_epoch() {
        assert_eq!(days_since_epoch(EPOCH), 0);
        assert_eq!(days_since_epoch(day(1)), 18_628);
        assert_eq!(day_of_epoch(18_628), Some(day(1)));
        assert_eq!(day_of_epoch(i32::MAX), None);
    }
}
