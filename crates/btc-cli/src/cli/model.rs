//! What can be typed after `btc model`.

use clap::{Args, Subcommand};

use crate::cli::forecast::ForecastArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Register the best run of an experiment as a new version
    RegisterBest(RegisterBestArgs),
    /// List registered models
    #[command(after_help = "Examples:\n  btc model list\n  btc model list --json")]
    List,
    /// Show the versions of a model
    #[command(
        after_help = "Examples:\n  btc model show bitcoin-regression\n  btc model show bitcoin-regression --json"
    )]
    Show {
        /// The model's name [default: bitcoin-regression]
        name: Option<String>,
    },
    /// Make a version the champion
    #[command(
        after_help = "Examples:\n  btc model promote bitcoin-regression 2\n  btc model promote bitcoin-regression 2 --alias challenger"
    )]
    Promote {
        /// The model's name
        name: String,
        /// The version
        version: u64,
        /// The alias to move
        #[arg(long, value_name = "ALIAS", default_value = btc_pipeline::CHAMPION)]
        alias: String,
    },
    /// Point an alias to a version, or remove it
    #[command(
        after_help = "Examples:\n  btc model alias bitcoin-regression challenger 3\n  btc model alias bitcoin-regression challenger --remove"
    )]
    Alias {
        /// The model's name
        name: String,
        /// The alias
        alias: String,
        /// The version
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        version: Option<u64>,
        /// Remove the alias
        #[arg(long)]
        remove: bool,
    },
    /// Delete a version, or a whole model
    #[command(
        after_help = "Examples:\n  btc model delete bitcoin-regression 2\n  btc model delete bitcoin-regression --all --dry-run"
    )]
    Delete {
        /// The model's name
        name: String,
        /// The version
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        version: Option<u64>,
        /// Delete the model with all its versions
        #[arg(long)]
        all: bool,
        /// Say what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  btc model register-best\n  btc model register-best --experiment crypto-reg-experiment --metric RMSE"
)]
pub(crate) struct RegisterBestArgs {
    /// The experiment, by name or id
    #[arg(long, visible_alias = "experiment-id", value_name = "NAME-OR-ID")]
    pub(crate) experiment: Option<String>,
    /// The run metric to choose by
    #[arg(long, value_name = "NAME", default_value = btc_pipeline::METRIC)]
    pub(crate) metric: String,
    /// Choose the largest value, not the smallest
    #[arg(long)]
    pub(crate) maximize: bool,
    /// The registered model's name [default: bitcoin-regression]
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Option<String>,
    /// Register although the model is worse than the naive forecast
    #[arg(long)]
    pub(crate) allow_worse_than_naive: bool,
    /// Make the new version the champion, whatever the hold-out says; this is recorded
    #[arg(long)]
    pub(crate) champion: bool,
    #[command(flatten)]
    pub(crate) forecast: ForecastArgs,
}
