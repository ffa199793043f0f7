//! What is asked of the market data.

use std::path::PathBuf;

use btc_ingest::{ColumnMapping, FileOptions, FileSource, PullConfig, Revisions, Table};
use chrono::NaiveDate;

use crate::cli::data::{ExportArgs, ImportArgs, PullArgs, SampleArgs};
use crate::cli::values::TableName;
use crate::settings::resolve::Settings;

/// Data to be pulled.
#[derive(Debug)]
pub(crate) struct PullRequest {
    pub(crate) config: PullConfig,
    pub(crate) offline: bool,
    /// Whether what is saved will do.
    pub(crate) saved_first: bool,
    pub(crate) dry_run: bool,
}

/// The settings of a pull without flags of its own.
pub(crate) fn pull_config(settings: &Settings) -> PullConfig {
    let mut config = PullConfig::new(settings.project.data_dir(), settings.now);
    let url = |setting: &str| setting.trim_end_matches('/').to_owned();
    config.blockchain_url = url(&settings.blockchain_url.value);
    config.alpha_vantage_url = url(&settings.alpha_vantage_url.value);
    config.api_key = settings.api_key.value.clone();
    config.market = settings.market.value.clone();
    config.http.proxy = settings.proxies().rule();
    config
}

impl PullRequest {
    pub(crate) fn new(args: PullArgs, settings: &Settings) -> Self {
        let mut config = pull_config(settings);
        config.refresh = args.refresh;
        config.recheck_days = args.recheck_days.unwrap_or(config.recheck_days);
        config.include_running_day = args.include_running_day;
        if !args.charts.is_empty() {
            config.charts = args.charts;
        }
        Self {
            config,
            offline: args.offline,
            saved_first: args.saved_first,
            dry_run: args.dry_run,
        }
    }
}

/// The made-up market to be stored.
#[derive(Debug)]
pub(crate) struct SampleRequest {
    pub(crate) seed: u64,
    pub(crate) days: usize,
    pub(crate) last_day: NaiveDate,
}

impl SampleRequest {
    pub(crate) fn new(args: &SampleArgs, settings: &Settings) -> Self {
        let yesterday = settings.now.date_naive().pred_opt();
        Self {
            seed: args.seed,
            days: args.days,
            last_day: args.last_day.or(yesterday).unwrap_or(NaiveDate::MIN),
        }
    }
}

/// A file whose columns are imported.
#[derive(Debug)]
pub(crate) struct ImportRequest {
    pub(crate) source: FileSource,
    pub(crate) dry_run: bool,
}

impl ImportRequest {
    pub(crate) fn new(args: ImportArgs) -> btc_ingest::Result<Self> {
        let mut mapping = match (args.preset, &args.date) {
            (Some(preset), Some(date)) => preset.columns().with_date(date),
            (Some(preset), None) => preset.columns(),
            (None, date) => ColumnMapping::new(date.clone().unwrap_or_default()),
        };
        for (from, to) in args.columns {
            // What is said of a series counts in place of what its service's files have.
            if args.preset.is_some() {
                mapping = mapping.without(&to);
            }
            mapping = mapping.with(from, to);
        }
        let format = args.format;
        let mut options = FileOptions::default();
        options.date_format = format.date_format;
        options.decimal = format.decimal;
        options.delimiter = format.delimiter;
        options.skip_lines = format.skip_lines;
        options.header_lines = format.header_lines;
        options.encoding = format.encoding;
        options.missing = format.missing;
        options.duplicates = format.duplicates;
        options.step = format.step;
        options.stamp = format.stamp;
        options.strict = args.strict;
        Ok(Self {
            source: FileSource::new(&args.name, args.file, mapping)?.with_options(options),
            dry_run: args.dry_run,
        })
    }
}

/// A table to be written to a file.
#[derive(Debug)]
pub(crate) struct TableExport {
    pub(crate) table: Table,
    pub(crate) revisions: Revisions,
    pub(crate) output: PathBuf,
}

impl From<ExportArgs> for TableExport {
    fn from(args: ExportArgs) -> Self {
        Self {
            table: match args.table {
                TableName::Ohlcv => Table::Ohlcv,
                TableName::Blockchain => Table::Blockchain,
            },
            revisions: match args.as_of {
                _ if args.all_revisions => Revisions::All,
                Some(instant) => Revisions::AsOf(instant),
                None => Revisions::Latest,
            },
            output: args.output,
        }
    }
}
