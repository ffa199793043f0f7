//! `btc predict`: the forecast of a registered model.

use std::process::ExitCode;

use btc_pipeline::PredictConfig;

use crate::output::printer::Printer;
use crate::output::views::prediction as view;
use crate::settings::resolve::Settings;
use crate::stores::{declared_features, existing_tracking, model_name};

pub(crate) async fn run(
    mut config: PredictConfig,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let store = declared_features(settings)?;
    let table = btc_pipeline::training_table(
        &settings.project,
        &store,
        &settings.service.value,
        config.date_end,
    )
    .await?;
    // Forecasts are recorded; the store of a registered model is there.
    let client = existing_tracking(settings)?;
    config.model_name = model_name(&client, settings)?;
    config.data_hash = btc_ingest::data_hash(settings.project.data_dir())?;
    let prediction =
        tokio::task::spawn_blocking(move || btc_pipeline::predict(&client, &config, &table))
            .await??;
    view::prediction(&prediction, printer)?;
    Ok(ExitCode::SUCCESS)
}
