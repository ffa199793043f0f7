//! What a pull changes, as it comes together.

use super::fetch::Answers;
use crate::alpha_vantage::{ALPHA_VANTAGE, DailyPrices};
use crate::blockchain::{BLOCKCHAIN, BodyOrigin, ChartDays};
use crate::clean::Rejected;
use crate::error::Error;
use crate::report::{PullConfig, PullReport, SeriesReport, SeriesStatus, SkippedSource};
use crate::series::SeriesName;
use crate::source::{DailySeries, DayValue};
use crate::store::{AnswerRecord, Commit, Manifest, SeriesRecord, Writer};
use crate::validate;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a pull changes.
#[derive(Debug)]
pub(super) struct Update {
    now: DateTime<Utc>,
    series: Vec<SeriesReport>,
    records: BTreeMap<String, SeriesRecord>,
    answers: Vec<AnswerRecord>,
    rejected: BTreeMap<String, Vec<Rejected>>,
    skipped: Vec<SkippedSource>,
    /// Warnings of which no event has told yet.
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

    pub(super) fn skip(&mut self, source: SkippedSource) {
        self.skipped.push(source);
    }

    /// Merges what the services said into the store.
    pub(super) fn take(
        &mut self,
        answers: Answers,
        store: &mut Writer,
        config: &PullConfig,
        first_running: NaiveDate,
    ) {
        if let Some((prices, body)) = answers.prices {
            self.take_prices(prices, body, store, config, first_running);
        }
        for (chart, outcome) in answers.charts {
            match outcome {
                Ok(days) => self.take_chart(&chart, days, store, first_running),
                Err(error) => self.leave_out(&chart, &error, store),
            }
        }
        self.check(store);
    }

    fn take_prices(
        &mut self,
        mut prices: DailyPrices,
        body: BodyOrigin,
        store: &mut Writer,
        config: &PullConfig,
        first_running: NaiveDate,
    ) {
        prices.set_aside_later_than_refreshed();
        prices.set_aside_later_than(self.now.date_naive());
        if prices.dead_market_caps > 0 {
            self.warnings.push(format!(
                "Alpha Vantage's market capitalisation equals the volume on {} days; the column \
                 is not used",
                prices.dead_market_caps
            ));
        }
        if prices.duplicates > 0 {
            let problem = format!(
                "Alpha Vantage gave {} days more than once; the first one counts",
                prices.duplicates
            );
            self.warnings.push(problem);
        }
        let bars = prices.bars.len();
        prices.bars.retain(|bar| bar.date < first_running);
        let mut report = SeriesReport {
            source: ALPHA_VANTAGE.to_owned(),
            series: format!("BTC-{}", config.market),
            running_days: bars - prices.bars.len(),
            rejected: prices.rejected.len(),
            ..SeriesReport::default()
        };
        for DailySeries { name, values } in prices.series() {
            let merged = store
                .log_mut(ALPHA_VANTAGE, name.as_str())
                .merge(&values, self.now);
            // One row of the report stands for five columns.
            report.new_rows = report.new_rows.max(merged.new);
            report.changed_rows = report.changed_rows.max(merged.changed);
            let record = self.record(None);
            self.records
                .insert(format!("{ALPHA_VANTAGE}/{name}"), record);
        }
        fill(
            &mut report,
            store.log(ALPHA_VANTAGE, "close").map(|log| log.latest()),
        );
        if report.new_rows + report.changed_rows > 0 {
            report.status = SeriesStatus::Updated;
            let series = format!("{ALPHA_VANTAGE}/{}", report.series);
            self.answers.push(body.record(&series, self.now));
        }
        self.series.push(report);
        self.reject(ALPHA_VANTAGE, prices.rejected);
    }

    fn take_chart(
        &mut self,
        chart: &str,
        mut days: ChartDays,
        store: &mut Writer,
        first_running: NaiveDate,
    ) {
        days.set_aside_later_than(self.now.date_naive(), chart);
        let total = days.values.len();
        days.values.retain(|(day, _)| *day < first_running);
        let report = SeriesReport {
            source: BLOCKCHAIN.to_owned(),
            series: chart.to_owned(),
            running_days: total - days.values.len(),
            averaged_days: days.averaged,
            unordered_points: days.unordered,
            rejected: days.rejected.len(),
            ..SeriesReport::default()
        };
        let name = format!("{BLOCKCHAIN}/{}", SeriesName::of_chart(chart));
        self.warn_of_new_unit(chart, &name, days.unit.as_deref(), store);
        let record = self.record(days.unit);
        self.records.insert(name, record);
        if self.store(store, report, &days.values) > 0 {
            let series = format!("{BLOCKCHAIN}/{chart}");
            self.answers.extend(
                days.bodies
                    .iter()
                    .map(|body| body.record(&series, self.now)),
            );
        }
        self.reject(BLOCKCHAIN, days.rejected);
    }

    fn leave_out(&mut self, chart: &str, error: &Error, store: &Writer) {
        let missing = matches!(
            error,
            Error::Status { status: 404, .. } | Error::NoData { .. }
        );
        let mut report = SeriesReport {
            source: BLOCKCHAIN.to_owned(),
            series: chart.to_owned(),
            status: if missing {
                SeriesStatus::Missing
            } else {
                SeriesStatus::Failed
            },
            ..SeriesReport::default()
        };
        fill(
            &mut report,
            store.log(BLOCKCHAIN, chart).map(|log| log.latest()),
        );
        let kept = match report.rows {
            0 => "its column is empty",
            _ => "what was stored before stays",
        };
        self.told
            .push(format!("chart {chart} is left out: {error}; {kept}"));
        self.series.push(report);
    }

    fn warn_of_new_unit(&mut self, chart: &str, name: &str, unit: Option<&str>, store: &Writer) {
        let manifest = store.manifest();
        let known = manifest.and_then(|manifest| manifest.series.get(name)?.unit.as_deref());
        if let (Some(known), Some(unit)) = (known, unit)
            && known != unit
        {
            self.warnings.push(format!(
                "the unit of chart {chart} was {known:?} and is {unit:?} now; check its values"
            ));
        }
    }

    /// Merges the values of one series and adds it to the report; returns the number of changes.
    pub(super) fn store(
        &mut self,
        store: &mut Writer,
        mut report: SeriesReport,
        values: &[DayValue],
    ) -> usize {
        let log = store.log_mut(&report.source, &report.series);
        let merged = log.merge(values, self.now);
        (report.new_rows, report.changed_rows) = (merged.new, merged.changed);
        let changes = merged.new + merged.changed;
        if changes > 0 {
            report.status = SeriesStatus::Updated;
        }
        fill(&mut report, Some(log.latest()));
        self.series.push(report);
        changes
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

    pub(super) fn reject(&mut self, source: &str, rejected: Vec<Rejected>) {
        self.rejected
            .entry(source.to_owned())
            .or_default()
            .extend(rejected);
    }

    fn record(&self, unit: Option<String>) -> SeriesRecord {
        SeriesRecord {
            unit,
            fetched: Some(self.now),
            ..SeriesRecord::default()
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

impl BodyOrigin {
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

impl PullReport {
    pub(super) fn complete(mut self, data_dir: &Path, manifest: &Manifest) -> Self {
        self.data_dir = data_dir.to_owned();
        self.last_complete_day = manifest.last_complete_day;
        self.data_hash.clone_from(&manifest.data_hash);
        self
    }
}

fn fill(report: &mut SeriesReport, latest: Option<impl Iterator<Item = DayValue>>) {
    for (day, _) in latest.into_iter().flatten() {
        report.rows += 1;
        report.first.get_or_insert(day);
        report.last = Some(day);
    }
    if let (Some(first), Some(last)) = (report.first, report.last) {
        let span = usize::try_from((last - first).num_days()).unwrap_or_default() + 1;
        report.missing_days = span.saturating_sub(report.rows);
    }
}
