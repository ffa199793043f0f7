//! What can be typed: clap types only. Nothing here names a command's code.

pub(crate) mod aliases;
pub(crate) mod backtest;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod features;
pub(crate) mod forecast;
pub(crate) mod global;
pub(crate) mod model;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod studies;
pub(crate) mod track;
pub(crate) mod tune;
pub(crate) mod values;

use clap::{Parser, Subcommand};

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
    pub(crate) global: global::GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: TypedCommand,
}

/// A command by its name of today, or by that of the original project.
#[derive(Debug, Subcommand)]
pub(crate) enum TypedCommand {
    #[command(flatten)]
    Command(command::Command),
    #[command(flatten)]
    Alias(aliases::AliasCommand),
}
