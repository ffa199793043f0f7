//! `btc predict`: the forecast of a registered model.

use std::process::ExitCode;

use btc_pipeline::{PredictConfig, Prediction};
use chrono::NaiveDate;
use clap::Args;

use crate::args::parse_day;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::tracking_client;

/// The registered model of the original project.
pub(crate) const MODEL_NAME: &str = "bitcoin-regression";

#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:\n  btc predict\n  btc predict --date-end 2023-01-10 --json")]
pub(crate) struct PredictArgs {
    /// The last day whose data may be used [default: the last complete day]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    pub(crate) date_end: Option<NaiveDate>,
    /// The registered model's name
    #[arg(long = "registered-model-name", visible_alias = "model-name", value_name = "NAME",
          default_value = MODEL_NAME)]
    pub(crate) model_name: String,
    /// The model's version [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// The model's window; another number than the model's is an error
    #[arg(long, value_name = "N")]
    pub(crate) timesteps: Option<usize>,
}

pub(crate) async fn run(
    args: PredictArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let client = tracking_client(settings)?;
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table = btc_pipeline::training_table(
        &settings.project,
        &store,
        btc_pipeline::SERVICE,
        args.date_end,
    )
    .await?;
    let config = PredictConfig {
        model_name: args.model_name,
        version: args.version,
        date_end: args.date_end,
        timesteps: args.timesteps,
        data_hash: btc_ingest::data_hash(&settings.project.data_dir())?,
        refuse_holes: false,
    };
    let prediction =
        tokio::task::spawn_blocking(move || btc_pipeline::predict(&client, &config, &table))
            .await??;
    print_prediction(&prediction, printer)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn print_prediction(
    prediction: &Prediction,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(prediction);
    }
    let minute = "%Y-%m-%d %H:%M UTC";
    printer.line(format!(
        "{:.2}  price at {}, from data known at {}",
        prediction.forecast,
        prediction.target_time.format(minute),
        prediction.known_until.format(minute)
    ))?;
    printer.line(format!(
        "{:.2}  naive forecast: the last close",
        prediction.naive
    ))?;
    for interval in &prediction.intervals {
        printer.line(format!(
            "{:.2} to {:.2}  {} % interval",
            interval.low,
            interval.high,
            (100.0 * interval.level).round()
        ))?;
    }
    printer.line(format!(
        "model {} version {} ({})",
        prediction.model, prediction.version, prediction.model_type
    ))?;
    if prediction.known_until < prediction.trained_until {
        printer.warn(format!(
            "the model was trained on data up to {}: it has seen what it forecasts here",
            prediction.trained_until.format(minute)
        ));
    }
    for warning in prediction.warnings() {
        printer.warn(warning);
    }
    if prediction.worse_than_naive {
        printer.warn("this version is no better than the naive forecast; prefer the latter");
    }
    Ok(())
}
