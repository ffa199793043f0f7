//! Writing the next state of a data folder.

use super::answers::{self, AnswerRecord};
use super::instants::{self, InstantTable};
use super::layout::{self, Draft};
use super::log::{Logs, SeriesLog};
use super::manifest::{FORMAT_VERSION, MANIFEST, Manifest, SeriesRecord, TableRecord};
use super::parquet::{self, content_hash};
use super::snapshot::Snapshot;
use super::{RAW, Table};
use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::series::SeriesName;
use crate::{quarantine, tables};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use btc_files::{Lock, sha256};
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A data folder, held against other writers.
#[derive(Debug)]
pub(crate) struct Writer {
    root: PathBuf,
    /// The state that is there.
    before: Option<Snapshot>,
    pub(crate) logs: Logs,
    /// Tables of values at instants that this state changes, by source.
    instants: BTreeMap<String, InstantTable>,
    _lock: Lock,
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
    pub(crate) answers: Vec<AnswerRecord>,
    /// By source.
    pub(crate) rejected: BTreeMap<String, Vec<Rejected>>,
}

impl Writer {
    /// Opens a data folder for writing, and creates it if there is none.
    ///
    /// Everything that the next state is made of is compared with the manifest: what somebody
    /// else has changed is not taken for data.
    pub(super) fn open(root: &Path) -> Result<Self> {
        btc_files::create_dirs(root).map_err(|source| Error::write(root, source))?;
        let lock = layout::lock(root)?;
        layout::prepare(root)?;
        let before = Snapshot::open(root)?;
        let logs = match &before {
            Some(before) if !layout::has_its_name(before.place(), before.text()) => {
                return Err(Error::Changed {
                    path: root.join(MANIFEST),
                });
            }
            Some(before) => before.logs()?,
            None => Logs::new(),
        };
        Ok(Self {
            root: root.to_owned(),
            before,
            logs,
            instants: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// The manifest of the state that is there.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.before.as_ref().map(Snapshot::manifest)
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

    /// The values of a source at instants, to be changed.
    pub(crate) fn instants_mut(&mut self, source: &str) -> Result<&mut InstantTable> {
        let table = match self.instants.remove(source) {
            Some(table) => table,
            None => match &self.before {
                Some(before) => before.instants(source)?,
                None => InstantTable::default(),
            },
        };
        Ok(self.instants.entry(source.to_owned()).or_insert(table))
    }

    /// Writes all values and the tables made of them as the next state.
    pub(crate) fn commit(self, commit: Commit) -> Result<Manifest> {
        parquet::check_instant(commit.now)?;
        let old = self.before.as_ref().filter(|_| !commit.synthetic);
        let mut files = self.raw_files(&commit, old)?;
        let ohlcv = tables::ohlcv(&self.logs, &commit.market)?;
        let blockchain = tables::blockchain(&self.logs, &commit.charts)?;
        let last_complete_day = last_price_before(&ohlcv, commit.today);
        for (table, batch) in [(Table::Ohlcv, ohlcv), (Table::Blockchain, blockchain)] {
            for (year, part) in parquet::by_year(&batch)? {
                let path = format!("{}/{year}.parquet", table.folder());
                files.insert(path, (part, "all".to_owned()));
            }
        }
        for (source, table) in &self.instants {
            for (year, part) in table.to_batches()? {
                let path = format!("{}/{year}.parquet", instants::folder(source));
                files.insert(path, (part, source.clone()));
            }
        }

        let base = match &self.before {
            Some(before) => before.place().clone(),
            None => layout::current(&self.root)?,
        };
        let mut draft = Draft::begin(&self.root, base)?;
        let mut tables = BTreeMap::new();
        for (path, (batch, source)) in files {
            let content = content_hash(&batch)?;
            // What says the same stays the same file, whatever would write it now.
            if let Some(record) = old.and_then(|old| old.manifest().tables.get(&path))
                && record.content.as_ref() == Some(&content)
                && old.is_some_and(|old| old.is_intact(&path))
            {
                draft.keep(&path)?;
                tables.insert(path, record.clone());
                continue;
            }
            let metadata = [
                ("source", source),
                ("synthetic", commit.synthetic.to_string()),
            ];
            let bytes = parquet::to_bytes(&self.root.join(&path), &batch, &metadata)?;
            draft.write(&path, &bytes)?;
            let record = TableRecord {
                sha256: sha256(&bytes),
                bytes: bytes.len() as u64,
                rows: batch.num_rows(),
                content: Some(content),
            };
            tables.insert(path, record);
        }
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for (path, record) in self.manifest().into_iter().flat_map(|m| &m.tables) {
            known.insert(path);
            // What was set aside once and where values came from stays, and values at instants
            // that get nothing new.
            let stays = path.ends_with(quarantine::FILE)
                || answers::is_table(path)
                || instants::source_of(path).is_some();
            if stays && old.is_some() && !tables.contains_key(path) {
                draft.keep(path)?;
                tables.insert(path.clone(), record.clone());
            }
        }
        draft.keep_unknown(|path| known.contains(path))?;
        let manifest = self.describe(commit, tables, last_complete_day);
        draft.publish(&manifest.to_bytes(&self.root.join(MANIFEST))?)?;
        Ok(manifest)
    }

    /// The tables below `raw` with the source that each belongs to; those that get nothing new
    /// are left out, but for the values.
    fn raw_files(
        &self,
        commit: &Commit,
        old: Option<&Snapshot>,
    ) -> Result<BTreeMap<String, (RecordBatch, String)>> {
        let mut files = BTreeMap::new();
        for (source, series) in &self.logs {
            for (year, table) in parquet::raw_tables(series)? {
                files.insert(
                    format!("{RAW}/{source}/{year}.parquet"),
                    (table, source.clone()),
                );
            }
        }
        for (source, rejected) in &commit.rejected {
            let rows = match old {
                Some(old) => old.quarantined(source)?,
                None => quarantine::Rows::new(),
            };
            if let Some(table) = quarantine::merged(rows, rejected, commit.now)? {
                let path = format!("{RAW}/{source}/{}", quarantine::FILE);
                files.insert(path, (table, source.clone()));
            }
        }
        let mut new: BTreeMap<String, Vec<AnswerRecord>> = BTreeMap::new();
        let from_before = match old {
            Some(old) => old.old_answers()?,
            None => Vec::new(),
        };
        for answer in from_before
            .into_iter()
            .chain(commit.answers.iter().cloned())
        {
            new.entry(answer.table()).or_default().push(answer);
        }
        for (path, answers) in new {
            let mut all = match old {
                Some(old) if old.manifest().tables.contains_key(&path) => {
                    answers::from_batch(&self.root.join(&path), &old.table(&path)?)?
                }
                _ => Vec::new(),
            };
            all.extend(answers);
            let source = path.split('/').nth(1).unwrap_or_default().to_owned();
            files.insert(path, (answers::to_batch(&all)?, source));
        }
        Ok(files)
    }

    fn describe(
        &self,
        commit: Commit,
        tables: BTreeMap<String, TableRecord>,
        last_complete_day: Option<NaiveDate>,
    ) -> Manifest {
        let old = self.manifest().filter(|_| !commit.synthetic);
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
        Manifest {
            format_version: FORMAT_VERSION,
            synthetic: commit.synthetic,
            market: commit.market,
            charts: commit.charts,
            updated: commit.now,
            last_complete_day,
            data_hash: Manifest::hash_of(&tables, FORMAT_VERSION),
            series,
            tables,
        }
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
