//! The training table: one row per complete day, as it was known when that
//! day had closed.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use btc_features::{FeatureSelection, FeatureStore};
use btc_ingest::{Revisions, Table};
use btc_models::SeriesFrame;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use crate::{Error, Project, Result};

/// The column of the training table that is forecast.
pub const PRICE: &str = "close";
/// The column that says from when a row was known.
pub const EVENT_TIMESTAMP: &str = "event_timestamp";

/// The instant at which day `day` has closed: the next day, 00:00 UTC.
pub fn close_of(day: NaiveDate) -> DateTime<Utc> {
    // The calendar ends in the year 262142.
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    next.and_time(NaiveTime::MIN).and_utc()
}

/// Joins the features of `service` as of the close of every complete day up
/// to `last_day`, oldest first.
///
/// The days are those for which a price is stored; a day without a price has
/// no row. Columns: `event_timestamp`, then the features in the service's order.
///
/// # Errors
///
/// [`Error::NoData`] without a price, [`Error::Features`] if the service is
/// not applied or the join fails.
pub async fn training_table(
    project: &Project,
    store: &FeatureStore,
    service: &str,
    last_day: Option<NaiveDate>,
) -> Result<RecordBatch> {
    let latest = last_day.map(|day| close_of(day).timestamp_nanos_opt().unwrap_or(i64::MAX));
    let mut instants = price_instants(&project.data_dir())?;
    instants.retain(|instant| latest.is_none_or(|latest| *instant <= latest));
    if instants.is_empty() {
        return Err(Error::NoData {
            path: project.data_dir(),
        });
    }
    let times = TimestampNanosecondArray::from(instants).with_timezone("UTC");
    let schema = Schema::new(vec![Field::new(
        EVENT_TIMESTAMP,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        false,
    )]);
    let entity_rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times) as ArrayRef])
        .map_err(|error| Error::Column {
            column: EVENT_TIMESTAMP.into(),
            problem: error.to_string(),
        })?;
    Ok(store
        .get_historical_features(entity_rows, &FeatureSelection::service(service))
        .await?)
}

/// The instants, ascending, at which a day with a price had closed.
fn price_instants(data_dir: &Path) -> Result<Vec<i64>> {
    if btc_ingest::last_complete_day(data_dir)?.is_none() {
        return Err(Error::NoData {
            path: data_dir.to_owned(),
        });
    }
    let prices = btc_ingest::read_table(data_dir, Table::Ohlcv, Revisions::Latest)?;
    let times = column_as::<TimestampNanosecondArray>(&prices, EVENT_TIMESTAMP)?;
    let closes = column_as::<Float64Array>(&prices, PRICE)?;
    let rows = times.iter().zip(closes.iter());
    Ok(rows
        .filter(|(_, close)| close.is_some())
        .filter_map(|(time, _)| time)
        .collect())
}

fn column_as<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    let column = batch.column_by_name(name).ok_or_else(|| Error::Column {
        column: name.into(),
        problem: "is missing".into(),
    })?;
    column.as_any().downcast_ref().ok_or_else(|| Error::Column {
        column: name.into(),
        problem: format!("has the type {}", column.data_type()),
    })
}

/// Turns a training table into the numbers that networks are fitted on.
///
/// Rows before the features begin are left out. A feature that begins late, in
/// the second half of the table, does not count for that, nor one without any
/// value: the fit fills or leaves out such features and says so. Where the
/// features begin is decided without a look at the last `unseen` rows.
///
/// # Errors
///
/// [`Error::Column`] if the price is missing, and [`Error::Models`] if the
/// rows do not ascend in time.
pub fn frame(table: &RecordBatch, unseen: usize) -> Result<SeriesFrame> {
    let columns = columns(table)?;
    let half = table.num_rows().saturating_sub(unseen) / 2;
    let early = columns
        .iter()
        .filter_map(Column::begin)
        .filter(|begin| *begin <= half);
    let start = early.max().unwrap_or(0);
    series(table, columns, start)
}

/// Turns a training table into the numbers of the named features, as a model
/// that was fitted on them needs them, with every row that has a price.
///
/// # Errors
///
/// [`Error::Column`] if the table lacks a name.
pub fn frame_of(table: &RecordBatch, names: &[&str]) -> Result<SeriesFrame> {
    let mut all = columns(table)?;
    let mut chosen = Vec::with_capacity(names.len() + 1);
    let wanted = names
        .iter()
        .copied()
        .chain((!names.contains(&PRICE)).then_some(PRICE));
    for name in wanted {
        let index = all
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| Error::Column {
                column: name.into(),
                problem: "is missing; the model needs it".into(),
            })?;
        chosen.push(all.swap_remove(index));
    }
    let start = chosen
        .iter()
        .find(|column| column.name == PRICE)
        .and_then(Column::begin);
    series(table, chosen, start.unwrap_or(0))
}

/// The numbers of the table by column; a text or a date is no feature.
fn columns(table: &RecordBatch) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for (field, array) in table.schema_ref().fields().iter().zip(table.columns()) {
        if let Some(array) = array.as_any().downcast_ref::<Float64Array>() {
            let values = array
                .iter()
                .map(|value| value.unwrap_or(f64::NAN))
                .collect();
            columns.push(Column {
                name: field.name().clone(),
                values,
            });
        }
    }
    let price = columns.iter().find(|column| column.name == PRICE);
    if price.is_none_or(|price| price.begin().is_none()) {
        return Err(Error::Column {
            column: PRICE.into(),
            problem: "is missing or empty".into(),
        });
    }
    Ok(columns)
}

fn series(table: &RecordBatch, columns: Vec<Column>, start: usize) -> Result<SeriesFrame> {
    let times = column_as::<TimestampNanosecondArray>(table, EVENT_TIMESTAMP)?;
    let rows = start..table.num_rows();
    let known_at = rows
        .clone()
        .map(|row| DateTime::from_timestamp_nanos(times.value(row)))
        .collect();
    let columns = columns
        .into_iter()
        .map(|column| (column.name, column.values[rows.clone()].to_vec()));
    Ok(SeriesFrame::new(known_at, columns, PRICE)?)
}

struct Column {
    name: String,
    values: Vec<f64>,
}

impl Column {
    /// The row of the first value.
    fn begin(&self) -> Option<usize> {
        self.values.iter().position(|value| !value.is_nan())
    }
}
