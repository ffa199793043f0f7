//! What can be typed after `btc predict`.

use chrono::NaiveDate;
use clap::Args;

use crate::cli::forecast::ForecastArgs;
use crate::cli::values::parse_day;

#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:\n  btc predict\n  btc predict --date-end 2023-01-10 --json")]
pub(crate) struct PredictArgs {
    /// The last day whose data may be used [default: the last complete day]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    pub(crate) date_end: Option<NaiveDate>,
    /// The registered model's name [default: bitcoin-regression]
    #[arg(
        long = "registered-model-name",
        visible_alias = "model-name",
        value_name = "NAME"
    )]
    pub(crate) model_name: Option<String>,
    /// The model's version [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// The model's window; another number than the model's is an error
    #[arg(long, value_name = "N")]
    pub(crate) timesteps: Option<usize>,
    #[command(flatten)]
    pub(crate) forecast: ForecastArgs,
    /// Refuse to forecast where days that the model looks at are missing
    #[arg(long)]
    pub(crate) refuse_holes: bool,
}
