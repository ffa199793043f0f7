//! What can be typed after `btc backtest`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use crate::cli::forecast::ForecastArgs;
use crate::cli::values::model_names;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc backtest\n  btc backtest --models LSTM,CNN --seeds 3 --jobs 2 --html report.html"
)]
pub(crate) struct BacktestArgs {
    /// Networks to compare besides the baselines and the champion, such as LSTM,CNN
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true,
          value_parser = model_names())]
    pub(crate) models: Vec<String>,
    /// Forecasts per model; the last one is of the last complete day
    #[arg(long, value_name = "N", default_value = "200")]
    pub(crate) origins: NonZeroUsize,
    /// Forecasts between two fits
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) refit: NonZeroUsize,
    #[command(flatten)]
    pub(crate) forecast: ForecastArgs,
    /// Seeds per network
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seeds: NonZeroUsize,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Fits at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// Epochs of the networks of --models
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) epochs: NonZeroUsize,
    /// Also report every network shrunk towards the naive forecast
    #[arg(long)]
    pub(crate) combine: bool,
    /// Show models the data as it was known at each origin, without later revisions
    #[arg(long)]
    pub(crate) vintage: bool,
    /// The registered model whose champion is compared [default: bitcoin-regression]
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Option<String>,
    /// Where to note finished parts, and to go on from [default: backtest.jsonl in reports]
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Write the report with charts as one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
