//! What can be typed after `btc run`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::values::parse_param;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc run . -e price-predict -P date-end=2023-01-10\n  btc run . -e price-regression-optimize -P model_type=lstm -P n_trials=10"
)]
pub(crate) struct RunArgs {
    /// The project's folder, where MLproject lies
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// The entry point
    #[arg(long, short, value_name = "NAME", default_value = "main")]
    pub(crate) entry_point: String,
    /// A parameter; may be given several times
    #[arg(long = "param", short = 'P', value_name = "NAME=VALUE", value_parser = parse_param)]
    pub(crate) params: Vec<(String, String)>,
    /// The experiment that takes the run, created if it is missing
    #[arg(long, value_name = "NAME")]
    pub(crate) experiment_name: Option<String>,
    /// The run's name
    #[arg(long, value_name = "NAME")]
    pub(crate) run_name: Option<String>,
    /// Where the command runs: this machine, as it is
    #[arg(long, value_name = "KIND", default_value = "local", value_parser = ["local"])]
    pub(crate) env_manager: String,
    /// Log processor and memory use beside the run's metrics
    #[arg(
        long,
        env = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub(crate) system_metrics: bool,
    /// Seconds between two samples of them
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) sampling_interval: u32,
}
