//! Daily Bitcoin prices and on-chain metrics as Parquet, from two public services.
//!
//! ```no_run
//! use btc_ingest::{ApiKey, PullConfig, Revisions, Table, pull, read_table};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Fetch what is new since the last time; the first time, everything.
//! let mut config = PullConfig::new("data", chrono::Utc::now());
//! config.api_key = ApiKey::new(std::fs::read_to_string("alpha-vantage.key")?);
//! let report = pull(&config, &()).await?;
//! for warning in &report.warnings {
//!     eprintln!("{warning}");
//! }
//!
//! // Read it: one row per day, with the instant from which the row is known.
//! let prices = read_table("data", Table::Ohlcv, Revisions::Latest)?;
//! println!("{} days, complete up to {:?}", prices.num_rows(), report.last_complete_day);
//! # Ok(())
//! # }
//! ```
//!
//! Without a network, [`pull_sample`] makes up a market and stores it the same way.
//!
//! # What is stored
//!
//! | path below the data folder | content |
//! |---|---|
//! | `raw/<source>/<year>.parquet` | every value ever fetched: `series`, `date`, `value`, `created_timestamp` |
//! | `raw/<source>/quarantine.parquet` | values that were not fit for use, and why |
//! | `raw/<source>/answers-<year>.parquet` | the answers that brought something new |
//! | `processed/ohlcv/<year>.parquet` | prices: open, high, low, close, volume, `price_source` |
//! | `processed/blockchain/<year>.parquet` | one column per chart |
//! | `processed/<source>/<year>.parquet` | an import whose rows are not days: `time` and one column per series |
//! | `manifest.json` | every table with the SHA-256 of its file and of what it says |
//!
//! These are links into one whole state of the folder, which is replaced all at once: see
//! [`DataFolder`].
//!
//! A processed row of the day `date` has an `event_timestamp`, the instant from which its values
//! are known: 00:00 UTC of the next day. Its `created_timestamp` is the time at which it was
//! fetched. A value that a service revises later makes a new row with the same
//! `event_timestamp` and a later `created_timestamp`; nothing is overwritten.
//!
//! # Sources
//!
//! [`AlphaVantage`], [`BlockchainCharts`], [`CoinMetrics`], [`Binance`], [`FileSource`] and
//! [`Synthetic`] implement [`Source`]; each can be used alone, without a data folder.
//! [`pull_sources`] brings a folder up to date from any list of them, your own among them.

#[doc(hidden)]
pub mod alpha_vantage;
mod binance;
#[doc(hidden)]
pub mod blockchain;
mod clean;
mod coin_metrics;
pub mod conformance;
mod error;
mod fetched;
mod file;
mod http;
mod key;
mod misdated;
mod number;
mod profile;
mod progress;
mod pull;
mod quarantine;
mod report;
mod series;
mod source;
mod status;
mod store;
mod synthetic;
mod tables;
mod validate;
mod verify;

pub use alpha_vantage::{ALPHA_VANTAGE_URL, AlphaVantage};
pub use arrow;
pub use async_trait::async_trait;
pub use binance::{BINANCE_URL, Binance, Interval};
pub use blockchain::{BLOCKCHAIN_URL, BlockchainCharts, ChartFormat, DEFAULT_CHARTS};
pub use chrono;
#[doc(hidden)]
pub use clean::Point;
pub use clean::{Reason, Rejected};
pub use coin_metrics::{COIN_METRICS_DEFAULT, COIN_METRICS_URL, CoinMetrics};
pub use error::{Error, Result};
pub use fetched::{Answer, Fetched, Part, Window};
pub use file::{
    ColumnMapping, DateFormat, DecimalMark, Duplicates, EpochUnit, FileOptions, FileSource,
    FileTable, ImportReport, Preset, Stamp, Step, TextEncoding, import_file,
};
pub use http::{HttpConfig, ProxyRule};
pub use key::ApiKey;
pub use misdated::Misdated;
pub use profile::{ColumnProfile, Correlations, Moments, Profile, SetAside, Summary, profile};
pub use progress::{Progress, ProgressEvent};
pub use pull::{planned_requests, pull, pull_sample, pull_source, pull_sources};
pub use report::{
    PlannedRequest, PullConfig, PullReport, SeriesReport, SeriesStatus, SkippedSource,
};
pub use series::SeriesName;
pub use source::{Source, SourceError, daily_schema};
pub use status::{DataStatus, Gap, SeriesStatusReport, status};
pub use store::{
    AnswerRecord, DataFolder, Manifest, Revisions, SeriesRecord, Snapshot, Table, TableRecord,
    data_hash, last_complete_day, read_parquet, read_table, rows_as_of, write_parquet,
};
pub use synthetic::{SAMPLE_DAYS, Synthetic};
pub use verify::{FileProblem, FileProblemKind, Verification, verify};
