//! `btc predict`: the forecast of a registered model.

use std::process::ExitCode;

use btc_pipeline::{PredictConfig, TableSource};

use crate::output::printer::Printer;
use crate::output::views::prediction as view;
use crate::settings::resolve::Settings;
use crate::stores::{existing_tracking, model_name, tables, workflow};

pub(crate) async fn run(
    config: PredictConfig,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let tables = tables(settings);
    let table = tables.table(config.date_end).await?;
    // Forecasts are recorded; the store of a registered model is there.
    let client = existing_tracking(settings)?;
    let model = model_name(&client, settings)?;
    let experiment = &settings.experiment_name.value;
    let mut workflow = workflow(experiment, tables, client, settings)?.with_model_name(model);
    workflow.predict = config;
    let prediction = tokio::task::spawn_blocking(move || workflow.predict(&table)).await??;
    view::prediction(&prediction, printer)?;
    Ok(ExitCode::SUCCESS)
}
