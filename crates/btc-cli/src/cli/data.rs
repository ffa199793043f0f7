//! What can be typed after `btc data`.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::cli::values::{TableName, parse_column, parse_day, parse_instant};

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Fetch what is new from both services and store it as Parquet
    Pull(PullArgs),
    /// Store a made-up market, marked as such
    Sample(SampleArgs),
    /// Store daily values out of a CSV or Parquet file beside the services'
    Import(ImportArgs),
    /// Show range, gaps and freshness of every series
    #[command(after_help = "Examples:\n  btc data status\n  btc data status --json > status.json")]
    Status,
    /// Draw every series on one self-contained HTML page
    Profile(ProfileArgs),
    /// Compare every file with the manifest, byte for byte
    #[command(after_help = "Examples:\n  btc data verify\n  btc data verify --json > verify.json")]
    Verify,
    /// Write a table as it is, or as it was known at an instant, to one Parquet file
    Export(ExportArgs),
}

/// Where the services are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Endpoints {
    /// Base URL of blockchain.com's charts
    #[arg(long, value_name = "URL")]
    pub(crate) blockchain_url: Option<String>,
    /// Base URL of Alpha Vantage; the key comes from ALPHAVANTAGE_API_KEY or btc.toml
    #[arg(long, value_name = "URL")]
    pub(crate) alpha_vantage_url: Option<String>,
}

#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  btc data pull\n  ALPHAVANTAGE_API_KEY=... btc data pull --refresh\n  btc data pull --dry-run"
)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    /// Use what is saved; ask no service
    #[arg(long)]
    pub(crate) offline: bool,
    /// Fetch everything again, not only what is new
    #[arg(long, conflicts_with = "offline")]
    pub(crate) refresh: bool,
    /// How many known days are asked for again, to see revisions [default: 7]
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["offline", "refresh"])]
    pub(crate) recheck_days: Option<u32>,
    /// A chart to fetch; may be repeated [default: fifteen charts]
    #[arg(long = "chart", value_name = "NAME", conflicts_with = "offline")]
    pub(crate) charts: Vec<String>,
    /// Keep the day that is not over
    #[arg(long, conflicts_with = "offline")]
    pub(crate) include_running_day: bool,
    /// Use what is saved, and pull only what is not there: the original's default
    #[arg(skip)]
    pub(crate) saved_first: bool,
    /// List the requests; make none
    #[arg(long, conflicts_with = "offline")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc data sample\n  btc data sample --seed 7 --days 400 --last-day 2024-01-01"
)]
pub(crate) struct SampleArgs {
    /// Equal seeds give equal markets
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The number of days
    #[arg(long, default_value_t = btc_ingest::SAMPLE_DAYS)]
    pub(crate) days: usize,
    /// The last day [default: yesterday]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    pub(crate) last_day: Option<NaiveDate>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc data import old.csv --name old-prices --date Date --column Close=close\n  btc data import more.parquet --name more --date day --column hashes=hash_rate --column close=close"
)]
pub(crate) struct ImportArgs {
    /// A CSV file with a header, or a Parquet file
    pub(crate) file: PathBuf,
    /// What the source is called in the data
    #[arg(long)]
    pub(crate) name: String,
    /// The column with the day that a row describes
    #[arg(long, value_name = "COLUMN")]
    pub(crate) date: String,
    /// A column of the file and the series it becomes: open, high, low, close, volume, or a
    /// chart's name with underscores; may be repeated
    #[arg(long = "column", value_name = "COLUMN=SERIES", required = true, value_parser = parse_column)]
    pub(crate) columns: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  btc data profile\n  btc data profile --output page.html")]
pub(crate) struct ProfileArgs {
    /// The page [default: reports/data-profile.html in the project's folder]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc data export ohlcv --output prices.parquet\n  btc data export blockchain --as-of 2024-01-01 --output then.parquet"
)]
pub(crate) struct ExportArgs {
    /// The table
    #[arg(value_enum)]
    pub(crate) table: TableName,
    /// The instant whose knowledge counts, as 2024-01-01 or 2024-01-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// Write the values that were revised later as well
    #[arg(long, conflicts_with = "as_of")]
    pub(crate) all_revisions: bool,
    /// The Parquet file to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}
