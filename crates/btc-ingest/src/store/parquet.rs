//! Tables as Parquet files: encoding, decoding, and what a table says however it is encoded.

use super::log::{Revision, SeriesLog};
use crate::error::{Error, Result};
use crate::series::SeriesName;
use crate::source::{day_of_epoch, days_since_epoch};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType,
    UInt64Type,
};
use btc_files::Sha256;
use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The version of the columns of the tables, which every file carries.
const TABLE_VERSION: u32 = 1;

pub(crate) const EVENT_TIMESTAMP: &str = "event_timestamp";
pub(crate) const CREATED_TIMESTAMP: &str = "created_timestamp";

/// Writes a table as Parquet (zstd, with statistics); the file appears whole or not at all.
///
/// Columns `date` and `event_timestamp`, if there are, should ascend: the statistics then let
/// readers skip what they do not need.
///
/// # Errors
///
/// Fails if the folder of `path` does not exist or cannot be written to.
pub fn write_parquet(path: impl AsRef<Path>, batch: &RecordBatch) -> Result<()> {
    let path = path.as_ref();
    let bytes = to_bytes(path, batch, &[])?;
    btc_files::replace(path, &bytes).map_err(|source| Error::write(path, source))
}

/// Reads a whole Parquet file.
///
/// # Errors
///
/// Fails if the file is missing, cut off or not Parquet.
pub fn read_parquet(path: impl AsRef<Path>) -> Result<RecordBatch> {
    let path = path.as_ref();
    // Small tables: reading the file first keeps I/O errors apart from broken contents.
    let bytes = fs::read(path).map_err(|source| Error::read(path, source))?;
    from_bytes(path, bytes.into())
}

/// Reads the content of the Parquet file `path`.
pub(super) fn from_bytes(path: &Path, bytes: Bytes) -> Result<RecordBatch> {
    let failed = |source| Error::parquet(path, source);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(failed)?;
    let schema = builder.schema().clone();
    let reader = builder.build().map_err(failed)?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

pub(crate) fn to_bytes(
    path: &Path,
    batch: &RecordBatch,
    metadata: &[(&str, String)],
) -> Result<Vec<u8>> {
    let failed = |source| Error::parquet(path, source);
    let version = KeyValue::new("format_version".to_owned(), TABLE_VERSION.to_string());
    let pairs = metadata
        .iter()
        .map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(std::iter::once(version).chain(pairs).collect()))
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes)
}

/// SHA-256 over names, types and values: the same for all encodings of one table.
///
/// # Errors
///
/// Fails if a column has a type that the data folder's tables do not have.
pub(crate) fn content_hash(batch: &RecordBatch) -> Result<String> {
    let mut sum = Sha256::default();
    sum.update((batch.num_rows() as u64).to_le_bytes());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        // The length keeps a name apart from what follows it.
        sum.update((field.name().len() as u64).to_le_bytes());
        sum.update(field.name());
        // The names of the types are written out here: those of a library may change.
        match field.data_type() {
            DataType::Date32 => {
                let values = column.as_primitive::<Date32Type>().iter();
                add(&mut sum, "date", values, |value, sum| {
                    sum.update(value.to_le_bytes())
                });
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>().iter();
                add(&mut sum, "float64", values, |value, sum| {
                    sum.update(value.to_bits().to_le_bytes());
                });
            }
            DataType::UInt64 => {
                let values = column.as_primitive::<UInt64Type>().iter();
                add(&mut sum, "uint64", values, |value, sum| {
                    sum.update(value.to_le_bytes())
                });
            }
            data_type if *data_type == timestamp_type() => {
                let values = column.as_primitive::<TimestampNanosecondType>().iter();
                add(&mut sum, "timestamp(ns, UTC)", values, |value, sum| {
                    sum.update(value.to_le_bytes());
                });
            }
            DataType::Utf8 => {
                let values = column.as_string::<i32>().iter();
                add(&mut sum, "utf8", values, |value, sum| {
                    sum.update((value.len() as u64).to_le_bytes());
                    sum.update(value);
                });
            }
            other => {
                return Err(Error::config(format!(
                    "column {:?} has the type {other}, which no table of a data folder has",
                    field.name()
                )));
            }
        }
    }
    Ok(sum.hex())
}

/// Adds the name of a type and values of it, each behind a byte that says whether there is one.
fn add<T>(
    sum: &mut Sha256,
    name: &str,
    values: impl Iterator<Item = Option<T>>,
    value: impl Fn(T, &mut Sha256),
) {
    sum.update(name);
    for one in values {
        sum.update([u8::from(one.is_some())]);
        if let Some(one) = one {
            value(one, sum);
        }
    }
}

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// Nanoseconds since 1970, which reach from 1677 to 2262; instants beyond are clamped, which is
/// right for a limit and wrong for a value: see [`check_instant`].
pub(crate) fn nanos(instant: DateTime<Utc>) -> i64 {
    instant
        .timestamp_nanos_opt()
        .unwrap_or(if instant < DateTime::UNIX_EPOCH {
            i64::MIN
        } else {
            i64::MAX
        })
}

/// Fails if an instant cannot be stored.
pub(crate) fn check_instant(instant: DateTime<Utc>) -> Result<()> {
    match instant.timestamp_nanos_opt() {
        Some(_) => Ok(()),
        None => Err(Error::config(format!(
            "{instant} cannot be stored: times reach from 1677-09-22 to 2262-04-10"
        ))),
    }
}

/// Whether the rows of a day can be stored: its end has to be an instant that can be.
pub(crate) fn is_storable(day: NaiveDate) -> bool {
    day.checked_add_days(chrono::Days::new(1))
        .and_then(|next| {
            next.and_time(chrono::NaiveTime::MIN)
                .and_utc()
                .timestamp_nanos_opt()
        })
        .is_some()
}

pub(crate) fn timestamps(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn raw_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::Utf8, false),
        Field::new("date", DataType::Date32, false),
        Field::new("value", DataType::Float64, false),
        Field::new(CREATED_TIMESTAMP, timestamp_type(), false),
    ]))
}

/// One table a year with all series of a source, sorted by series, day and time of fetching.
pub(crate) fn raw_tables(
    series: &BTreeMap<SeriesName, SeriesLog>,
) -> Result<BTreeMap<i32, RecordBatch>> {
    let mut years: BTreeMap<i32, Vec<(&str, Revision)>> = BTreeMap::new();
    for (name, log) in series {
        for revision in log.revisions() {
            years
                .entry(revision.day.year())
                .or_default()
                .push((name.as_str(), *revision));
        }
    }
    let table = |rows: Vec<(&str, Revision)>| -> Result<RecordBatch> {
        let revisions = || rows.iter().map(|(_, revision)| revision);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(name, _)| name),
            )),
            Arc::new(Date32Array::from_iter_values(
                revisions().map(|r| days_since_epoch(r.day)),
            )),
            Arc::new(Float64Array::from_iter_values(revisions().map(|r| r.value))),
            timestamps(revisions().map(|r| nanos(r.created))),
        ];
        Ok(RecordBatch::try_new(raw_schema(), columns)?)
    };
    years
        .into_iter()
        .map(|(year, rows)| Ok((year, table(rows)?)))
        .collect()
}

/// Takes a raw table apart; `path` is where it lies.
pub(super) fn read_revisions(
    path: &Path,
    batch: &RecordBatch,
    revisions: &mut BTreeMap<SeriesName, Vec<Revision>>,
) -> Result<()> {
    let is_raw = batch.schema().fields() == raw_schema().fields()
        && batch
            .columns()
            .iter()
            .all(|column| column.null_count() == 0);
    if !is_raw {
        return Err(Error::invalid(path, "it is not a table of raw values"));
    }
    let names = batch.column(0).as_string::<i32>();
    let days = batch.column(1).as_primitive::<Date32Type>();
    let values = batch.column(2).as_primitive::<Float64Type>();
    let created = batch.column(3).as_primitive::<TimestampNanosecondType>();
    for row in 0..batch.num_rows() {
        let day = day_of_epoch(days.value(row))
            .ok_or_else(|| Error::invalid(path, "it holds a day out of the calendar"))?;
        let created = DateTime::from_timestamp_nanos(created.value(row));
        let name = names.value(row);
        let revision = Revision {
            day,
            created,
            value: values.value(row),
        };
        match revisions.get_mut(name) {
            Some(list) => list.push(revision),
            None => {
                let name = SeriesName::new(name)
                    .map_err(|problem| Error::invalid(path, problem.to_string()))?;
                revisions.entry(name).or_default().push(revision);
            }
        }
    }
    Ok(())
}

/// The entries of a folder in order of their names; none if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let failed = |source| Error::read(folder, source);
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = list
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Splits a table by the year of its column `date`.
pub(crate) fn by_year(batch: &RecordBatch) -> Result<BTreeMap<i32, RecordBatch>> {
    let days = batch.column(0).as_primitive::<Date32Type>();
    let year = |row: usize| -> Result<i32> {
        let day: Option<NaiveDate> = day_of_epoch(days.value(row));
        day.map(|day| day.year())
            .ok_or_else(|| Error::config("a table holds a day out of the calendar"))
    };
    let mut years = BTreeMap::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let this = year(start)?;
        let mut end = start + 1;
        while end < batch.num_rows() && year(end)? == this {
            end += 1;
        }
        years.insert(this, batch.slice(start, end - start));
        start = end;
    }
    Ok(years)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn table(values: &[Option<f64>], label: &str) -> RecordBatch {
        let days = 0..i32::try_from(values.len()).unwrap();
        let instants = days.clone().map(i64::from);
        let columns: [(&str, ArrayRef); 4] = [
            (
                "date",
                Arc::new(Date32Array::from_iter_values(days.clone())),
            ),
            ("event_timestamp", timestamps(instants)),
            ("close", Arc::new(Float64Array::from(values.to_vec()))),
            (
                "label",
                Arc::new(StringArray::from_iter_values(days.map(|_| label))),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn the_content_is_that_of_the_values_and_not_of_their_encoding() {
        let batch = table(&[Some(1.0), None, Some(-0.5)], "a");
        let hash = content_hash(&batch).unwrap();
        // Another compression, writer, row group and page size: other bytes, the same content.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_created_by("another library version 99".to_owned())
            .set_max_row_group_row_count(Some(1))
            .build();
        let mut bytes = Cursor::new(Vec::new());
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let bytes = bytes.into_inner();
        let path = Path::new("x.parquet");
        assert_ne!(bytes, to_bytes(path, &batch, &[]).unwrap());
        let again = from_bytes(path, bytes.into()).unwrap();
        assert_eq!(content_hash(&again).unwrap(), hash);
        // Written down when format 2 was made.
        assert_eq!(
            hash,
            "00c67fd337397dea9fe93160ee995915cbc22911fefa741506330f307f119851"
        );

        for other in [
            table(&[Some(1.0), None, Some(0.5)], "a"),
            table(&[Some(1.0), Some(0.0), Some(-0.5)], "a"),
            table(&[Some(1.0), None], "a"),
            table(&[Some(1.0), None, Some(-0.5)], "b"),
            batch.slice(1, 2),
        ] {
            assert_ne!(content_hash(&other).unwrap(), hash);
        }
    }

    #[test]
    fn a_day_is_storable_if_its_end_is() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for good in ["1677-09-21", "1970-01-01", "2262-04-10"] {
            assert!(is_storable(day(good)), "{good}");
        }
        for bad in ["0001-01-01", "1677-09-20", "2262-04-11", "9999-12-31"] {
            assert!(!is_storable(day(bad)), "{bad}");
        }
        assert!(check_instant(DateTime::UNIX_EPOCH).is_ok());
        assert!(check_instant(DateTime::<Utc>::MAX_UTC).is_err());
    }
}
