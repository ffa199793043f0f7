//! The training table: one row per complete day, as it was known when that
//! day had closed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, Int64Type, Schema, TimeUnit,
    TimestampNanosecondType, UInt64Type,
};
use btc_features::{FeatureSelection, FeatureStore};
use btc_files::Sha256;
use btc_ingest::{Revisions, Table};
use btc_models::{SeriesFrame, Unused};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

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

/// The day that had closed at an instant: the one before it.
pub(crate) fn day_closed_at(instant: &DateTime<Utc>) -> NaiveDate {
    (*instant - TimeDelta::nanoseconds(1)).date_naive()
}

/// Joins the features of `service` as of the close of every complete day up
/// to `last_day`, oldest first.
///
/// The days are those for which a price is stored; a day without a price has
/// no row. Columns: `event_timestamp`, then the features in the service's order.
///
/// # Errors
///
/// [`Error::NoData`] without a price, [`Error::DayNotThere`] if all prices are later than
/// `last_day`, [`Error::Features`] if the service is
/// not applied or the join fails.
pub async fn training_table(
    project: &Project,
    store: &FeatureStore,
    service: &str,
    last_day: Option<NaiveDate>,
) -> Result<RecordBatch> {
    // Days and features are read one after the other: if data was pulled between, they are of two
    // states, and read again.
    const ATTEMPTS: usize = 10;
    let state = || btc_ingest::data_hash(project.data_dir()).ok();
    let mut before = state();
    let mut table = training_table_once(project, store, service, last_day).await;
    for _ in 1..ATTEMPTS {
        let after = state();
        if after == before {
            break;
        }
        before = after;
        table = training_table_once(project, store, service, last_day).await;
    }
    table
}

async fn training_table_once(
    project: &Project,
    store: &FeatureStore,
    service: &str,
    last_day: Option<NaiveDate>,
) -> Result<RecordBatch> {
    let latest = last_day.map(|day| close_of(day).timestamp_nanos_opt().unwrap_or(i64::MAX));
    let mut instants = price_instants(&project.data_dir())?;
    let day = |instant: Option<&i64>| {
        instant.map(|nanos| day_closed_at(&DateTime::from_timestamp_nanos(*nanos)))
    };
    let (first, last) = (day(instants.first()), day(instants.last()));
    instants.retain(|instant| latest.is_none_or(|latest| *instant <= latest));
    if instants.is_empty() {
        return Err(match last_day {
            Some(day) if first.is_some() => Error::DayNotThere { day, first, last },
            _ => Error::NoData {
                path: project.data_dir(),
            },
        });
    }
    join_at(store, service, instants).await
}

/// Joins the features of `service` at each of the instants, nanoseconds since 1970.
pub(crate) async fn join_at(
    store: &FeatureStore,
    service: &str,
    instants: Vec<i64>,
) -> Result<RecordBatch> {
    let times = TimestampNanosecondArray::from(instants).with_timezone("UTC");
    let schema = Schema::new(vec![Field::new(
        EVENT_TIMESTAMP,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        false,
    )]);
    let entity_rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times) as ArrayRef])
        .map_err(Error::Arrow)?;
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
    price_instants_of(&prices)
}

/// The instants, ascending, of the rows that have a price.
pub(crate) fn price_instants_of(prices: &RecordBatch) -> Result<Vec<i64>> {
    let closes = prices
        .column_by_name(PRICE)
        .ok_or_else(|| Error::missing_column(prices, PRICE))?;
    let closes = numbers(closes).ok_or_else(|| Error::NotNumeric {
        column: PRICE.into(),
        data_type: closes.data_type().to_string(),
    })?;
    let times = instants(prices)?;
    Ok(times
        .iter()
        .zip(closes.values)
        .filter(|(_, close)| close.is_finite())
        .filter_map(|(time, _)| time.timestamp_nanos_opt())
        .collect())
}

/// What a training table gives the networks, and what it could not give.
#[derive(Debug, Clone)]
pub struct TrainingFrame {
    /// The numbers that networks are fitted on.
    pub series: SeriesFrame,
    /// The columns that are no features, and why.
    pub unused: BTreeMap<String, Unused>,
    /// The columns with integers or decimals that a 64-bit float cannot hold exactly; such values
    /// were rounded to the nearest float.
    pub rounded: Vec<String>,
}

impl TrainingFrame {
    /// What a person should know about the columns, one sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let unused = self
            .unused
            .iter()
            .map(|(name, reason)| format!("column {name:?} is not used as a feature: {reason}"));
        let rounded = self.rounded.iter().map(|name| {
            format!(
                "column {name:?} holds whole numbers beyond 2^53, which are rounded to the nearest \
                 64-bit float"
            )
        });
        unused.chain(rounded).collect()
    }
}

impl From<SeriesFrame> for TrainingFrame {
    fn from(series: SeriesFrame) -> Self {
        Self {
            series,
            unused: BTreeMap::new(),
            rounded: Vec::new(),
        }
    }
}

/// Turns a training table into the numbers that networks are fitted on, to forecast
/// [`PRICE`].
///
/// # Errors
///
/// As [`frame_for`].
pub fn frame(table: &RecordBatch, unseen: usize) -> Result<TrainingFrame> {
    frame_for(table, PRICE, unseen)
}

/// Turns a training table into the numbers that networks are fitted on, to forecast the column
/// `target`.
///
/// Every column of integers, floats, decimals or truth values is a feature; the others are named
/// in [`TrainingFrame::unused`]. Rows before the features begin are left out. A feature that
/// begins late, in the second half of the table, does not count for that, nor one without any
/// value: the fit fills or leaves out such features and says so. Where the features begin is
/// decided without a look at the last `unseen` rows.
///
/// # Errors
///
/// [`Error::MissingColumn`] or [`Error::NotNumeric`] if the target is not there as numbers,
/// [`Error::EmptyColumn`] if it has no value, and [`Error::Models`] if the rows do not ascend in
/// time.
pub fn frame_for(table: &RecordBatch, target: &str, unseen: usize) -> Result<TrainingFrame> {
    let Columns {
        columns,
        unused,
        rounded,
    } = columns(table, target)?;
    let half = table.num_rows().saturating_sub(unseen) / 2;
    let early = columns
        .iter()
        .filter_map(Column::begin)
        .filter(|begin| *begin <= half);
    let start = early.max().unwrap_or(0);
    Ok(TrainingFrame {
        series: series(table, columns, target, start)?,
        unused,
        rounded,
    })
}

/// Turns a training table into the numbers of the named features, as a model that was fitted on
/// them to forecast [`PRICE`] needs them, with every row that has a price.
///
/// # Errors
///
/// As [`frame_of_columns`].
pub fn frame_of(table: &RecordBatch, names: &[&str]) -> Result<SeriesFrame> {
    frame_of_columns(table, names, PRICE)
}

/// Turns a training table into the numbers of the named features, as a model that was fitted on
/// them to forecast `target` needs them, with every row that has a value of `target`.
///
/// # Errors
///
/// [`Error::MissingColumn`] or [`Error::NotNumeric`] if a name is not there as numbers.
pub fn frame_of_columns(table: &RecordBatch, names: &[&str], target: &str) -> Result<SeriesFrame> {
    let mut all = columns(table, target)?;
    let mut chosen = Vec::with_capacity(names.len() + 1);
    let wanted = names
        .iter()
        .copied()
        .chain((!names.contains(&target)).then_some(target));
    for name in wanted {
        let found = all.columns.iter().position(|column| column.name == name);
        let Some(index) = found else {
            return Err(match all.unused.get(name) {
                Some(Unused::NotNumeric { data_type }) => Error::NotNumeric {
                    column: name.into(),
                    data_type: data_type.clone(),
                },
                _ => Error::missing_column(table, name),
            });
        };
        chosen.push(all.columns.swap_remove(index));
    }
    let start = chosen
        .iter()
        .find(|column| column.name == target)
        .and_then(Column::begin);
    series(table, chosen, target, start.unwrap_or(0))
}

/// The columns of a table, sorted by what they are good for.
struct Columns {
    columns: Vec<Column>,
    unused: BTreeMap<String, Unused>,
    rounded: Vec<String>,
}

/// The numbers of the table by column.
fn columns(table: &RecordBatch, target: &str) -> Result<Columns> {
    let mut found = Columns {
        columns: Vec::new(),
        unused: BTreeMap::new(),
        rounded: Vec::new(),
    };
    for (field, array) in table.schema_ref().fields().iter().zip(table.columns()) {
        let name = field.name();
        if name == EVENT_TIMESTAMP {
            continue;
        }
        match numbers(array) {
            Some(Numbers { values, is_exact }) => {
                if !is_exact {
                    found.rounded.push(name.clone());
                }
                found.columns.push(Column {
                    name: name.clone(),
                    values,
                });
            }
            None => {
                let data_type = array.data_type().to_string();
                if name == target {
                    return Err(Error::NotNumeric {
                        column: name.clone(),
                        data_type,
                    });
                }
                found
                    .unused
                    .insert(name.clone(), Unused::NotNumeric { data_type });
            }
        }
    }
    match found.columns.iter().find(|column| column.name == target) {
        None => Err(Error::missing_column(table, target)),
        Some(column) if column.begin().is_none() => Err(Error::EmptyColumn {
            column: target.into(),
        }),
        Some(_) => Ok(found),
    }
}

struct Numbers {
    /// NaN where a value is missing.
    values: Vec<f64>,
    /// Whether every integer or decimal survived the cast.
    is_exact: bool,
}

/// The largest integer up to which a 64-bit float holds every integer.
const EXACT: i128 = 1 << 53;

/// The values of a column as floats; none if they are no numbers.
fn numbers(array: &ArrayRef) -> Option<Numbers> {
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

/// The rows from `start` on that have a value of the target.
fn series(
    table: &RecordBatch,
    columns: Vec<Column>,
    target: &str,
    start: usize,
) -> Result<SeriesFrame> {
    let times = instants(table)?;
    let has_target = |row: &usize| {
        columns
            .iter()
            .any(|column| column.name == target && column.values[*row].is_finite())
    };
    let rows: Vec<usize> = (start..table.num_rows()).filter(has_target).collect();
    let known_at = rows.iter().map(|row| times[*row]).collect();
    let columns = columns.into_iter().map(|column| {
        let values: Vec<f64> = rows.iter().map(|row| column.values[*row]).collect();
        (column.name, values)
    });
    Ok(SeriesFrame::new(known_at, columns, target)?)
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

struct Column {
    name: String,
    values: Vec<f64>,
}

impl Column {
    /// The row of the first value.
    fn begin(&self) -> Option<usize> {
        self.values.iter().position(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Decimal128Array, Float32Array, Int8Array, Int64Array, StringArray,
        TimestampSecondArray, UInt64Array,
    };

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let rows = columns[0].1.len() as i64;
        let times: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
            (0..rows).map(|row| 86_400 * row),
        ));
        RecordBatch::try_from_iter([(EVENT_TIMESTAMP, times)].into_iter().chain(columns)).unwrap()
    }

    #[test]
    fn every_numeric_and_boolean_column_is_a_feature_and_others_are_named() {
        let decimal = Decimal128Array::from(vec![125, 250, 375])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let table = table(vec![
            (
                "close",
                Arc::new(Float32Array::from(vec![1.5, 2.5, 3.5])) as ArrayRef,
            ),
            (
                "count",
                Arc::new(Int8Array::from(vec![Some(1), None, Some(3)])),
            ),
            ("large", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            ("id", Arc::new(Int64Array::from(vec![(1 << 53) + 1, 2, 3]))),
            ("up", Arc::new(BooleanArray::from(vec![true, false, true]))),
            ("cost", Arc::new(decimal)),
            ("note", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ]);
        let frame = frame(&table, 0).unwrap();
        assert_eq!(
            frame.series.names(),
            ["close", "count", "large", "id", "up", "cost"]
        );
        assert_eq!(frame.series.column("up").unwrap(), [1.0, 0.0, 1.0]);
        assert_eq!(frame.series.column("cost").unwrap(), [1.25, 2.5, 3.75]);
        let count = frame.series.column("count").unwrap();
        assert!(count[0] == 1.0 && count[1].is_nan());
        assert_eq!(
            frame.unused["note"],
            Unused::NotNumeric {
                data_type: "Utf8".into()
            }
        );
        assert_eq!(frame.unused.len(), 1);
        assert_eq!(frame.rounded, ["large", "id"]);
        assert_eq!(frame.remarks().len(), 3);
    }

    #[test]
    fn the_target_may_be_of_any_numeric_type_and_of_no_other() {
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "3"]));
        let empty: ArrayRef = Arc::new(Int64Array::from(vec![None, None, None]));
        let table = table(vec![("load", whole), ("text", text), ("empty", empty)]);
        let frame = frame_for(&table, "load", 0).unwrap();
        assert_eq!(frame.series.target(), [1.0, 2.0, 3.0]);
        assert!(matches!(
            frame_for(&table, "text", 0),
            Err(Error::NotNumeric { column, data_type }) if column == "text" && data_type == "Utf8"
        ));
        assert!(matches!(
            frame_for(&table, "empty", 0),
            Err(Error::EmptyColumn { .. })
        ));
        let missing = frame_for(&table, "laod", 0).unwrap_err();
        assert!(missing.to_string().contains("load"), "{missing}");
        assert!(matches!(
            frame_of_columns(&table, &["text"], "load"),
            Err(Error::NotNumeric { .. })
        ));
    }

    #[test]
    fn a_row_without_the_target_is_no_row() {
        let gap: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let frame = frame_for(&table(vec![("load", gap)]), "load", 0).unwrap();
        assert_eq!(frame.series.target(), [1.0, 3.0]);
    }
}
