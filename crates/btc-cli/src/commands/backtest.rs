//! `btc backtest`: models compared over rolling origins.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btc_models::backtest::{self, Config, Report};
use btc_models::{Baseline, Model, NetworkConfig, NetworkModel, SeriesFrame, TrainConfig};
use btc_pipeline::training_table;
use btc_track::TrackingClient;

use crate::interrupt::Interrupt;
use crate::output::file::{create_folder_of, write_whole};
use crate::output::printer::Printer;
use crate::output::views::backtest as view;
use crate::settings::requests::models::BacktestRequest;
use crate::settings::resolve::Settings;
use crate::stores::{declared_features, existing_tracking, model_name};

/// How long to be silent about progress.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    request: BacktestRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let models = models(&request, settings)?;
    let project = &settings.project;
    let config = request.config;
    let store = declared_features(settings)?;
    let table = training_table(project, &store, &settings.service.value, None).await?;
    let target = &settings.target_column.value;
    let frame = btc_pipeline::frame_for(&table, target, config.origins)?.series;
    if let Some(path) = &config.checkpoint {
        create_folder_of(path)?;
    }
    printer.note(format!(
        "backtest: {} models, {} origins, refit every {}, horizon {}, seed {}",
        models.len(),
        config.origins,
        config.refit_every,
        config.horizon,
        config.seed
    ));
    let report = compare(models, frame, config, interrupt.stop(), printer).await?;
    if let Some(path) = &request.html {
        write_whole(path, report.to_html().as_bytes())?;
        printer.note(format!("wrote {}", path.display()));
    }
    view::report(&report, printer)?;
    Ok(ExitCode::SUCCESS)
}

/// The baselines, the networks asked for, and the champion if there is one.
fn models(request: &BacktestRequest, settings: &Settings) -> anyhow::Result<Vec<Box<dyn Model>>> {
    let mut models: Vec<Box<dyn Model>> = Vec::new();
    for baseline in Baseline::ALL {
        models.push(Box::new(baseline));
    }
    for network in &request.networks {
        models.push(Box::new(NetworkModel::new(
            network.name(),
            NetworkConfig::new(*network, &request.hyperparameters),
            TrainConfig::new(&request.hyperparameters),
        )));
    }
    let client = existing_tracking(settings)?;
    models.extend(champion(&client, &model_name(&client, settings)?)?);
    Ok(models)
}

/// The champion's network and training, fitted anew at each refit: as it was registered, it has
/// seen days that are forecast here.
fn champion(client: &TrackingClient, model: &str) -> anyhow::Result<Option<Box<dyn Model>>> {
    let version = match client.model_version_by_alias(model, btc_pipeline::CHAMPION) {
        Ok(version) => version.version,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (_, forecaster) = btc_pipeline::load_version(client, model, Some(version))?;
    let (network, config) = (
        forecaster.network().clone(),
        forecaster.train_config().clone(),
    );
    Ok(Some(Box::new(NetworkModel::new(
        btc_pipeline::CHAMPION,
        network,
        config,
    ))))
}

/// Runs the comparison beside a person who waits.
async fn compare(
    models: Vec<Box<dyn Model>>,
    frame: SeriesFrame,
    config: Config,
    stop: Arc<AtomicBool>,
    printer: &mut Printer,
) -> anyhow::Result<Report> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        backtest::run(&models, &frame, &config, &|progress| {
            // If nobody listens any more, the command is being ended.
            let _ = sender.send((progress.model.to_owned(), progress.done, progress.total));
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    let mut told = Instant::now();
    while let Some((model, done, total)) = receiver.recv().await {
        if QUIET_INTERVAL <= told.elapsed() {
            printer.note(format!(
                "  {done} of {total} parts, the last one of {model}"
            ));
            told = Instant::now();
        }
    }
    Ok(work.await??)
}
