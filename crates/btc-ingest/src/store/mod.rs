//! The data folder: raw values, processed tables and a manifest, as one state after another.

mod answers;
mod instants;
mod layout;
mod legacy;
mod log;
mod manifest;
mod parquet;
mod snapshot;
mod writer;

pub use answers::AnswerRecord;
pub use manifest::{Manifest, SeriesRecord, TableRecord};
pub use parquet::{read_parquet, write_parquet};
pub use snapshot::{Snapshot, rows_as_of};

pub(crate) use instants::{InstantRow, folder as instants_folder};
pub(crate) use log::{Logs, Revision, SeriesLog};
pub(crate) use parquet::{
    CREATED_TIMESTAMP, EVENT_TIMESTAMP, check_instant, is_storable, nanos, timestamp_type,
    timestamps,
};
pub(crate) use writer::{Commit, Writer};

use crate::error::{Error, Result};
use crate::status::DataStatus;
use crate::verify::{FileProblem, FileProblemKind, Verification};
use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(crate) const RAW: &str = "raw";
pub(crate) const PROCESSED: &str = "processed";

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

/// A folder of daily data.
///
/// ```
/// use btc_ingest::{DataFolder, Revisions, Table, pull_sample};
///
/// # let folder = tempfile::tempdir()?;
/// let data = DataFolder::new(folder.path());
/// let now = "2024-01-02T00:00:00Z".parse()?;
/// pull_sample(data.path(), 0, "2024-01-01".parse()?, 30, now)?;
///
/// // Several reads of one state, whatever is written beside.
/// let snapshot = data.snapshot()?;
/// let prices = snapshot.read(Table::Ohlcv, Revisions::Latest)?;
/// assert_eq!(prices.num_rows(), 30);
/// assert!(snapshot.manifest().synthetic);
///
/// assert_eq!(data.status(now)?.last_complete_day, Some("2024-01-01".parse()?));
/// assert!(data.verify()?.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A write appears whole: a reader sees the state before it or the state after it. What is read is
/// compared with the manifest, so that a changed file is an error rather than data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// The data folder at `path`; nothing is read or written yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the state that counts now and holds it.
    ///
    /// # Errors
    ///
    /// [`Error::NotPulled`] if there is no data; fails if the manifest cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::open(&self.path)?.ok_or_else(|| Error::NotPulled {
            path: self.path.clone(),
        })
    }

    /// Reads a processed table, by ascending day.
    ///
    /// # Errors
    ///
    /// As [`Self::snapshot`] and [`Snapshot::read`].
    pub fn read(&self, table: Table, revisions: Revisions) -> Result<RecordBatch> {
        self.snapshot()?.read(table, revisions)
    }

    /// Tells the range, the gaps and the freshness of every series, as of `now`.
    ///
    /// # Errors
    ///
    /// As [`Self::snapshot`]; fails if a file is not what the manifest says.
    pub fn status(&self, now: DateTime<Utc>) -> Result<DataStatus> {
        crate::status::of(&self.snapshot()?, now)
    }

    /// Compares every file with the manifest, byte for byte.
    ///
    /// # Errors
    ///
    /// Fails if there is no data, or a file cannot be read for another reason than being gone.
    pub fn verify(&self) -> Result<Verification> {
        verify_folder(self)
    }

    /// Opens it for writing; it is created if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if somebody else writes, [`Error::Changed`] if a file is not what the
    /// manifest says.
    pub(crate) fn writer(&self) -> Result<Writer> {
        Writer::open(&self.path)
    }
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
/// As [`DataFolder::read`].
pub fn read_table(
    data_dir: impl AsRef<Path>,
    table: Table,
    revisions: Revisions,
) -> Result<RecordBatch> {
    let data_dir = data_dir.as_ref();
    match DataFolder::new(data_dir).read(table, revisions) {
        // Which of the tables is missing is told also where there is none at all.
        Err(Error::NotPulled { .. }) => Err(Error::NotPulled {
            path: data_dir.join(table.folder()),
        }),
        outcome => outcome,
    }
}

/// Returns the last day that has a price and is over, or `None` if there is no data.
///
/// # Errors
///
/// Fails if the manifest cannot be read.
pub fn last_complete_day(data_dir: impl AsRef<Path>) -> Result<Option<NaiveDate>> {
    let snapshot = Snapshot::open(data_dir.as_ref())?;
    Ok(snapshot.and_then(|snapshot| snapshot.manifest().last_complete_day))
}

/// Returns the fingerprint of the processed tables: SHA-256 over their names and contents, as the
/// manifest has it. The same values have the same fingerprint, however their files are encoded.
///
/// # Errors
///
/// Fails if there is no data or the manifest cannot be read.
pub fn data_hash(data_dir: impl AsRef<Path>) -> Result<String> {
    let snapshot = DataFolder::new(data_dir.as_ref()).snapshot()?;
    Ok(snapshot.manifest().data_hash.clone())
}

fn verify_folder(folder: &DataFolder) -> Result<Verification> {
    let root = folder.path();
    // What a writer of version 1 left half done is told, not finished.
    let interrupted = legacy::is_pending(root);
    if interrupted {
        return Ok(Verification {
            checked: 0,
            problems: Vec::new(),
            interrupted,
        });
    }
    let snapshot = folder.snapshot()?;
    let manifest = snapshot.manifest();
    let mut problems = Vec::new();
    let mut problem = |path: &str, kind| {
        problems.push(FileProblem {
            path: path.to_owned(),
            kind,
        });
    };
    for (name, record) in &manifest.tables {
        let path = snapshot.path().join(name);
        match std::fs::read(&path) {
            Ok(bytes) if btc_files::sha256(&bytes) == record.sha256 => {
                let batch = parquet::from_bytes(&root.join(name), bytes.into())?;
                let content = parquet::content_hash(&batch)?;
                if record
                    .content
                    .as_ref()
                    .is_some_and(|known| *known != content)
                {
                    problem(name, FileProblemKind::WrongHash);
                }
            }
            Ok(_) => problem(name, FileProblemKind::Changed),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                problem(name, FileProblemKind::Missing);
            }
            Err(error) => return Err(Error::read(&root.join(name), error)),
        }
    }
    for name in layout::files_below(snapshot.path())? {
        if !manifest.tables.contains_key(&name) {
            problem(&name, FileProblemKind::Unknown);
        }
    }
    if !manifest.is_consistent() || !layout::has_its_name(snapshot.place(), snapshot.text()) {
        problem(manifest::MANIFEST, FileProblemKind::WrongHash);
    }
    for name in layout::wrong_links(root, snapshot.place()) {
        problem(name, FileProblemKind::NotTheLink);
    }
    Ok(Verification {
        checked: manifest.tables.len(),
        problems,
        interrupted,
    })
}
