//! What can be typed after `btc features`.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::values::{Kind, parse_day, parse_entity, parse_instant};

#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// Show what apply would change
    #[command(
        after_help = "Examples:\n  btc features plan\n  btc features plan --feast registry.db --json"
    )]
    Plan(FeastArgs),
    /// Bring the registry in line with the definitions
    ///
    /// What the folder's files no longer declare is removed. With --feast, the
    /// objects of a Feast registry are added instead.
    #[command(
        after_help = "Examples:\n  btc features apply\n  btc features apply --feast registry.db"
    )]
    Apply(FeastArgs),
    /// Remove everything applied and everything online; files stay
    #[command(
        after_help = "Examples:\n  btc features teardown --yes\n  btc features teardown --dry-run"
    )]
    Teardown(TeardownArgs),
    /// List what is applied
    #[command(after_help = "Examples:\n  btc features list\n  btc features list views --json")]
    List(ListArgs),
    /// Show one object in full, and what uses it
    #[command(
        after_help = "Examples:\n  btc features describe daily_bitcoin_v1\n  btc features describe ohlcv --kind source"
    )]
    Describe(DescribeArgs),
    /// Join features to entity rows as of their times
    #[command(
        after_help = "Examples:\n  btc features historical --entities rows.parquet --service daily_bitcoin_v1 --output train.parquet\n  btc features historical --entities rows.parquet --features ohlcv:close,ohlcv:volume --output train.parquet"
    )]
    Historical(HistoricalArgs),
    /// Join every complete day's features and save them as Parquet
    Build(BuildArgs),
    /// Put the newest values of a period into the online store
    #[command(
        after_help = "Examples:\n  btc features materialize --start 2022-01-01 --end 2022-12-31\n  btc features materialize --start 2022-01-01 ohlcv"
    )]
    Materialize(MaterializeArgs),
    /// Put what is new since the last time into the online store
    #[command(
        after_help = "Examples:\n  btc features materialize-incremental\n  btc features materialize-incremental --end 2022-12-31 ohlcv"
    )]
    MaterializeIncremental(IncrementalArgs),
    /// Add rows to a view's source and to the online store at once
    ///
    /// The file has the columns of the source: keys, event time and what the
    /// view's features are made of. Every value is checked before anything is
    /// written.
    #[command(
        after_help = "Examples:\n  btc features push stats rows.parquet\n  btc features push stats rows.parquet --to online"
    )]
    Push(PushArgs),
    /// Read the newest values from the online store
    #[command(
        after_help = "Examples:\n  btc features online --service daily_bitcoin_v1\n  btc features online --features stats:trips --entity driver_id=1001,1002"
    )]
    Online(OnlineArgs),
    /// Describe the values of features, and how far they have drifted
    #[command(
        after_help = "Examples:\n  btc features stats\n  btc features stats ohlcv --start 2022-07-01 --reference-start 2022-01-01 --reference-end 2022-06-30"
    )]
    Stats(StatsArgs),
    /// Check the rules declared beside the views; exit 1 if one is broken
    #[command(
        after_help = "Examples:\n  btc features validate\n  btc features validate ohlcv --json"
    )]
    Validate(ViewsArgs),
    /// Write the registry for another tool
    #[command(
        after_help = "Examples:\n  btc features export --feast registry.db\n  btc features export --feast registry.db --json"
    )]
    Export(ExportArgs),
    /// Add the objects of another tool's registry
    #[command(
        after_help = "Examples:\n  btc features import --feast registry.db\n  btc features import --feast registry.db --project fraud"
    )]
    Import(ImportArgs),
}

#[derive(Debug, Default, Args)]
pub(crate) struct FeastArgs {
    /// Take the definitions from a Feast registry file
    #[arg(long, value_name = "FILE")]
    pub(crate) feast: Option<PathBuf>,
    /// The project in that file, if it holds several
    #[arg(long, value_name = "NAME", requires = "feast")]
    pub(crate) project: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A Feast registry file
    #[arg(long, value_name = "FILE")]
    pub(crate) feast: PathBuf,
    /// The project in that file, if it holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The Feast registry file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) feast: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TeardownArgs {
    /// Do it without being asked
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only objects of this kind
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The object's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its kind, where several have this name
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<Kind>,
}

/// Which features are wanted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WantedArgs {
    /// Every feature of a service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Features, as view:feature
    #[arg(long, value_name = "VIEW:FEATURE", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoricalArgs {
    /// Parquet file of entity rows: keys and event_timestamp
    #[arg(long, value_name = "FILE", required_unless_present = "end")]
    pub(crate) entities: Option<PathBuf>,
    /// Instead of entity rows, every key with values from here on
    #[arg(long, value_name = "TIME", value_parser = parse_instant, requires = "end", conflicts_with = "entities")]
    pub(crate) start: Option<DateTime<Utc>>,
    /// ... up to here, as of this time
    #[arg(long, value_name = "TIME", value_parser = parse_instant, conflicts_with = "entities")]
    pub(crate) end: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Where to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Call the columns view__feature
    #[arg(long)]
    pub(crate) full_feature_names: bool,
    /// Leave out rows written after an entity row's time
    #[arg(long)]
    pub(crate) filter_by_created_timestamp: bool,
    /// Also register the file as a data set of this name, with a manifest
    #[arg(long, value_name = "NAME")]
    pub(crate) save: Option<String>,
    /// Give up rather than hold more than this many MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_limit: Option<usize>,
    /// Show the plan instead of running it
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  btc features build\n  btc features build --date-end 2022-12-31 --output train.parquet"
)]
pub(crate) struct BuildArgs {
    /// The feature service to join
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// The last day to join
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    pub(crate) date_end: Option<NaiveDate>,
    /// Where to write [default: data/training/SERVICE.parquet under the root]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MaterializeArgs {
    /// Views [default: all]
    #[arg(value_name = "VIEW")]
    pub(crate) views: Vec<String>,
    /// From here on
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) start: DateTime<Utc>,
    /// Up to here [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) end: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct IncrementalArgs {
    /// Views [default: all]
    #[arg(value_name = "VIEW")]
    pub(crate) views: Vec<String>,
    /// Up to here [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) end: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The view
    #[arg(value_name = "VIEW")]
    pub(crate) view: String,
    /// Parquet file of the rows
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the rows go
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = PushPlace::Both)]
    pub(crate) to: PushPlace,
}

/// Where pushed rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PushPlace {
    /// The online store
    Online,
    /// The files of the source
    Offline,
    /// Both
    Both,
}

#[derive(Debug, Args)]
pub(crate) struct OnlineArgs {
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Values of a key, as name=value,value
    #[arg(long = "entity", value_name = "KEY=VALUES", value_parser = parse_entity)]
    pub(crate) entities: Vec<(String, Vec<serde_json::Value>)>,
    /// Call the columns view__feature
    #[arg(long)]
    pub(crate) full_feature_names: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Views [default: all]
    #[arg(value_name = "VIEW")]
    pub(crate) views: Vec<String>,
    /// From here on [default: the first row]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) start: Option<DateTime<Utc>>,
    /// Up to here [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) end: Option<DateTime<Utc>>,
    /// Measure drift from a period that starts here
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) reference_start: Option<DateTime<Utc>>,
    /// ... and ends here
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) reference_end: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct ViewsArgs {
    /// Views [default: all]
    #[arg(value_name = "VIEW")]
    pub(crate) views: Vec<String>,
}
