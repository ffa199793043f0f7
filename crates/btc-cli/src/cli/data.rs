//! What can be typed after `btc data`.

use std::path::PathBuf;

use btc_ingest::{DateFormat, DecimalMark, Duplicates, Preset, Stamp, Step, TextEncoding};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::cli::values::{
    TableName, parse_as, parse_column, parse_day, parse_delimiter, parse_instant, preset_parser,
    rule_parser, stamp_parser,
};

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Fetch what is new from both services and store it as Parquet
    Pull(PullArgs),
    /// Store a made-up market, marked as such
    Sample(SampleArgs),
    /// Store values out of a CSV or Parquet file beside the services'
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
    after_help = "What a file looks like is recognised and told; the options say it instead.\n\nExamples:\n  btc data import klines.zip --name binance --preset binance --dry-run\n  btc data import old.csv --name old-prices --date Date --column Close=close\n  btc data import kurse.csv --name kurse --date Datum --column Zuletzt=close --date-format dmy --decimal comma\n  btc data import more.parquet --name more --date day --column hashes=hash_rate --column close=close"
)]
pub(crate) struct ImportArgs {
    /// A CSV or Parquet file, which may be packed with gzip or zip
    pub(crate) file: PathBuf,
    /// What the source is called in the data
    #[arg(long)]
    pub(crate) name: String,
    /// The service that gave the file out: which of its columns are taken
    #[arg(long, value_name = "SERVICE", value_parser = preset_parser())]
    pub(crate) preset: Option<Preset>,
    /// The column with the day that a row describes, by its name or its place from 0
    #[arg(long, value_name = "COLUMN", required_unless_present = "preset")]
    pub(crate) date: Option<String>,
    /// A column of the file, by its name or its place from 0, and the series it becomes: open,
    /// high, low, close, volume, or a chart's name with underscores; may be repeated
    #[arg(long = "column", value_name = "COLUMN=SERIES", required_unless_present = "preset", value_parser = parse_column)]
    pub(crate) columns: Vec<(String, String)>,
    /// Show the first rows as they would be stored; store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse the file if a cell cannot be used, in place of setting it aside
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// How a file is written; what is left out is recognised.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "In place of what is recognised")]
pub(crate) struct FormatArgs {
    /// How dates are written: ymd, dmy or mdy; s, ms, us or ns since 1970; or a pattern as
    /// %d.%m.%Y
    #[arg(long, value_name = "FORMAT", value_parser = parse_as::<DateFormat>)]
    pub(crate) date_format: Option<DateFormat>,
    /// What stands before the decimals: point or comma
    #[arg(long, value_name = "MARK", value_parser = parse_as::<DecimalMark>)]
    pub(crate) decimal: Option<DecimalMark>,
    /// What stands between cells: one character, or tab
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    pub(crate) delimiter: Option<char>,
    /// How many lines at the beginning are passed over
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    pub(crate) skip_lines: usize,
    /// How many lines of names stand before the rows; 0 if there is no header
    #[arg(long, value_name = "LINES")]
    pub(crate) header_lines: Option<usize>,
    /// How characters are encoded, as utf-8, utf-16le or latin1
    #[arg(long, value_name = "LABEL", value_parser = parse_as::<TextEncoding>)]
    pub(crate) encoding: Option<TextEncoding>,
    /// A text that stands for a missing value, beside the usual ones; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) missing: Vec<String>,
    /// Which of several rows of one time counts, where they differ
    #[arg(long, value_name = "RULE", default_value = "set-aside", value_parser = rule_parser())]
    pub(crate) duplicates: Duplicates,
    /// How far apart the rows are, as 15min, 1h, 1d, 1w or 1mo; rows other than days become a
    /// table of their own
    #[arg(long, value_name = "STEP", value_parser = parse_as::<Step>)]
    pub(crate) step: Option<Step>,
    /// Whether the times are those of the beginnings or of the ends of the steps
    #[arg(long, value_name = "WHICH", default_value = "start", value_parser = stamp_parser())]
    pub(crate) stamp: Stamp,
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
