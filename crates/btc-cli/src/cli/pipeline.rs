//! What can be typed after `btc pipeline`.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};

use crate::cli::data::Endpoints;
use crate::cli::tune::SearchArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Pull, apply, tune, register and predict
    Run(PipelineArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc pipeline run --sample\n  btc pipeline run --model-type LSTM --n-trials 10"
)]
pub(crate) struct PipelineArgs {
    /// Use a synthetic market instead of real data; needs no network
    #[arg(long)]
    pub(crate) sample: bool,
    /// Use what is saved; ask no service
    #[arg(long, conflicts_with = "sample")]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Trials to add to the study
    #[arg(long, alias = "n_trials", value_name = "N", default_value = "4")]
    pub(crate) n_trials: NonZeroUsize,
    /// Rows of a window; 0 searches 5, 10, 20 and 30
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) timesteps: usize,
    /// Forecasts in the set that trials are compared on [default: 60]
    #[arg(long, alias = "prediction_length", value_name = "N")]
    pub(crate) prediction_length: Option<NonZeroUsize>,
    /// The registered model's name [default: bitcoin-regression]
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Option<String>,
}
