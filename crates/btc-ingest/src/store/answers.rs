//! Where values came from: the answers of services, one table a year per source.

use super::parquet::{nanos, timestamp_type, timestamps};
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType, UInt64Type};
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// One answer of a service that brought new or changed values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnswerRecord {
    /// Source and series, as `blockchain/hash-rate`.
    pub series: String,
    /// The address, without secrets.
    pub url: String,
    /// SHA-256 of the answer.
    pub sha256: String,
    /// Size of the answer.
    pub bytes: u64,
    /// When it was fetched; equals the `created_timestamp` of the values it brought.
    pub fetched: DateTime<Utc>,
}

impl AnswerRecord {
    /// The table that it belongs to, below the data folder.
    pub(super) fn table(&self) -> String {
        let source = self.series.split('/').next().unwrap_or_default();
        format!(
            "{}/{source}/{PREFIX}{}.parquet",
            super::RAW,
            self.fetched.year()
        )
    }
}

const PREFIX: &str = "answers-";

/// Whether a table below the data folder is one of answers.
pub(super) fn is_table(name: &str) -> bool {
    name.starts_with(super::RAW)
        && name
            .rsplit('/')
            .next()
            .is_some_and(|n| n.starts_with(PREFIX))
}

fn schema() -> Arc<Schema> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("series"),
        text("url"),
        text("sha256"),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("fetched", timestamp_type(), false),
    ]))
}

/// Puts answers into a table, in the order of fetching.
pub(super) fn to_batch(answers: &[AnswerRecord]) -> Result<RecordBatch> {
    let text = |part: fn(&AnswerRecord) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(answers.iter().map(part)))
    };
    let columns = vec![
        text(|answer| &answer.series),
        text(|answer| &answer.url),
        text(|answer| &answer.sha256),
        Arc::new(UInt64Array::from_iter_values(
            answers.iter().map(|answer| answer.bytes),
        )),
        timestamps(answers.iter().map(|answer| nanos(answer.fetched))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Takes a table of answers apart; `path` is where it lies.
pub(super) fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Vec<AnswerRecord>> {
    let expected = batch.schema().fields() == schema().fields()
        && batch
            .columns()
            .iter()
            .all(|column| column.null_count() == 0);
    if !expected {
        return Err(Error::invalid(path, "it is not a table of answers"));
    }
    let text = |column: usize, row: usize| {
        let column = batch.column(column).as_string::<i32>();
        column.value(row).to_owned()
    };
    let bytes = batch.column(3).as_primitive::<UInt64Type>();
    let fetched = batch.column(4).as_primitive::<TimestampNanosecondType>();
    let answer = |row| AnswerRecord {
        series: text(0, row),
        url: text(1, row),
        sha256: text(2, row),
        bytes: bytes.value(row),
        fetched: DateTime::from_timestamp_nanos(fetched.value(row)),
    };
    Ok((0..batch.num_rows()).map(answer).collect())
}
