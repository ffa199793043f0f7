//! Values that were not used, kept beside the ones that were.

use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::store::{CREATED_TIMESTAMP, nanos, timestamp_type, timestamps};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) const FILE: &str = "quarantine.parquet";

/// Series, stamp, value and reason of what was set aside.
type Key = (String, String, String, String);

/// What was set aside, with the time at which it was first met.
pub(crate) type Rows = BTreeMap<Key, i64>;

/// The rows with new ones added; each is kept once. `None` if nothing is new.
pub(crate) fn merged(
    mut rows: Rows,
    rejected: &[Rejected],
    now: DateTime<Utc>,
) -> Result<Option<RecordBatch>> {
    let before = rows.len();
    for Rejected {
        series,
        stamp,
        value,
        reason,
    } in rejected
    {
        let key = (
            series.clone(),
            stamp.clone(),
            value.clone(),
            reason.as_str().to_owned(),
        );
        rows.entry(key).or_insert_with(|| nanos(now));
    }
    if rows.len() == before {
        return Ok(None);
    }
    let text = |part: fn(&Key) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.keys().map(part)))
    };
    let columns = vec![
        text(|key| &key.0),
        text(|key| &key.1),
        text(|key| &key.2),
        text(|key| &key.3),
        timestamps(rows.values().copied()),
    ];
    Ok(Some(RecordBatch::try_new(Arc::new(schema()), columns)?))
}

/// Series and reason of every value.
pub(crate) fn reasons(rows: Rows) -> impl Iterator<Item = (String, String)> {
    rows.into_keys()
        .map(|(series, _, _, reason)| (series, reason))
}

/// Takes a quarantine table apart; `path` is where it lies.
pub(crate) fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Rows> {
    let expected = batch.schema().fields() == schema().fields()
        && batch
            .columns()
            .iter()
            .all(|column| column.null_count() == 0);
    if !expected {
        return Err(Error::invalid(path, "it is not a quarantine file"));
    }
    let text = |column: usize, row: usize| {
        batch
            .column(column)
            .as_string::<i32>()
            .value(row)
            .to_owned()
    };
    let created = batch.column(4).as_primitive::<TimestampNanosecondType>();
    let row = |row| {
        (
            (text(0, row), text(1, row), text(2, row), text(3, row)),
            created.value(row),
        )
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let created = Field::new(CREATED_TIMESTAMP, timestamp_type(), false);
    Schema::new(vec![
        text("series"),
        text("stamp"),
        text("value"),
        text("reason"),
        created,
    ])
}
