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

/// Series, stamp, value and reason of what was set aside, and where in a file it stands.
type Key = (String, String, String, String, Option<String>);

/// The place of the column of origins.
const ORIGIN: usize = 5;

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
        origin,
    } in rejected
    {
        let key = (
            series.clone(),
            stamp.clone(),
            value.clone(),
            reason.as_str().to_owned(),
            origin.clone(),
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
        Arc::new(
            rows.keys()
                .map(|key| key.4.as_deref())
                .collect::<StringArray>(),
        ),
    ];
    Ok(Some(RecordBatch::try_new(Arc::new(schema()), columns)?))
}

/// Series and reason of every value.
pub(crate) fn reasons(rows: Rows) -> impl Iterator<Item = (String, String)> {
    rows.into_keys()
        .map(|(series, _, _, reason, _)| (series, reason))
}

/// Takes a quarantine table apart; `path` is where it lies.
pub(crate) fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Rows> {
    // Tables from before files were told apart have no column of origins.
    let has_origins = batch.schema().fields() == schema().fields();
    let known = batch.schema().fields()[..] == schema().fields()[..ORIGIN];
    let whole = |column: &ArrayRef| column.null_count() == 0;
    if !(has_origins || known) || !batch.columns().iter().take(ORIGIN).all(whole) {
        return Err(Error::invalid(path, "it is not a quarantine file"));
    }
    let origins = has_origins.then(|| batch.column(ORIGIN).as_string::<i32>());
    let origin = |row: usize| {
        let origins = origins.filter(|origins| origins.is_valid(row));
        origins.map(|origins| origins.value(row).to_owned())
    };
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
            (
                text(0, row),
                text(1, row),
                text(2, row),
                text(3, row),
                origin(row),
            ),
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
        Field::new("origin", DataType::Utf8, true),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::Reason;

    #[test]
    fn tables_without_origins_are_read_and_get_them() {
        let rejected = |origin: Option<&str>| Rejected {
            series: "close".into(),
            stamp: "2024-01-01".into(),
            value: "oops".into(),
            reason: Reason::NotANumber,
            origin: origin.map(str::to_owned),
        };
        let now = DateTime::UNIX_EPOCH;
        let table = merged(Rows::new(), &[rejected(None)], now)
            .unwrap()
            .unwrap();
        let old = table.project(&[0, 1, 2, 3, 4]).unwrap();
        let rows = from_batch(Path::new("x"), &old).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(
            merged(rows.clone(), &[rejected(None)], now)
                .unwrap()
                .is_none()
        );
        let with_file = rejected(Some("a.csv, line 3"));
        let table = merged(rows, &[with_file], now).unwrap().unwrap();
        let rows = from_batch(Path::new("x"), &table).unwrap();
        let origins: Vec<_> = rows.keys().map(|key| key.4.as_deref()).collect();
        assert_eq!(origins, [None, Some("a.csv, line 3")]);
        let other = old.project(&[0, 1]).unwrap();
        assert!(from_batch(Path::new("x"), &other).is_err());
    }
}
