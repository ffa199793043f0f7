//! Reading one state of a data folder.

use super::answers::{self, AnswerRecord};
use super::instants::{self, InstantTable};
use super::layout::{self, Held, Place};
use super::log::{Logs, Revision, SeriesLog};
use super::manifest::{MANIFEST, Manifest};
use super::parquet::{
    CREATED_TIMESTAMP, EVENT_TIMESTAMP, from_bytes, nanos, read_revisions, timestamp_type,
};
use super::{RAW, Revisions, Table};
use crate::error::{Error, Result};
use crate::misdated::Misdated;
use crate::quarantine;
use crate::series::SeriesName;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampNanosecondType;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One state of a data folder, which no later write changes. It stays on the disk as long as this
/// value lives.
///
/// Every file that is read is compared with the manifest.
#[derive(Debug)]
pub struct Snapshot {
    root: PathBuf,
    held: Held,
    manifest: Manifest,
    text: Vec<u8>,
}

impl Snapshot {
    /// Opens the state that counts now; `None` if there is no data.
    pub(super) fn open(root: &Path) -> Result<Option<Self>> {
        let held = layout::hold(root)?;
        let Some((manifest, text)) = Manifest::read(held.place.path())? else {
            return match &held.place {
                Place::Snapshot(path) => Err(Error::invalid(path, "it has no manifest")),
                Place::Plain(_) => Ok(None),
            };
        };
        Ok(Some(Self {
            root: root.to_owned(),
            held,
            manifest,
            text,
        }))
    }

    /// What this state holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder of this state, with the same `raw` and `processed` as the data folder: for
    /// readers that want files. It is there as long as the snapshot is held.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.held.place.path()
    }

    /// Reads a processed table, by ascending day.
    ///
    /// # Errors
    ///
    /// [`Error::NotPulled`] if there is no such table yet, [`Error::Changed`] if a file is not
    /// what the manifest says.
    pub fn read(&self, table: Table, revisions: Revisions) -> Result<RecordBatch> {
        let folder = self.root.join(table.folder());
        let prefix = format!("{}/", table.folder());
        let names = self.manifest.tables.keys();
        let batches: Vec<RecordBatch> = names
            .filter(|name| name.starts_with(&prefix))
            .map(|name| self.table(name))
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

    /// The stretches of days in which two sources of one quantity are a day apart.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn misdated(&self) -> Result<Vec<Misdated>> {
        Ok(crate::misdated::find(&self.logs()?))
    }

    /// The answers that brought new or changed values, in the order of fetching.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn answers(&self) -> Result<Vec<AnswerRecord>> {
        let mut all = self.old_answers()?;
        for name in self.manifest.tables.keys().filter(|n| answers::is_table(n)) {
            all.extend(answers::from_batch(
                &self.root.join(name),
                &self.table(name)?,
            )?);
        }
        all.sort_by(|a, b| (a.fetched, &a.series).cmp(&(b.fetched, &b.series)));
        Ok(all)
    }

    /// Those that a manifest of version 1 holds itself.
    pub(super) fn old_answers(&self) -> Result<Vec<AnswerRecord>> {
        #[derive(serde::Deserialize)]
        struct Version1 {
            #[serde(default)]
            bodies: Vec<AnswerRecord>,
        }
        let parsed: Version1 = serde_json::from_slice(&self.text)
            .map_err(|problem| Error::invalid(&self.root.join(MANIFEST), problem.to_string()))?;
        Ok(parsed.bodies)
    }

    /// All raw values.
    pub(crate) fn logs(&self) -> Result<Logs> {
        let mut revisions: BTreeMap<String, BTreeMap<SeriesName, Vec<Revision>>> = BTreeMap::new();
        for name in self.manifest.tables.keys() {
            if let Some(source) = source_of_year(name) {
                let of_source = revisions.entry(source.to_owned()).or_default();
                read_revisions(&self.root.join(name), &self.table(name)?, of_source)?;
            }
        }
        let log = |(name, rows)| (name, SeriesLog::from_revisions(rows));
        Ok(revisions
            .into_iter()
            .map(|(source, series)| (source, series.into_iter().map(log).collect()))
            .collect())
    }

    /// The values of a source at instants; none if it has no such.
    pub(crate) fn instants(&self, source: &str) -> Result<InstantTable> {
        let names = self.manifest.tables.keys();
        let batches: Vec<RecordBatch> = names
            .filter(|name| instants::source_of(name) == Some(source))
            .map(|name| self.table(name))
            .collect::<Result<_>>()?;
        InstantTable::from_batches(&self.root.join(instants::folder(source)), &batches)
    }

    /// The sources with values at instants.
    pub(crate) fn sources_of_instants(&self) -> BTreeSet<&str> {
        let names = self.manifest.tables.keys();
        names.filter_map(|name| instants::source_of(name)).collect()
    }

    /// The values of a source that were set aside.
    pub(crate) fn quarantined(&self, source: &str) -> Result<quarantine::Rows> {
        let name = format!("{RAW}/{source}/{}", quarantine::FILE);
        if self.manifest.tables.contains_key(&name) {
            quarantine::from_batch(&self.root.join(&name), &self.table(&name)?)
        } else {
            Ok(quarantine::Rows::new())
        }
    }

    /// The sources that have set values aside.
    pub(crate) fn sources_with_quarantine(&self) -> impl Iterator<Item = &str> {
        self.manifest.tables.keys().filter_map(|name| {
            let below = name.strip_prefix(RAW)?.strip_prefix('/')?;
            below.strip_suffix(quarantine::FILE)?.strip_suffix('/')
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.held.place
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The table `name`, if its file is what the manifest says.
    pub(super) fn table(&self, name: &str) -> Result<RecordBatch> {
        let shown = self.root.join(name);
        let bytes = std::fs::read(self.path().join(name));
        let bytes = bytes.map_err(|source| Error::read(&shown, source))?;
        let record = self.manifest.tables.get(name);
        if record.is_none_or(|record| record.sha256 != btc_files::sha256(&bytes)) {
            return Err(Error::Changed { path: shown });
        }
        from_bytes(&shown, bytes.into())
    }

    /// Whether the file of a table is what the manifest says.
    pub(super) fn is_intact(&self, name: &str) -> bool {
        let record = self.manifest.tables.get(name);
        std::fs::read(self.path().join(name)).is_ok_and(|bytes| {
            record.is_some_and(|record| record.sha256 == btc_files::sha256(&bytes))
        })
    }
}

/// The source of a table with the raw values of one year.
fn source_of_year(name: &str) -> Option<&str> {
    let (source, file) = name.strip_prefix(RAW)?.strip_prefix('/')?.split_once('/')?;
    let year = file.strip_suffix(".parquet")?;
    (!year.is_empty() && year.chars().all(|c| c.is_ascii_digit())).then_some(source)
}

/// Returns one row per day of a table that was read with [`Revisions::All`], as it was known at
/// `instant`: what a read of [`Revisions::AsOf`] returns, without reading again.
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
