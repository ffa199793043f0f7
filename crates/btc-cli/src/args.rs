//! What can be typed: clap only, no logic.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::aliases::AliasCommand;
use crate::commands::{
    backtest, config, data, features, model, pipeline, predict, run, serve, track, tune,
};

/// From market data to a registered Bitcoin price model and its forecast.
#[derive(Debug, Parser)]
#[command(
    name = "btc",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  btc pipeline run --sample         The whole workflow on synthetic data, offline\n  btc pipeline run                  The same on real data\n  btc predict --date-end 2023-01-10 The forecast made when that day had closed"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The project's folder [default: the current folder, or BTC_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print data and problems only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to colour messages
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// The instant to take for now, as 2023-01-11 or 2023-01-11T08:00:00Z [default: the clock]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_now)]
    pub(crate) now: Option<DateTime<Utc>>,
}

/// When to colour messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pull market data and look at it
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Declare features and join them as of a time
    #[command(subcommand)]
    Features(features::FeaturesCommand),
    /// Search hyperparameters
    #[command(subcommand)]
    Tune(tune::TuneCommand),
    /// Register models and look at them
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Look at experiments, runs and their artifacts
    #[command(subcommand)]
    Track(track::TrackCommand),
    /// Run an entry point of an MLproject file and record it
    Run(run::RunArgs),
    /// Forecast the next day with a registered model
    Predict(predict::PredictArgs),
    /// Compare models over past days, beside baselines
    Backtest(backtest::BacktestArgs),
    /// The whole workflow in one go
    #[command(subcommand)]
    Pipeline(pipeline::PipelineCommand),
    /// Serve the web page
    Serve(serve::ServeArgs),
    /// Show the settings and where they come from
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(config::CompletionsArgs),
    /// The commands of the original project, by their old names.
    #[command(flatten)]
    Alias(AliasCommand),
}

pub(crate) fn parse_now(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    text.parse::<NaiveDate>()
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map(|time| time.and_utc())
        .ok_or_else(|| {
            "expected a day such as 2023-01-11 or a time such as 2023-01-11T08:00:00Z".into()
        })
}

/// Parses a day given as `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| "expected a day such as 2023-01-10".to_owned())
}

/// Parses a boolean the way Python's command lines spell it, too.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
