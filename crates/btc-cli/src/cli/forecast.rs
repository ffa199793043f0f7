//! The flags that say what is forecast.

use std::num::NonZeroUsize;

use clap::Args;

/// What is forecast, from what, how far ahead.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ForecastArgs {
    /// The feature service that models are fitted on [default: daily_bitcoin_v1]
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// The column that is forecast [default: close]
    #[arg(long, value_name = "NAME")]
    pub(crate) target_column: Option<String>,
    /// Days ahead [default: 1]
    #[arg(long, value_name = "DAYS")]
    pub(crate) horizon: Option<NonZeroUsize>,
    /// What networks are computed on: cpu, cuda:0 or metal:0 [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
}
