//! What the columns of a table hold: instants, numbers, and how far apart the rows are.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Int64Type, TimeUnit, TimestampNanosecondType,
    UInt64Type,
};
use btc_files::Sha256;
use btc_models::Frequency;
use chrono::{DateTime, NaiveDate, Utc};

use crate::instants::{close_of, day_closed_at};
use crate::{Error, Result};

/// The column of the training table that is forecast.
pub const PRICE: &str = "close";
/// The column that says from when a row was known.
pub const EVENT_TIMESTAMP: &str = "event_timestamp";

/// The key under which the metadata of a table's schema say how far apart its rows are.
pub const FREQUENCY_KEY: &str = "btc.frequency";

/// The table, saying that its rows lie on the grid of `frequency`.
///
/// What is made of a table takes its word for it; of a table that says nothing the frequency is
/// the commonest step between its rows. That is wrong where whole kinds of rows are missing: days
/// without any weekend look like business days.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
/// use btc_models::Frequency;
/// use btc_pipeline::{EVENT_TIMESTAMP, frame_for, with_frequency};
///
/// // Monday to Friday, and the next Monday.
/// let days = [4, 5, 6, 7, 8, 11].map(|day| 86_400 * day);
/// let columns: [(&str, ArrayRef); 2] = [
///     (EVENT_TIMESTAMP, Arc::new(TimestampSecondArray::from_iter_values(days))),
///     ("load", Arc::new(Float64Array::from_iter_values([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))),
/// ];
/// let table = RecordBatch::try_from_iter(columns)?;
/// let frequency = |table: &RecordBatch| Ok::<_, btc_pipeline::Error>(frame_for(table, "load", 0)?.series.frequency());
/// assert_eq!(frequency(&table)?, Frequency::BusinessDays);
/// assert_eq!(frequency(&with_frequency(table, Frequency::days(1)))?, Frequency::days(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn with_frequency(mut table: RecordBatch, frequency: Frequency) -> RecordBatch {
    let metadata = table.schema_metadata_mut();
    metadata.insert(FREQUENCY_KEY.to_owned(), frequency.to_string());
    table
}

/// How far apart the rows of a table are, if it says so.
///
/// # Errors
///
/// [`Error::Models`] if what it says is no frequency.
pub fn frequency_of(table: &RecordBatch) -> Result<Option<Frequency>> {
    let said = table.schema_ref().metadata().get(FREQUENCY_KEY);
    Ok(said.map(|text| text.parse()).transpose()?)
}

/// The instants of the rows, from whatever unit they are stored in.
pub(crate) fn instants(table: &RecordBatch) -> Result<Vec<DateTime<Utc>>> {
    let column = table
        .column_by_name(EVENT_TIMESTAMP)
        .ok_or_else(|| Error::missing_column(table, EVENT_TIMESTAMP))?;
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let is_time = matches!(column.data_type(), DataType::Timestamp(..));
    let times = match is_time.then(|| cast(column, &nanoseconds)) {
        Some(Ok(times)) => times,
        _ => {
            return Err(Error::NoInstants {
                column: EVENT_TIMESTAMP.into(),
                data_type: column.data_type().to_string(),
            });
        }
    };
    let times = times.as_primitive::<TimestampNanosecondType>();
    match times.iter().position(|time| time.is_none()) {
        Some(row) => Err(Error::MissingInstant { row }),
        None => Ok(times
            .values()
            .iter()
            .map(|nanos| DateTime::from_timestamp_nanos(*nanos))
            .collect()),
    }
}

/// The values of a column as numbers.
pub(crate) struct Numbers {
    /// NaN where a value is missing.
    pub(crate) values: Vec<f64>,
    /// Whether every integer or decimal survived the cast.
    pub(crate) is_exact: bool,
}

/// The largest integer up to which a 64-bit float holds every integer.
const EXACT: i128 = 1 << 53;

/// The values of a column as floats; none if they are no numbers.
pub(crate) fn numbers(array: &ArrayRef) -> Option<Numbers> {
    let values = match array.data_type() {
        DataType::Dictionary(_, values) => values,
        data_type => data_type,
    };
    let is_number = values.is_numeric() || *values == DataType::Boolean;
    if !is_number {
        return None;
    }
    let floats = cast(array, &DataType::Float64).ok()?;
    let values: Vec<f64> = floats
        .as_any()
        .downcast_ref::<Float64Array>()?
        .iter()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect();
    let is_exact =
        match array.data_type() {
            DataType::Int64 => array
                .as_primitive::<Int64Type>()
                .iter()
                .flatten()
                .all(|value| value as f64 as i128 == i128::from(value)),
            DataType::UInt64 => array
                .as_primitive::<UInt64Type>()
                .iter()
                .flatten()
                .all(|value| value as f64 as i128 == i128::from(value)),
            // A decimal of at most 2^53 units is as near as a float can be to it.
            DataType::Decimal128(..) => array
                .as_primitive::<Decimal128Type>()
                .iter()
                .flatten()
                .all(|units| units.unsigned_abs() <= EXACT.unsigned_abs()),
            DataType::Decimal256(..) => array
                .as_primitive::<Decimal256Type>()
                .iter()
                .flatten()
                .all(|units| {
                    units
                        .to_i128()
                        .is_some_and(|units| units.unsigned_abs() <= EXACT.unsigned_abs())
                }),
            _ => true,
        };
    Some(Numbers { values, is_exact })
}

/// The rows of days up to and with `last_day`.
pub(crate) fn rows_until(table: &RecordBatch, last_day: Option<NaiveDate>) -> Result<RecordBatch> {
    let Some(day) = last_day else {
        return Ok(table.clone());
    };
    let times = instants(table)?;
    let rows = times.partition_point(|time| *time <= close_of(day));
    match rows {
        0 => Err(Error::DayNotThere {
            day,
            first: times.first().map(day_closed_at),
            last: times.last().map(day_closed_at),
        }),
        rows => Ok(table.slice(0, rows)),
    }
}

/// What identifies the numbers of a table: SHA-256 over names, instants and values.
pub(crate) fn content_hash(table: &RecordBatch) -> String {
    let mut hasher = Sha256::default();
    for (field, array) in table.schema_ref().fields().iter().zip(table.columns()) {
        hasher.update((field.name().len() as u64).to_le_bytes());
        hasher.update(field.name());
        let is_time = matches!(array.data_type(), DataType::Timestamp(..));
        let array = match is_time.then(|| cast(array, &DataType::Int64)) {
            Some(Ok(times)) => times,
            _ => array.clone(),
        };
        for value in numbers(&array).into_iter().flat_map(|one| one.values) {
            hasher.update(value.to_bits().to_le_bytes());
        }
    }
    hasher.hex()
}
