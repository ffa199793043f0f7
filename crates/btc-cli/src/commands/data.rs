//! `btc data`: pull market data and look at it.

use std::process::ExitCode;

use btc_ingest::{PullConfig, PullReport};
use clap::{Args, Subcommand};

use crate::printer::Printer;
use crate::progress::Console;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Fetch what is new from both services and store it as Parquet
    Pull(PullArgs),
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
#[command(after_help = "Examples:\n  btc data pull\n  ALPHAVANTAGE_API_KEY=... btc data pull --refresh")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    /// Use what is saved; ask no service
    #[arg(long)]
    offline: bool,
    /// Fetch everything again, not only what is new
    #[arg(long, conflicts_with = "offline")]
    refresh: bool,
}

impl PullArgs {
    /// What the original's `price-data-retrieve` asks for.
    pub(crate) fn retrieve(offline: bool, endpoints: Endpoints) -> Self {
        Self { endpoints, offline, ..Self::default() }
    }
}

/// The settings of a pull.
pub(crate) fn pull_config(endpoints: &Endpoints, settings: &Settings) -> PullConfig {
    let mut config = PullConfig::new(settings.project.data_dir(), settings.now);
    let url = |flag: &Option<String>, setting: &str| {
        flag.as_deref().unwrap_or(setting).trim_end_matches('/').to_owned()
    };
    config.blockchain_url = url(&endpoints.blockchain_url, &settings.blockchain_url.value);
    config.alpha_vantage_url = url(&endpoints.alpha_vantage_url, &settings.alpha_vantage_url.value);
    config.api_key = settings.api_key.value.clone();
    config.market = settings.market.value.clone();
    config.http.proxy = settings.proxy.value.clone();
    config
}

pub(crate) async fn run(
    command: DataCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Pull(args) => pull(args, settings, printer).await,
    }
}

async fn pull(
    args: PullArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    if args.offline {
        let last = btc_ingest::last_complete_day(&settings.project.data_dir())?;
        let Some(day) = last else {
            return Err(btc_pipeline::Error::NoData { path: settings.project.data_dir() }.into());
        };
        printer.line(format!("saved data ends with {day}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    settings.project.create()?;
    let mut config = pull_config(&args.endpoints, settings);
    config.refresh = args.refresh;
    printer.note(format!(
        "pulling from {} and {} into {}",
        config.blockchain_url,
        config.alpha_vantage_url,
        config.data_dir.display()
    ));
    let console = Console::new(printer.is_quiet());
    let report = btc_ingest::pull(&config, &console).await?;
    print_report(&report, printer)?;
    Ok(ExitCode::SUCCESS)
}

fn print_report(report: &PullReport, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(report);
    }
    let text = |value: Option<chrono::NaiveDate>| value.map_or("-".into(), |day| day.to_string());
    printer.line(format!("last complete day: {}", text(report.last_complete_day)))
}
