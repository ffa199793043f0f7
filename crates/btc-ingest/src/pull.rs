//! Bringing a data folder up to date.

mod fetch;

use crate::alpha_vantage::{ALPHA_VANTAGE, AlphaVantage};
use crate::blockchain::{BLOCKCHAIN, BlockchainCharts};
use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressEvent};
use crate::report::{PullConfig, PullReport, SeriesReport, SeriesStatus, SkippedSource};
use crate::source::{DailySeries, DayValue, snake};
use crate::store::{BodyRecord, Commit, Manifest, SeriesRecord, Store};
use crate::synthetic::{SYNTHETIC, Synthetic};
use chrono::{DateTime, Days, NaiveDate, Utc};
use fetch::{Answers, fetch_all};
use std::collections::BTreeMap;
use std::path::Path;

/// Brings a data folder up to date: fetches what is new, checks it, and stores it.
///
/// The first pull asks each series for its whole history. Later ones ask for what is new and for
/// the last `recheck_days` again; a value that has changed is kept as a new row with its own
/// `created_timestamp`. Rows of a day that is not over are left out, where *today* is the earlier
/// of the clock's UTC day and the day of Alpha Vantage's last refresh; without Alpha Vantage, the
/// newest time stamp of any chart takes the latter's place, for a service that has not yet seen
/// a day begin cannot know how the one before ended.
///
/// A chart that the service does not have is left out with a warning. One that fails otherwise is
/// left as it is stored, with a warning.
///
/// All files change together or not at all, also if the process is killed.
///
/// ```no_run
/// use btc_ingest::{ApiKey, PullConfig, pull};
///
/// # async fn run() -> btc_ingest::Result<()> {
/// let mut config = PullConfig::new("data", chrono::Utc::now());
/// config.api_key = ApiKey::new("my key");
/// let report = pull(&config, &()).await?;
/// println!("complete up to {:?}", report.last_complete_day);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Fails if a whole service fails, refuses the key or has none of the charts, for which
/// [`Error::is_upstream`] holds; if another process is changing the folder; if it holds made-up
/// data or prices in another currency; or if it cannot be written to. The stored data is then as
/// it was.
pub async fn pull(config: &PullConfig, progress: &dyn Progress) -> Result<PullReport> {
    let charts = BlockchainCharts::new(&config.blockchain_url, &config.charts, &config.http)?;
    let alpha_vantage = alpha_vantage(config)?;
    let dir = config.data_dir.clone();
    let mut store = blocking(move || Store::open(&dir)).await?;
    check_kind(&store, config)?;

    let answers = fetch_all(config, alpha_vantage.as_ref(), &charts, &store, progress).await?;
    let mut update = Update::new(config.now);
    if alpha_vantage.is_none() {
        let skipped = SkippedSource {
            source: ALPHA_VANTAGE.to_owned(),
            reason: "there is no API key".to_owned(),
            hint: "closing prices come from blockchain.com's market-price chart; for open, high, \
                   low and volume get a free key at https://www.alphavantage.co/support/#api-key"
                .to_owned(),
        };
        progress.event(&ProgressEvent::Skipped {
            series: ALPHA_VANTAGE.to_owned(),
            why: format!("{}; {}", skipped.reason, skipped.hint),
        });
        update.skipped.push(skipped);
    }
    let today = answers.today;
    let first_running = if config.include_running_day {
        today + Days::new(1)
    } else {
        today
    };
    update.take(answers, &mut store, config, first_running);
    for message in &update.warnings {
        progress.event(&ProgressEvent::Warning {
            message: message.clone(),
        });
    }
    let mut known = store
        .manifest
        .as_ref()
        .map(|m| m.charts.clone())
        .unwrap_or_default();
    for chart in charts.charts() {
        if !known.contains(chart) {
            known.push(chart.clone());
        }
    }
    let (commit, report) = update.finish(config.market.clone(), known, today);
    let manifest = blocking(move || store.commit(commit)).await?;
    let mut report = report.complete(&config.data_dir, &manifest);
    if manifest.last_complete_day.is_none() {
        let message = "no price could be stored: neither Alpha Vantage nor the chart market-price \
                       gave one"
            .to_owned();
        progress.event(&ProgressEvent::Warning {
            message: message.clone(),
        });
        report.warnings.push(message);
    }
    Ok(report)
}

/// Stores a made-up market in place of a real one: `days` days, the last of them `last_day`.
///
/// It takes the same way as real data, and is marked as synthetic in the manifest, in every file
/// and in the column `price_source`. A folder that holds a sample gets the new one in its place.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let report = btc_ingest::pull_sample(
///     folder.path(),
///     7,
///     "2024-01-01".parse()?,
///     btc_ingest::SAMPLE_DAYS,
///     "2024-01-02T06:00:00Z".parse()?,
/// )?;
/// assert!(report.synthetic);
/// assert_eq!(report.last_complete_day, Some("2024-01-01".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if the folder holds real data or cannot be written to, or if there is no day to make up.
pub fn pull_sample(
    data_dir: &Path,
    seed: u64,
    last_day: NaiveDate,
    days: usize,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let before = (days as u64).checked_sub(1).map(Days::new);
    let first_day = before.and_then(|before| last_day.checked_sub_days(before));
    let first_day = first_day.ok_or_else(|| Error::config("a sample needs at least one day"))?;
    let series = Synthetic::new(seed, first_day).series(&(first_day..=last_day))?;
    let mut store = Store::open(data_dir)?;
    if store
        .manifest
        .as_ref()
        .is_some_and(|manifest| !manifest.synthetic)
    {
        return Err(Error::OtherData {
            path: data_dir.to_owned(),
            problem: "holds real data; choose another folder for the sample".to_owned(),
        });
    }
    store.logs.clear();
    let mut update = Update::new(now);
    for DailySeries { name, values } in series {
        let report = SeriesReport {
            source: SYNTHETIC.to_owned(),
            series: name,
            ..SeriesReport::default()
        };
        update.store(&mut store, report, &values);
    }
    let charts = crate::DEFAULT_CHARTS.map(str::to_owned).to_vec();
    let today = last_day.succ_opt().unwrap_or(NaiveDate::MAX);
    let (mut commit, mut report) = update.finish("USD".to_owned(), charts, today);
    (commit.synthetic, report.synthetic) = (true, true);
    let manifest = store.commit(commit)?;
    Ok(report.complete(data_dir, &manifest))
}

pub(crate) fn alpha_vantage(config: &PullConfig) -> Result<Option<AlphaVantage>> {
    let Some(key) = &config.api_key else {
        if config.market == "USD" {
            return Ok(None);
        }
        let problem = format!(
            "prices in {} come from Alpha Vantage only; set a key, or use USD",
            config.market
        );
        return Err(Error::config(problem));
    };
    AlphaVantage::new(
        &config.alpha_vantage_url,
        key.clone(),
        &config.market,
        &config.http,
    )
    .map(Some)
}

fn check_kind(store: &Store, config: &PullConfig) -> Result<()> {
    let Some(manifest) = &store.manifest else {
        return Ok(());
    };
    let problem = if manifest.synthetic {
        "holds a synthetic sample; choose another folder, or remove it".to_owned()
    } else if manifest.market != config.market {
        format!(
            "holds prices in {}, not in {}; choose another folder",
            manifest.market, config.market
        )
    } else {
        return Ok(());
    };
    Err(Error::OtherData {
        path: config.data_dir.clone(),
        problem,
    })
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::config(format!(
                "the runtime is shutting down: {error}"
            ))),
        },
    }
}

/// What a pull changes, as it comes together.
#[derive(Debug)]
struct Update {
    now: DateTime<Utc>,
    series: Vec<SeriesReport>,
    records: BTreeMap<String, SeriesRecord>,
    bodies: Vec<BodyRecord>,
    rejected: BTreeMap<String, Vec<Rejected>>,
    skipped: Vec<SkippedSource>,
    warnings: Vec<String>,
}

impl Update {
    fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            series: Vec::new(),
            records: BTreeMap::new(),
            bodies: Vec::new(),
            rejected: BTreeMap::new(),
            skipped: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn take(
        &mut self,
        answers: Answers,
        store: &mut Store,
        config: &PullConfig,
        first_running: NaiveDate,
    ) {
        let clock = config.now.date_naive();
        if let Some((mut prices, body)) = answers.prices {
            prices.set_aside_later_than_refreshed();
            prices.set_aside_later_than(clock);
            self.warn_of_dead_columns(&prices);
            let bars = prices.bars.len();
            prices.bars.retain(|bar| bar.date < first_running);
            let report = SeriesReport {
                source: ALPHA_VANTAGE.to_owned(),
                series: format!("BTC-{}", config.market),
                averaged_days: 0,
                running_days: bars - prices.bars.len(),
                rejected: prices.rejected.len(),
                ..SeriesReport::default()
            };
            self.take_prices(store, report, &prices.series(), body);
            self.reject(ALPHA_VANTAGE, prices.rejected);
        }
        for (chart, outcome) in answers.charts {
            let mut report = SeriesReport {
                source: BLOCKCHAIN.to_owned(),
                series: chart.clone(),
                ..SeriesReport::default()
            };
            match outcome {
                Ok(mut days) => {
                    days.set_aside_later_than(clock, &chart);
                    let total = days.values.len();
                    days.values.retain(|(day, _)| *day < first_running);
                    report.running_days = total - days.values.len();
                    report.averaged_days = days.averaged;
                    report.unordered_points = days.unordered;
                    report.rejected = days.rejected.len();
                    let name = format!("{BLOCKCHAIN}/{}", snake(&chart));
                    self.records.insert(name, self.record(days.unit.clone()));
                    let changes = self.store(store, report, &days.values);
                    if changes > 0 {
                        let series = format!("{BLOCKCHAIN}/{chart}");
                        self.bodies
                            .extend(days.bodies.iter().map(|body| BodyRecord {
                                series: series.clone(),
                                url: body.url.clone(),
                                sha256: body.sha256.clone(),
                                bytes: body.bytes,
                                fetched: self.now,
                            }));
                    }
                    self.reject(BLOCKCHAIN, days.rejected);
                }
                Err(error) => {
                    let missing = matches!(
                        error,
                        Error::Status { status: 404, .. } | Error::NoData { .. }
                    );
                    report.status = if missing {
                        SeriesStatus::Missing
                    } else {
                        SeriesStatus::Failed
                    };
                    fill(
                        &mut report,
                        store.log(BLOCKCHAIN, &chart).map(|log| log.latest()),
                    );
                    let kept = if report.rows == 0 {
                        "its column is empty".to_owned()
                    } else {
                        "what was stored before stays".to_owned()
                    };
                    self.warnings
                        .push(format!("chart {chart} is left out: {error}; {kept}"));
                    self.series.push(report);
                }
            }
        }
    }

    fn warn_of_dead_columns(&mut self, prices: &crate::alpha_vantage::DailyPrices) {
        if prices.dead_market_caps > 0 {
            self.warnings.push(format!(
                "Alpha Vantage's market capitalisation equals the volume on {} days; the column \
                 is not used",
                prices.dead_market_caps
            ));
        }
        if prices.duplicates > 0 {
            self.warnings.push(format!(
                "Alpha Vantage gave {} days twice; the first one counts",
                prices.duplicates
            ));
        }
    }

    fn take_prices(
        &mut self,
        store: &mut Store,
        mut report: SeriesReport,
        series: &[DailySeries],
        body: crate::blockchain::BodyOrigin,
    ) {
        for DailySeries { name, values } in series {
            let log = store.log_mut(ALPHA_VANTAGE, name);
            let merged = log.merge(values, self.now);
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
            self.bodies.push(BodyRecord {
                series: format!("{ALPHA_VANTAGE}/{}", report.series),
                url: body.url,
                sha256: body.sha256,
                bytes: body.bytes,
                fetched: self.now,
            });
        }
        self.series.push(report);
    }

    /// Merges the values of one series and adds it to the report; returns the number of changes.
    fn store(&mut self, store: &mut Store, mut report: SeriesReport, values: &[DayValue]) -> usize {
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

    fn reject(&mut self, source: &str, rejected: Vec<Rejected>) {
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

    fn finish(self, market: String, charts: Vec<String>, today: NaiveDate) -> (Commit, PullReport) {
        let report = PullReport {
            data_dir: std::path::PathBuf::new(),
            synthetic: false,
            now: self.now,
            today,
            last_complete_day: None,
            series: self.series,
            skipped: self.skipped,
            warnings: self.warnings,
            data_hash: String::new(),
        };
        let commit = Commit {
            synthetic: false,
            market,
            charts,
            now: self.now,
            today,
            series: self.records,
            bodies: self.bodies,
            rejected: self.rejected,
        };
        (commit, report)
    }
}

impl PullReport {
    fn complete(mut self, data_dir: &Path, manifest: &Manifest) -> Self {
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
}
