//! Bringing a data folder up to date.

mod fetch;
mod update;

use crate::alpha_vantage::{ALPHA_VANTAGE, AlphaVantage};
use crate::blockchain::{BLOCKCHAIN, BlockchainCharts};
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressEvent};
use crate::report::{PlannedRequest, PullConfig, PullReport, SeriesReport, SkippedSource};
use crate::series::SeriesName;
use crate::source::{DailySeries, Source, from_batch};
use crate::store::{DataFolder, Logs, Manifest, Writer};
use crate::synthetic::{SYNTHETIC, Synthetic};
use crate::validate::set_aside_unfit;
use chrono::{DateTime, Days, NaiveDate, Utc};
use fetch::{days_to_ask, fetch_all};
use std::ops::RangeInclusive;
use std::path::Path;
use update::Update;

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
    let mut store = blocking(move || DataFolder::new(dir).writer()).await?;
    check_kind(&store, &config.data_dir, &config.market)?;

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
        update.skip(skipped);
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
    let known = all_charts(&store, charts.charts());
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
    let mut store = DataFolder::new(data_dir).writer()?;
    if store.manifest().is_some_and(|manifest| !manifest.synthetic) {
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
            series: name.to_string(),
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

/// Stores what another source has for `days`, beside what the services gave.
///
/// Columns called open, high, low, close and volume become prices, all others charts. Where a
/// service has a value for a day as well, the service's counts. Prices of zero or less, other
/// values below zero, days whose high and low do not enclose open and close, and days that are
/// not over are not taken.
///
/// ```
/// use btc_ingest::{ColumnMapping, FileSource, pull_source, read_table, Revisions, Table};
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path().join("data");
/// # let file = folder.path().join("old.csv");
/// std::fs::write(&file, "Date,Close\n2012-01-01,5.27\n2012-01-02,5.22\n")?;
/// let columns = ColumnMapping::new("Date").with("Close", "close");
/// let source = FileSource::new("old-prices", &file, columns)?;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let days = "2012-01-01".parse()?..="2012-12-31".parse()?;
/// let report = pull_source(&data_dir, &source, days, "2024-01-01T00:00:00Z".parse()?).await?;
/// assert_eq!(report.series[0].new_rows, 2);
/// assert_eq!(read_table(&data_dir, Table::Ohlcv, Revisions::Latest)?.num_rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if the source fails, or has the name of one of the services; if another process is
/// changing the folder, it holds made-up data, or cannot be written to.
pub async fn pull_source(
    data_dir: &Path,
    source: &dyn Source,
    days: RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let name = source.name();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let reserved = [ALPHA_VANTAGE, BLOCKCHAIN, SYNTHETIC];
    if name.is_empty() || !name.chars().all(allowed) || reserved.contains(&name) {
        let problem = format!(
            "{name:?} cannot be the name of a source; use lower-case letters, digits and hyphens, \
             and none of {}",
            reserved.join(", ")
        );
        return Err(Error::config(problem));
    }
    let batch = source.fetch(days).await?;
    let mut series = from_batch(name, &batch)?;
    let rejected = set_aside_unfit(&mut series, now.date_naive());
    let mut store = DataFolder::new(data_dir).writer()?;
    let market = store
        .manifest()
        .map_or("USD", |manifest| &manifest.market)
        .to_owned();
    check_kind(&store, data_dir, &market)?;
    let mut update = Update::new(now);
    let charts: Vec<String> = series
        .iter()
        .filter(|series| !series.name.is_price_column())
        .map(|series| column_chart(series.name.as_str()))
        .collect();
    for DailySeries {
        name: column,
        values,
    } in series
    {
        let report = SeriesReport {
            source: name.to_owned(),
            rejected: rejected
                .iter()
                .filter(|rejected| column == *rejected.series)
                .count(),
            series: column.to_string(),
            ..SeriesReport::default()
        };
        update.store(&mut store, report, &values);
    }
    update.reject(name, rejected);
    update.check(&store);
    let charts = all_charts(&store, &charts);
    let (commit, report) = update.finish(market, charts, now.date_naive());
    let manifest = store.commit(commit)?;
    Ok(report.complete(data_dir, &manifest))
}

/// Lists the requests that [`pull`] would make now, without making any.
///
/// The services' answers tell which day is today, so that a pull may ask for less than this.
///
/// # Errors
///
/// Fails if the configuration cannot be used, or the stored data cannot be read.
pub fn planned_requests(config: &PullConfig) -> Result<Vec<PlannedRequest>> {
    let charts = BlockchainCharts::new(&config.blockchain_url, &config.charts, &config.http)?;
    let mut requests = Vec::new();
    if let Some(source) = alpha_vantage(config)? {
        requests.push(source.request()?);
    }
    let logs = match DataFolder::new(&config.data_dir).snapshot() {
        Ok(snapshot) => snapshot.logs()?,
        Err(Error::NotPulled { .. }) => Logs::new(),
        Err(error) => return Err(error),
    };
    for chart in charts.charts() {
        let known = logs
            .get(BLOCKCHAIN)
            .and_then(|list| list.get(&SeriesName::of_chart(chart))?.last_day());
        let days = days_to_ask(config, known, config.now.date_naive());
        requests.extend(charts.requests(chart, &days)?);
    }
    let planned = |request: crate::http::Request| PlannedRequest {
        series: request.series,
        url: request.shown,
    };
    Ok(requests.into_iter().map(planned).collect())
}

/// The name of the chart that a column holds: the service's, if it is one of the known ones.
fn column_chart(column: &str) -> String {
    let known = crate::DEFAULT_CHARTS
        .into_iter()
        .find(|chart| SeriesName::of_chart(chart) == *column);
    known.unwrap_or(column).to_owned()
}

/// The charts that have a column: those that had one, then the new ones.
fn all_charts(store: &Writer, charts: &[String]) -> Vec<String> {
    let mut all = store
        .manifest()
        .map(|m: &Manifest| m.charts.clone())
        .unwrap_or_default();
    for chart in charts {
        let name = SeriesName::of_chart(chart);
        if !all.iter().any(|known| SeriesName::of_chart(known) == name) {
            all.push(chart.clone());
        }
    }
    all
}

fn alpha_vantage(config: &PullConfig) -> Result<Option<AlphaVantage>> {
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

fn check_kind(store: &Writer, data_dir: &Path, market: &str) -> Result<()> {
    let Some(manifest) = store.manifest() else {
        return Ok(());
    };
    let problem = if manifest.synthetic {
        "holds a synthetic sample; choose another folder, or remove it".to_owned()
    } else if manifest.market != market {
        format!(
            "holds prices in {}, not in {market}; choose another folder",
            manifest.market
        )
    } else {
        return Ok(());
    };
    Err(Error::OtherData {
        path: data_dir.to_owned(),
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
