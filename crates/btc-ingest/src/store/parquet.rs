//! Tables as Parquet files that appear whole.

use super::log::{Logs, Revision, SeriesLog};
use crate::error::{Error, Result};
use crate::http::hex;
use crate::series::SeriesName;
use crate::source::{day_of_epoch, days_since_epoch};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType,
};
use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

pub(crate) const FORMAT_VERSION: u32 = 1;
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
pub fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<()> {
    let bytes = to_bytes(path, batch, &[])?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |source| Error::write(path, source);
    let mut file = draft_in(folder).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path)
        .map_err(|problem| failed(problem.error))?;
    sync_folder(folder)
}

/// A file in `folder` that gets its name when it is whole. Its mode is that of
/// any new file: what the umask leaves.
fn draft_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Reads a whole Parquet file.
///
/// # Errors
///
/// Fails if the file is missing, cut off or not Parquet.
pub fn read_parquet(path: &Path) -> Result<RecordBatch> {
    // Small tables: reading the file first keeps I/O errors apart from broken contents.
    let bytes = fs::read(path).map_err(|source| Error::read(path, source))?;
    from_bytes(path, bytes.into())
}

fn from_bytes(path: &Path, bytes: Bytes) -> Result<RecordBatch> {
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
    let version = KeyValue::new("format_version".to_owned(), FORMAT_VERSION.to_string());
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

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Opening a folder works on Unix only; elsewhere renames need no second step.
    #[cfg(unix)]
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::write(folder, source))?;
    Ok(())
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// Nanoseconds since 1970; the years from 1678 to 2261 can be told so.
pub(crate) fn nanos(instant: DateTime<Utc>) -> i64 {
    instant
        .timestamp_nanos_opt()
        .unwrap_or(if instant < DateTime::UNIX_EPOCH {
            i64::MIN
        } else {
            i64::MAX
        })
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

/// Reads the raw tables below `folder`: one folder per source, one file per year.
pub(crate) fn read_logs(folder: &Path) -> Result<Logs> {
    let mut logs = Logs::new();
    for source in entries(folder)? {
        let mut revisions: BTreeMap<SeriesName, Vec<Revision>> = BTreeMap::new();
        for path in entries(&source)?
            .into_iter()
            .filter(|path| is_year_file(path))
        {
            read_revisions(&path, &mut revisions)?;
        }
        let name = source
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let series = revisions.into_iter();
        let series = series
            .map(|(name, rows)| (name, SeriesLog::from_revisions(rows)))
            .collect();
        logs.insert(name, series);
    }
    Ok(logs)
}

fn read_revisions(path: &Path, revisions: &mut BTreeMap<SeriesName, Vec<Revision>>) -> Result<()> {
    let batch = read_parquet(path)?;
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

/// Tells the tables of a year from whatever else lies in a folder.
pub(crate) fn is_year_file(path: &Path) -> bool {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    path.extension()
        .is_some_and(|extension| extension == "parquet")
        && !stem.is_empty()
        && stem.chars().all(|c| c.is_ascii_digit())
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
