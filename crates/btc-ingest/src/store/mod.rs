//! The data folder: raw values, processed tables, and a manifest.

mod log;
mod manifest;
mod parquet;
mod transaction;

pub use manifest::{BodyRecord, Manifest, SeriesRecord, TableRecord};
pub use parquet::{read_parquet, write_parquet};

pub(crate) use log::{Logs, Revision, SeriesLog};
pub(crate) use manifest::MANIFEST;
pub(crate) use parquet::{
    CREATED_TIMESTAMP, EVENT_TIMESTAMP, FORMAT_VERSION, entries, is_year_file, nanos, read_logs,
    sha256, timestamp_type, timestamps,
};
pub(crate) use transaction::Transaction;

use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::series::SeriesName;
use crate::tables;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimestampNanosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

pub(crate) const RAW: &str = "raw";
pub(crate) const PROCESSED: &str = "processed";
const LOCK: &str = ".lock";

/// One of the two processed tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Prices: open, high, low, close, volume and where they are from.
    Ohlcv,
    /// One column per chart.
    Blockchain,
}

impl Table {
    /// The folder of the table below the data folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Ohlcv => "processed/ohlcv",
            Self::Blockchain => "processed/blockchain",
        }
    }
}

/// Which rows of a table are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// Every row, the ones that were replaced included.
    All,
    /// One row per day, as it is known now.
    Latest,
    /// One row per day, as it was known at an instant.
    AsOf(DateTime<Utc>),
}

/// Reads a processed table, by ascending day.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path();
/// use btc_ingest::{Revisions, Table, pull_sample, read_table};
///
/// let now = "2024-01-02T00:00:00Z".parse()?;
/// pull_sample(data_dir, 0, "2024-01-01".parse()?, 30, now)?;
/// let prices = read_table(data_dir, Table::Ohlcv, Revisions::Latest)?;
/// assert_eq!(prices.num_rows(), 30);
/// let before = "2023-12-31T23:59:59Z".parse()?;
/// assert_eq!(read_table(data_dir, Table::Ohlcv, Revisions::AsOf(before))?.num_rows(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if there is no such table yet or one of its files is broken.
pub fn read_table(data_dir: &Path, table: Table, revisions: Revisions) -> Result<RecordBatch> {
    let folder = data_dir.join(table.folder());
    let files: Vec<PathBuf> = entries(&folder)?
        .into_iter()
        .filter(|path| is_year_file(path))
        .collect();
    let batches: Vec<RecordBatch> = files
        .iter()
        .map(|path| read_parquet(path))
        .collect::<Result<_>>()?;
    let Some(first) = batches.first() else {
        return Err(Error::NotPulled { path: folder });
    };
    let batch = concat_batches(&first.schema(), &batches)?;
    match revisions {
        Revisions::All => Ok(batch),
        Revisions::Latest => visible_rows(&batch, i64::MAX, &folder),
        Revisions::AsOf(instant) => visible_rows(&batch, nanos(instant), &folder),
    }
}

/// Returns one row per day of a table that was read with [`Revisions::All`], as it was known at
/// `instant`: what [`read_table`] returns for [`Revisions::AsOf`], without reading again.
///
/// # Errors
///
/// Fails if `all` is not such a table.
pub fn rows_as_of(all: &RecordBatch, instant: DateTime<Utc>) -> Result<RecordBatch> {
    visible_rows(all, nanos(instant), Path::new("the table"))
}

/// The rows that count at an instant, in nanoseconds since 1970.
fn visible_rows(batch: &RecordBatch, instant: i64, origin: &Path) -> Result<RecordBatch> {
    let broken = || Error::invalid(origin, "it is not a processed table");
    let timestamps = |name: &str| {
        let column = batch
            .column_by_name(name)
            .filter(|c| *c.data_type() == timestamp_type());
        Ok::<_, Error>(
            column
                .ok_or_else(broken)?
                .as_primitive::<TimestampNanosecondType>(),
        )
    };
    let (known, created) = (timestamps(EVENT_TIMESTAMP)?, timestamps(CREATED_TIMESTAMP)?);
    let visible = |row: usize| known.value(row) <= instant && created.value(row) <= instant;
    // Rows of a day follow each other in the order of fetching: the last visible one counts.
    let wanted: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let next = row + 1;
            let replaced =
                next < batch.num_rows() && known.value(next) == known.value(row) && visible(next);
            Some(visible(row) && !replaced)
        })
        .collect();
    Ok(filter_record_batch(batch, &wanted)?)
}

/// Returns the last day that has a price and is over, or `None` if there is no data.
///
/// # Errors
///
/// Fails if the manifest cannot be read.
pub fn last_complete_day(data_dir: &Path) -> Result<Option<NaiveDate>> {
    Ok(Manifest::read(data_dir)?.and_then(|manifest| manifest.last_complete_day))
}

/// Returns the fingerprint of the processed tables: SHA-256 over the names and SHA-256 sums of
/// their files, as the manifest has them.
///
/// # Errors
///
/// Fails if there is no data or the manifest cannot be read.
pub fn data_hash(data_dir: &Path) -> Result<String> {
    match Manifest::read(data_dir)? {
        Some(manifest) => Ok(manifest.data_hash),
        None => Err(Error::NotPulled {
            path: data_dir.to_owned(),
        }),
    }
}

/// The data folder, held against other writers.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) logs: Logs,
    _lock: File,
}

/// What a commit is to record beside the values.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) synthetic: bool,
    pub(crate) market: String,
    pub(crate) charts: Vec<String>,
    pub(crate) now: DateTime<Utc>,
    /// The first day that is not over.
    pub(crate) today: NaiveDate,
    /// Units and times of fetching; the other parts are filled in.
    pub(crate) series: BTreeMap<String, SeriesRecord>,
    pub(crate) bodies: Vec<BodyRecord>,
    /// By source.
    pub(crate) rejected: BTreeMap<String, Vec<Rejected>>,
}

impl Store {
    /// Opens a data folder for writing, and makes it if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|source| Error::write(dir, source))?;
        let path = dir.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|source| Error::write(&path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(Error::write(&path, source)),
        }
        Transaction::recover(dir)?;
        let manifest = Manifest::read(dir)?;
        let logs = parquet::read_logs(&dir.join(RAW))?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            logs,
            _lock: lock,
        })
    }

    /// Writes all values and the tables made of them, in one transaction.
    pub(crate) fn commit(self, commit: Commit) -> Result<Manifest> {
        let mut files: BTreeMap<String, (RecordBatch, String)> = BTreeMap::new();
        for (source, series) in &self.logs {
            for (year, table) in parquet::raw_tables(series)? {
                files.insert(
                    format!("{RAW}/{source}/{year}.parquet"),
                    (table, source.clone()),
                );
            }
        }
        for (source, rejected) in &commit.rejected {
            if let Some(table) = self.quarantine(source, rejected, commit.now)? {
                let path = format!("{RAW}/{source}/{}", crate::quarantine::FILE);
                files.insert(path, (table, source.clone()));
            }
        }
        let ohlcv = tables::ohlcv(&self.logs, &commit.market)?;
        let blockchain = tables::blockchain(&self.logs, &commit.charts)?;
        let last_complete_day = last_price_before(&ohlcv, commit.today);
        for (table, batch) in [(Table::Ohlcv, ohlcv), (Table::Blockchain, blockchain)] {
            for (year, part) in parquet::by_year(&batch)? {
                let path = format!("{}/{year}.parquet", table.folder());
                files.insert(path, (part, "all".to_owned()));
            }
        }

        let known = self.manifest.as_ref().map(|manifest| &manifest.tables);
        let mut transaction = Transaction::default();
        let mut tables = BTreeMap::new();
        for (path, (batch, source)) in files {
            let metadata = [
                ("source", source),
                ("synthetic", commit.synthetic.to_string()),
            ];
            let bytes = parquet::to_bytes(&self.dir.join(&path), &batch, &metadata)?;
            let record = TableRecord {
                sha256: sha256(&bytes),
                bytes: bytes.len() as u64,
                rows: batch.num_rows(),
            };
            let unchanged = known.and_then(|tables| tables.get(&path)) == Some(&record)
                && fs::metadata(self.dir.join(&path)).is_ok_and(|file| file.len() == record.bytes);
            if !unchanged {
                transaction.write(path.clone(), bytes);
            }
            tables.insert(path, record);
        }
        for path in known.into_iter().flat_map(BTreeMap::keys) {
            let quarantine = path.ends_with(crate::quarantine::FILE);
            match known.and_then(|tables| tables.get(path)) {
                // What was set aside once stays, whether or not there is more of it now.
                Some(record) if quarantine && !commit.synthetic => {
                    tables.entry(path.clone()).or_insert_with(|| record.clone());
                }
                _ if tables.contains_key(path) => {}
                _ => transaction.delete(path.clone()),
            }
        }
        let manifest = self.describe(commit, tables, last_complete_day);
        transaction.write(MANIFEST, manifest.to_bytes(&self.dir)?);
        transaction.commit(&self.dir)?;
        Ok(manifest)
    }

    fn quarantine(
        &self,
        source: &str,
        rejected: &[Rejected],
        now: DateTime<Utc>,
    ) -> Result<Option<RecordBatch>> {
        let path = self
            .dir
            .join(RAW)
            .join(source)
            .join(crate::quarantine::FILE);
        crate::quarantine::merged(&path, rejected, now)
    }

    fn describe(
        &self,
        commit: Commit,
        tables: BTreeMap<String, TableRecord>,
        last_complete_day: Option<NaiveDate>,
    ) -> Manifest {
        let old = self.manifest.as_ref().filter(|_| !commit.synthetic);
        let mut series = old
            .map(|manifest| manifest.series.clone())
            .unwrap_or_default();
        for (name, record) in commit.series {
            let entry = series.entry(name).or_default();
            entry.unit = record.unit.or(entry.unit.take());
            entry.fetched = record.fetched.or(entry.fetched);
        }
        for (source, list) in &self.logs {
            for (name, log) in list {
                let entry = series.entry(format!("{source}/{name}")).or_default();
                let days: BTreeSet<NaiveDate> = log.latest().map(|(day, _)| day).collect();
                entry.first = days.first().copied();
                entry.last = days.last().copied();
                entry.days = days.len();
            }
        }
        let mut bodies = old
            .map(|manifest| manifest.bodies.clone())
            .unwrap_or_default();
        bodies.extend(commit.bodies);
        Manifest {
            format_version: FORMAT_VERSION,
            synthetic: commit.synthetic,
            market: commit.market,
            charts: commit.charts,
            updated: commit.now,
            last_complete_day,
            data_hash: Manifest::hash_of(&tables),
            series,
            tables,
            bodies,
        }
    }

    pub(crate) fn log(&self, source: &str, series: &str) -> Option<&SeriesLog> {
        self.logs.get(source)?.get(&SeriesName::of_chart(series))
    }

    pub(crate) fn log_mut(&mut self, source: &str, series: &str) -> &mut SeriesLog {
        self.logs
            .entry(source.to_owned())
            .or_default()
            .entry(SeriesName::of_chart(series))
            .or_default()
    }
}

fn last_price_before(ohlcv: &RecordBatch, today: NaiveDate) -> Option<NaiveDate> {
    let days = ohlcv.column(0).as_primitive_opt::<Date32Type>()?;
    let close = ohlcv
        .column_by_name("close")
        .filter(|c| *c.data_type() == DataType::Float64)?;
    let close = close.as_primitive::<Float64Type>();
    days.iter()
        .zip(close)
        .filter_map(|(day, close)| close.and(crate::source::day_of_epoch(day?)))
        .filter(|day| *day < today)
        .max()
}
