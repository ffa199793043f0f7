//! What to pull, and what a pull brought.

use crate::http::HttpConfig;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use std::path::PathBuf;

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PullReport {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Whether the data is made up.
    pub synthetic: bool,
    /// The time of the pull.
    pub now: DateTime<Utc>,
    /// The first day that is not over, as far as clock and services tell.
    pub today: NaiveDate,
    /// The last day that has a price and is over.
    pub last_complete_day: Option<NaiveDate>,
    /// Every series that was asked for.
    pub series: Vec<SeriesReport>,
    /// Sources that were not asked, and why.
    pub skipped: Vec<SkippedSource>,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
    /// The fingerprint of the processed tables.
    pub data_hash: String,
}

impl PullReport {
    /// The number of new and changed days over all series.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.series
            .iter()
            .map(|series| series.new_rows + series.changed_rows)
            .sum()
    }
}

/// What a pull brought for one series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SeriesReport {
    /// The source, as `blockchain`.
    pub source: String,
    /// The series, as `hash-rate`.
    pub series: String,
    /// How it went.
    pub status: SeriesStatus,
    /// The number of days stored.
    pub rows: usize,
    /// The first day stored.
    pub first: Option<NaiveDate>,
    /// The last day stored.
    pub last: Option<NaiveDate>,
    /// Days between the first and the last without a value.
    pub missing_days: usize,
    /// Days that were not known before.
    pub new_rows: usize,
    /// Days whose value is another one now; the old one is kept beside it.
    pub changed_rows: usize,
    /// Days with several points, which were averaged.
    pub averaged_days: usize,
    /// Points that came after a later one; they were sorted.
    pub unordered_points: usize,
    /// Days that are not over yet and were left out.
    pub running_days: usize,
    /// Values that were set aside in the quarantine file.
    pub rejected: usize,
}

/// How a pull of one series went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SeriesStatus {
    /// There are new or changed values.
    Updated,
    /// All values were known.
    #[default]
    Unchanged,
    /// The service has no such series, or no value of it.
    Missing,
    /// The request failed; what was stored before stays.
    Failed,
}

/// A source that was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SkippedSource {
    /// The source, as `alpha-vantage`.
    pub source: String,
    /// Why it was not asked.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// A request that a pull would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedRequest {
    /// Source and series, as `blockchain/hash-rate`.
    pub series: String,
    /// The address, without secrets.
    pub url: String,
}

/// What to pull, from where, to where.
///
/// ```
/// use btc_ingest::PullConfig;
///
/// let mut config = PullConfig::new("data", "2024-01-01T00:00:00Z".parse()?);
/// config.charts = vec!["hash-rate".into(), "market-price".into()];
/// assert_eq!(config.market, "USD");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PullConfig {
    /// The data folder; it is made if there is none.
    pub data_dir: PathBuf,
    /// The address of blockchain.com's charts.
    pub blockchain_url: String,
    /// The address of Alpha Vantage.
    pub alpha_vantage_url: String,
    /// The key for Alpha Vantage; without it, closing prices are taken from the market-price
    /// chart.
    pub api_key: Option<crate::ApiKey>,
    /// The charts; none means [`DEFAULT_CHARTS`](crate::DEFAULT_CHARTS).
    pub charts: Vec<String>,
    /// The currency of the prices.
    pub market: String,
    /// The time of the pull; it becomes the `created_timestamp` of what is new.
    pub now: DateTime<Utc>,
    /// Whether to ask for the whole history again.
    pub refresh: bool,
    /// How many days before the newest known one are asked for again, to see revisions.
    pub recheck_days: u32,
    /// Whether to keep the day that is not over.
    pub include_running_day: bool,
    /// How requests are made.
    pub http: HttpConfig,
}

impl PullConfig {
    /// Pulls all default series from the public services to `data_dir`, without a key.
    pub fn new(data_dir: impl Into<PathBuf>, now: DateTime<Utc>) -> Self {
        Self {
            data_dir: data_dir.into(),
            blockchain_url: crate::BLOCKCHAIN_URL.to_owned(),
            alpha_vantage_url: crate::ALPHA_VANTAGE_URL.to_owned(),
            api_key: None,
            charts: crate::DEFAULT_CHARTS.map(str::to_owned).to_vec(),
            market: "USD".to_owned(),
            now,
            refresh: false,
            recheck_days: 7,
            include_running_day: false,
            http: HttpConfig::default(),
        }
    }
}
