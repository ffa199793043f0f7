//! Bringing a data folder up to date.

mod update;

use crate::alpha_vantage::{ALPHA_VANTAGE, AlphaVantage};
use crate::blockchain::{BLOCKCHAIN, BlockchainCharts};
use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::fetched::{Fetched, Window};
use crate::progress::{Progress, ProgressEvent};
use crate::report::{
    PlannedRequest, PullConfig, PullReport, SeriesReport, SeriesStatus, SkippedSource,
};
use crate::series::SeriesName;
use crate::source::{DATE, DailySeries, Source, private};
use crate::store::{DataFolder, InstantRow, Logs, Manifest, Writer, check_instant};
use crate::synthetic::{SYNTHETIC, Synthetic};
use chrono::{DateTime, Days, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use update::{Bounds, Came, Update};

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
    let prices = alpha_vantage(config)?;
    let skipped = match &prices {
        Some(_) => Vec::new(),
        None => vec![no_key()],
    };
    let mut sources: Vec<&dyn Source> = Vec::new();
    sources.extend(prices.as_ref().map(|source| source as &dyn Source));
    sources.push(&charts);
    let mut report = run(config, &sources, skipped, progress).await?;
    if report.last_complete_day.is_none() {
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

/// Brings a data folder up to date from any sources, as [`pull`] does from the two services.
///
/// They are asked in the order in which they are listed. Where several have a value of one day and
/// series, that of a built-in service counts, then the one whose name comes first. The first one
/// that tells which day is not over decides how far the others are asked for and what is left out
/// as of a running day. Of `config`, the addresses, the key and the charts are not used.
///
/// ```
/// use btc_ingest::{ColumnMapping, FileSource, PullConfig, pull_sources};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("old.csv");
/// std::fs::write(&file, "Date,Close\n2012-01-01,5.27\n2012-01-02,5.22\n")?;
/// let old = FileSource::new("old-prices", &file, ColumnMapping::new("Date").with("Close", "close"))?;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let config = PullConfig::new(folder.path().join("data"), "2024-01-01T00:00:00Z".parse()?);
/// let report = pull_sources(&config, &[&old], &()).await?;
/// assert_eq!(report.series[0].new_rows, 2);
/// // Once more: nothing is new.
/// assert_eq!(pull_sources(&config, &[&old], &()).await?.changes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`pull`]; fails as well if a source as a whole fails, with its own error, or if two have one
/// name.
pub async fn pull_sources(
    config: &PullConfig,
    sources: &[&dyn Source],
    progress: &dyn Progress,
) -> Result<PullReport> {
    run(config, sources, Vec::new(), progress).await
}

/// The one road from sources to the data folder.
async fn run(
    config: &PullConfig,
    sources: &[&dyn Source],
    skipped: Vec<SkippedSource>,
    progress: &dyn Progress,
) -> Result<PullReport> {
    check_names(sources)?;
    let store = open(config).await?;
    check_kind(&store, &config.data_dir, &config.market)?;
    let mut all = Vec::new();
    let mut running_day = None;
    for source in sources {
        let known = last_days(store.logs.get(source.name()));
        let window = Window::of_pull(config, known, running_day, progress);
        let fetched = ask(*source, &window).await?;
        running_day = running_day.or(fetched.running_day);
        all.push(Came::new(*source, fetched));
    }
    tell_skipped(&skipped, progress);
    let bounds = bounds(config, running_day);
    store_all(config, store, all, skipped, bounds, progress).await
}

/// Values of the running day are left out for now; later ones are wrong.
fn bounds(config: &PullConfig, running_day: Option<NaiveDate>) -> (NaiveDate, Bounds) {
    let clock = config.now.date_naive();
    let today = running_day.map_or(clock, |day| day.min(clock));
    let after = |day: NaiveDate| day.succ_opt().unwrap_or(day);
    let bounds = Bounds {
        first_running: match config.include_running_day {
            true => after(today),
            false => today,
        },
        first_future: after(clock),
    };
    (today, bounds)
}

async fn open(config: &PullConfig) -> Result<Writer> {
    // Before anything is asked for in vain.
    check_instant(config.now)?;
    let folder = DataFolder::new(&config.data_dir);
    blocking(move || folder.writer()).await
}

/// The last day of every series of a source.
fn last_days(
    series: Option<&BTreeMap<SeriesName, crate::store::SeriesLog>>,
) -> BTreeMap<SeriesName, NaiveDate> {
    let series = series.into_iter().flatten();
    series
        .filter_map(|(name, log)| Some((name.clone(), log.last_day()?)))
        .collect()
}

/// Asks one source, and tells of it unless it does so itself.
async fn ask(source: &dyn Source, window: &Window<'_>) -> Result<Fetched> {
    let name = || source.name().to_owned();
    let tells_itself = source.is_built_in(private::Token(()));
    if !tells_itself {
        window
            .progress()
            .event(&ProgressEvent::Started { series: name() });
    }
    let outcome = source
        .fetch(window)
        .await
        .map_err(|error| Error::source(source.name(), error));
    if !tells_itself {
        window.progress().event(&match &outcome {
            Ok(fetched) => {
                let batches = fetched
                    .parts
                    .iter()
                    .filter_map(|part| part.values.as_ref().ok());
                ProgressEvent::Finished {
                    series: name(),
                    rows: batches.map(|batch| batch.num_rows()).max().unwrap_or(0),
                }
            }
            Err(error) => ProgressEvent::Skipped {
                series: name(),
                why: error.with_causes(),
            },
        });
    }
    outcome
}

fn tell_skipped(skipped: &[SkippedSource], progress: &dyn Progress) {
    for skipped in skipped {
        progress.event(&ProgressEvent::Skipped {
            series: skipped.source.clone(),
            why: format!("{}; {}", skipped.reason, skipped.hint),
        });
    }
}

/// Merges what came into what is stored, and writes it; all of it off the runtime's threads.
async fn store_all(
    config: &PullConfig,
    mut store: Writer,
    came: Vec<Came>,
    skipped: Vec<SkippedSource>,
    (today, bounds): (NaiveDate, Bounds),
    progress: &dyn Progress,
) -> Result<PullReport> {
    let (now, market, data_dir) = (config.now, config.market.clone(), config.data_dir.clone());
    let (report, warnings) = blocking(move || {
        let mut update = Update::new(now);
        update.skipped = skipped;
        let charts: Vec<String> = came.iter().flat_map(|came| came.charts.clone()).collect();
        for came in came {
            update.take(came, &mut store, &bounds)?;
        }
        update.check(&store);
        let warnings = update.warnings.clone();
        let known = all_charts(&store, &charts);
        let (commit, report) = update.finish(market, known, today);
        let manifest = store.commit(commit)?;
        Ok((report.complete(&data_dir, &manifest), warnings))
    })
    .await?;
    for message in warnings {
        progress.event(&ProgressEvent::Warning { message });
    }
    Ok(report)
}

fn no_key() -> SkippedSource {
    SkippedSource {
        source: ALPHA_VANTAGE.to_owned(),
        reason: "there is no API key".to_owned(),
        hint: "closing prices come from blockchain.com's market-price chart; for open, high, \
               low and volume get a free key at https://www.alphavantage.co/support/#api-key"
            .to_owned(),
    }
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
    data_dir: impl AsRef<Path>,
    seed: u64,
    last_day: NaiveDate,
    days: usize,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let data_dir = data_dir.as_ref();
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
        update.store(&mut store, report, &[DailySeries { name, values }]);
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
    data_dir: impl AsRef<Path>,
    source: &dyn Source,
    days: RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let mut config = PullConfig::new(data_dir.as_ref(), now);
    check_names(&[source])?;
    let store = open(&config).await?;
    if let Some(manifest) = store.manifest() {
        config.market.clone_from(&manifest.market);
    }
    check_kind(&store, &config.data_dir, &config.market)?;
    let fetched = ask(source, &Window::of(days, now)).await?;
    let (today, mut bounds) = bounds(&config, fetched.running_day);
    // What is given once is not given again when its day is over: it is not dropped in silence.
    bounds.first_future = bounds.first_running;
    let came = vec![Came::new(source, fetched)];
    store_all(&config, store, came, Vec::new(), (today, bounds), &()).await
}

/// Stores values at instants of a source of the user's own, and what was set aside of it.
pub(crate) fn store_instants(
    data_dir: &Path,
    name: &str,
    columns: &[SeriesName],
    rows: Vec<InstantRow>,
    rejected: Vec<Rejected>,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    check_instant(now)?;
    let mut store = DataFolder::new(data_dir).writer()?;
    let market = store
        .manifest()
        .map_or("USD", |manifest| &manifest.market)
        .to_owned();
    check_kind(&store, data_dir, &market)?;
    let mut update = Update::new(now);
    let table = store.instants_mut(name)?;
    let merged = table.merge(columns, rows, now);
    let times = table.times();
    let day =
        |time: Option<&i64>| time.map(|time| DateTime::from_timestamp_nanos(*time).date_naive());
    for column in columns {
        update.add(SeriesReport {
            source: name.to_owned(),
            series: column.to_string(),
            status: if merged.new + merged.changed > 0 {
                SeriesStatus::Updated
            } else {
                SeriesStatus::Unchanged
            },
            rows: times.len(),
            first: day(times.first()),
            last: day(times.last()),
            new_rows: merged.new,
            changed_rows: merged.changed,
            rejected: rejected.iter().filter(|one| is_of(one, column)).count(),
            ..SeriesReport::default()
        });
    }
    update.reject(name, rejected);
    update.check(&store);
    let charts = all_charts(&store, &[]);
    let (commit, report) = update.finish(market, charts, now.date_naive());
    let manifest = store.commit(commit)?;
    Ok(report.complete(data_dir, &manifest))
}

/// Whether a value that was set aside is one of a series, or its row was as a whole.
pub(crate) fn is_of(rejected: &Rejected, series: &SeriesName) -> bool {
    *series == *rejected.series || rejected.series == DATE
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
    let prices = alpha_vantage(config)?;
    let logs = match DataFolder::new(&config.data_dir).snapshot() {
        Ok(snapshot) => snapshot.logs()?,
        Err(Error::NotPulled { .. }) => Logs::new(),
        Err(error) => return Err(error),
    };
    let mut sources: Vec<&dyn Source> = Vec::new();
    sources.extend(prices.as_ref().map(|source| source as &dyn Source));
    sources.push(&charts);
    let mut requests = Vec::new();
    for source in sources {
        let known = last_days(logs.get(source.name()));
        requests.extend(source.requests(&Window::of_pull(config, known, None, &()))?);
    }
    Ok(requests)
}

/// Refuses names that are no folders, that belong to another source, or come twice.
pub(crate) fn check_names(sources: &[&dyn Source]) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let reserved = [ALPHA_VANTAGE, BLOCKCHAIN, SYNTHETIC, "ohlcv"];
    for (index, source) in sources.iter().enumerate() {
        let name = source.name();
        let is_taken = reserved.contains(&name) && !source.is_built_in(private::Token(()));
        if name.is_empty() || !name.chars().all(allowed) || is_taken {
            let problem = format!(
                "{name:?} cannot be the name of a source; use lower-case letters, digits and \
                 hyphens, and none of {}",
                reserved.join(", ")
            );
            return Err(Error::config(problem));
        }
        if sources[..index].iter().any(|other| other.name() == name) {
            return Err(Error::config(format!(
                "two sources are called {name:?}; give each its own name"
            )));
        }
    }
    Ok(())
}

/// The charts that the columns of a source stand for.
fn charts_of(source: &dyn Source) -> Vec<String> {
    let schema = source.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names
        .filter(|name| *name != DATE && !SeriesName::of_chart(name).is_price_column())
        .map(column_chart)
        .collect()
}

/// The name of the chart that a column holds: the service's, if it is one of the known ones.
fn column_chart(column: &str) -> String {
    let known = crate::DEFAULT_CHARTS
        .into_iter()
        .find(|chart| SeriesName::of_chart(chart) == SeriesName::of_chart(column));
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
