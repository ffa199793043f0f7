//! What can be typed after `btc tune`.

use std::num::NonZeroUsize;

use btc_models::{ModelType, Target};
use btc_tune::{PrunerKind, SamplerKind};
use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use crate::cli::data::Endpoints;
use crate::cli::forecast::ForecastArgs;
use crate::cli::studies::StudyCommand;
use crate::cli::values::one_of;

#[derive(Debug, Subcommand)]
pub(crate) enum TuneCommand {
    /// Add trials to a study; every trial is a run
    Run(RunArgs),
    #[command(flatten)]
    Study(StudyCommand),
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  btc tune run --model-type CNN --n-trials 4 --timesteps 10 --prediction-length 10\n  btc tune run --n-trials 50 --jobs 2"
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Pull data first
    #[arg(long, alias = "pull_data", value_name = "BOOL", value_parser = BoolishValueParser::new(),
          action = clap::ArgAction::Set, default_value = "false")]
    pub(crate) pull_data: bool,
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    /// Trials to add to the study
    #[arg(long, alias = "n_trials", value_name = "N", default_value = "2")]
    pub(crate) n_trials: NonZeroUsize,
    /// Rows of a window; 0 searches 5, 10, 20 and 30
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) timesteps: usize,
    /// Forecasts in the set that trials are compared on [default: 60]
    #[arg(long, alias = "prediction_length", value_name = "N")]
    pub(crate) prediction_length: Option<NonZeroUsize>,
}

/// What a search takes besides its size.
#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// The network; all of them when none is named
    #[arg(long, alias = "model_type", value_name = "NAME", ignore_case = true,
          value_parser = one_of::<ModelType>(ModelType::ALL))]
    pub(crate) model_type: Option<ModelType>,
    /// The experiment and study [default: crypto-reg-experiment]
    #[arg(long, alias = "experiment_name", value_name = "NAME")]
    pub(crate) experiment_name: Option<String>,
    /// The version of the experiment; above 1 it is appended to the name
    #[arg(long = "version", value_name = "N", default_value_t = 1)]
    pub(crate) experiment_version: u32,
    #[command(flatten)]
    pub(crate) forecast: ForecastArgs,
    /// Days at the end that no trial sees; they judge the model at registration
    #[arg(long, value_name = "DAYS", default_value_t = btc_pipeline::DEFAULT_HOLDOUT)]
    pub(crate) holdout: usize,
    /// What the networks forecast
    #[arg(long, value_name = "TARGET", default_value_t, ignore_case = true,
          value_parser = one_of::<Target>(Target::ALL))]
    pub(crate) target: Target,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How values are chosen
    #[arg(long, value_name = "NAME", default_value_t,
          value_parser = one_of::<SamplerKind>(SamplerKind::ALL))]
    pub(crate) sampler: SamplerKind,
    /// Which trials end early
    #[arg(long, value_name = "NAME", default_value_t,
          value_parser = one_of::<PrunerKind>(PrunerKind::ALL))]
    pub(crate) pruner: PrunerKind,
    /// Blocks of the set that trials are compared on, each forecast by a network fitted up to it
    #[arg(long, value_name = "N", default_value_t = btc_pipeline::DEFAULT_FOLDS)]
    pub(crate) folds: NonZeroUsize,
    /// Trials to run at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// The study's storage, such as sqlite:///studies.db [default: studies.db under the root]
    #[arg(long, value_name = "URL")]
    pub(crate) storage: Option<String>,
}
