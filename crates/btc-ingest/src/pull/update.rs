//! What a pull changes, as it comes together.

use crate::blockchain::BLOCKCHAIN;
use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::fetched::{Answer, Fetched, Part};
use crate::report::{PullReport, SeriesReport, SeriesStatus, SkippedSource};
use crate::source::{DailySeries, DayValue, Source, SourceError, from_batch};
use crate::store::{AnswerRecord, Commit, Manifest, SeriesRecord, Writer};
use crate::validate;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What came from one source.
#[derive(Debug)]
pub(super) struct Came {
    source: String,
    /// The charts that have a column because of it.
    pub(super) charts: Vec<String>,
    fetched: Fetched,
}

impl Came {
    pub(super) fn new(source: &dyn Source, fetched: Fetched) -> Self {
        Self {
            source: source.name().to_owned(),
            charts: super::charts_of(source),
            fetched,
        }
    }
}

/// Up to which days values are taken.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The first day whose values are left out, for it is not over.
    pub(super) first_running: NaiveDate,
    /// The first day that no value can be of.
    pub(super) first_future: NaiveDate,
}

/// What a pull changes.
#[derive(Debug)]
pub(super) struct Update {
    now: DateTime<Utc>,
    series: Vec<SeriesReport>,
    records: BTreeMap<String, SeriesRecord>,
    answers: Vec<AnswerRecord>,
    rejected: BTreeMap<String, Vec<Rejected>>,
    pub(super) skipped: Vec<SkippedSource>,
    /// Warnings that no event has told of yet.
    pub(super) warnings: Vec<String>,
    told: Vec<String>,
}

impl Update {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            series: Vec::new(),
            records: BTreeMap::new(),
            answers: Vec::new(),
            rejected: BTreeMap::new(),
            skipped: Vec::new(),
            warnings: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Merges what a source gave into what is stored.
    pub(super) fn take(&mut self, came: Came, store: &mut Writer, bounds: &Bounds) -> Result<()> {
        let source = came.source;
        self.warnings.extend(came.fetched.notes);
        // Prices of one day are judged together, whatever parts they came in.
        let mut ready: Vec<(SeriesReport, Part, Vec<DailySeries>)> = Vec::new();
        let mut failed = Vec::new();
        for mut part in came.fetched.parts {
            let report = SeriesReport {
                source: source.clone(),
                series: part.name.clone(),
                averaged_days: part.averaged_days,
                unordered_points: part.unordered_points,
                ..SeriesReport::default()
            };
            let none = SourceError::from("taken");
            match std::mem::replace(&mut part.values, Err(none)) {
                Ok(batch) => ready.push((report, part, from_batch(&source, &batch)?)),
                Err(error) => failed.push((report, Error::source(&source, error))),
            }
        }
        set_aside_unfit(bounds.first_future, &mut ready);
        for (mut report, part, mut series) in ready {
            for one in &mut series {
                let before = one.values.len();
                one.values.retain(|(day, _)| *day < bounds.first_running);
                report.running_days = report.running_days.max(before - one.values.len());
                let name = format!("{source}/{}", one.name);
                let shown = shown(&source, &part.name);
                self.warn_of_new_unit(&shown, &name, part.unit.as_deref(), store);
                let record = SeriesRecord::fetched(part.unit.clone(), self.now);
                self.records.insert(name, record);
            }
            let name = format!("{source}/{}", part.name);
            if self.store(store, report, &series) > 0 {
                let records = part.answers.iter();
                self.answers
                    .extend(records.map(|answer| answer.record(&name, self.now)));
            }
            self.rejected
                .entry(source.clone())
                .or_default()
                .extend(part.rejected);
        }
        for (report, error) in failed {
            self.leave_out(report, &error, store);
        }
        Ok(())
    }

    fn leave_out(&mut self, mut report: SeriesReport, error: &Error, store: &Writer) {
        report.status = match error.is_missing() {
            true => SeriesStatus::Missing,
            false => SeriesStatus::Failed,
        };
        let days = days_of(store, &report.source, [report.series.as_str()]);
        fill(&mut report, &days);
        let kept = match report.rows {
            0 => "its column is empty",
            _ => "what was stored before stays",
        };
        self.told.push(format!(
            "{} is left out: {}; {kept}",
            shown(&report.source, &report.series),
            error.with_causes()
        ));
        self.series.push(report);
    }

    fn warn_of_new_unit(&mut self, shown: &str, name: &str, unit: Option<&str>, store: &Writer) {
        let manifest = store.manifest();
        let known = manifest.and_then(|manifest| manifest.series.get(name)?.unit.as_deref());
        if let (Some(known), Some(unit)) = (known, unit)
            && known != unit
        {
            self.warnings.push(format!(
                "the unit of {shown} was {known:?} and is {unit:?} now; check its values"
            ));
        }
    }

    /// Merges the values of a part and adds it to the report; returns the number of changes.
    pub(super) fn store(
        &mut self,
        store: &mut Writer,
        mut report: SeriesReport,
        series: &[DailySeries],
    ) -> usize {
        for one in series {
            let log = store.log_mut(&report.source, one.name.as_str());
            let merged = log.merge(&one.values, self.now);
            // One line of the report stands for all columns of a part.
            report.new_rows = report.new_rows.max(merged.new);
            report.changed_rows = report.changed_rows.max(merged.changed);
        }
        let changes = report.new_rows + report.changed_rows;
        if changes > 0 {
            report.status = SeriesStatus::Updated;
        }
        let names = series.iter().map(|one| one.name.as_str());
        let days = days_of(store, &report.source, names);
        fill(&mut report, &days);
        self.series.push(report);
        changes
    }

    /// Adds what was stored otherwise to the report.
    pub(super) fn add(&mut self, report: SeriesReport) {
        self.series.push(report);
    }

    /// Adds what was set aside of a source.
    pub(super) fn reject(&mut self, source: &str, rejected: Vec<Rejected>) {
        self.rejected
            .entry(source.to_owned())
            .or_default()
            .extend(rejected);
    }

    /// Looks at what is stored now, and warns of what is odd.
    pub(super) fn check(&mut self, store: &Writer) {
        self.warnings.extend(validate::check(&store.logs));
        for (source, rejected) in self.rejected.iter().filter(|(_, list)| !list.is_empty()) {
            self.warnings.push(format!(
                "values set aside in raw/{source}/{}: {}",
                crate::quarantine::FILE,
                validate::count_reasons(rejected)
            ));
        }
    }

    /// What is to be stored and what is to be said; the store fills in the rest.
    pub(super) fn finish(
        mut self,
        market: String,
        charts: Vec<String>,
        today: NaiveDate,
    ) -> (Commit, PullReport) {
        self.told.append(&mut self.warnings);
        let report = PullReport {
            data_dir: PathBuf::new(),
            synthetic: false,
            now: self.now,
            today,
            last_complete_day: None,
            series: self.series,
            skipped: self.skipped,
            warnings: self.told,
            data_hash: String::new(),
        };
        let commit = Commit {
            synthetic: false,
            market,
            charts,
            now: self.now,
            today,
            series: self.records,
            answers: self.answers,
            rejected: self.rejected,
        };
        (commit, report)
    }
}

impl SeriesRecord {
    fn fetched(unit: Option<String>, now: DateTime<Utc>) -> Self {
        Self {
            unit,
            fetched: Some(now),
            ..Self::default()
        }
    }
}

impl Answer {
    fn record(&self, series: &str, fetched: DateTime<Utc>) -> AnswerRecord {
        AnswerRecord {
            series: series.to_owned(),
            url: self.url.clone(),
            sha256: self.sha256.clone(),
            bytes: self.bytes as u64,
            fetched,
        }
    }
}

/// A part as people call it.
fn shown(source: &str, part: &str) -> String {
    match source {
        BLOCKCHAIN => format!("chart {part}"),
        _ => format!("{source}/{part}"),
    }
}

/// The days on which any of the series has a value.
fn days_of<'a>(
    store: &Writer,
    source: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<NaiveDate> {
    let logs = names.into_iter().filter_map(|name| store.log(source, name));
    logs.flat_map(|log| log.latest().map(|(day, _): DayValue| day))
        .collect()
}

impl PullReport {
    pub(super) fn complete(mut self, data_dir: &Path, manifest: &Manifest) -> Self {
        self.data_dir = data_dir.to_owned();
        self.last_complete_day = manifest.last_complete_day;
        self.data_hash.clone_from(&manifest.data_hash);
        self
    }
}

fn fill(report: &mut SeriesReport, days: &BTreeSet<NaiveDate>) {
    report.rows = days.len();
    (report.first, report.last) = (days.first().copied(), days.last().copied());
    if let (Some(first), Some(last)) = (report.first, report.last) {
        let span = usize::try_from((last - first).num_days()).unwrap_or_default() + 1;
        report.missing_days = span.saturating_sub(report.rows);
    }
}

/// Moves values that are not fit for use to the rejected ones of their parts.
fn set_aside_unfit(first_future: NaiveDate, ready: &mut [(SeriesReport, Part, Vec<DailySeries>)]) {
    let counts: Vec<usize> = ready.iter().map(|(_, _, series)| series.len()).collect();
    let mut all: Vec<DailySeries> = Vec::new();
    for (_, _, series) in ready.iter_mut() {
        all.append(series);
    }
    let rejected = validate::set_aside_unfit(&mut all, first_future);
    let mut all = all.into_iter();
    for ((report, part, series), count) in ready.iter_mut().zip(counts) {
        series.extend(all.by_ref().take(count));
        let of_part = rejected
            .iter()
            .filter(|one| series.iter().any(|series| series.name == *one.series));
        part.rejected.extend(of_part.cloned());
        report.rejected = part.rejected.len();
    }
}
