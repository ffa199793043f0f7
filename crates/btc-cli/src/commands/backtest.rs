//! `btc backtest`: models compared over rolling origins.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btc_features::Definitions;
use btc_models::backtest::{self, Config, Progress, Report};
use btc_models::{Baseline, Model, NetworkConfig, NetworkModel, SeriesFrame, TrainConfig};
use btc_pipeline::{Project, champion_model, training_table, vintage_table};
use chrono::{DateTime, Utc};

use crate::interrupt::Interrupt;
use crate::output::file::{create_folder_of, write_whole};
use crate::output::printer::Printer;
use crate::output::views::backtest as view;
use crate::settings::requests::models::BacktestRequest;
use crate::settings::resolve::Settings;
use crate::stores::{declared, declared_features, existing_tracking, model_name, previewed};

/// How long to be silent about progress.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    request: BacktestRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let mut models = models(&request);
    let client = existing_tracking(settings)?;
    let champion = champion_model(&client, &model_name(&client, settings)?)?;
    let mut config = request.config;
    if let Some(champion) = champion {
        models.push(Box::new(champion.model));
        for (first, last) in champion.chosen_on {
            config = config.with_chosen_on(first, last);
        }
    }
    let project = &settings.project;
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
    let past = request.vintage.then(|| Past::new(settings)).transpose()?;
    let report = compare(models, frame, past, config, interrupt.stop(), printer).await?;
    if let Some(path) = &request.html {
        write_whole(path, report.to_html().as_bytes())?;
        printer.note(format!("wrote {}", path.display()));
    }
    view::report(&report, printer)?;
    Ok(ExitCode::SUCCESS)
}

/// The baselines and the networks asked for.
fn models(request: &BacktestRequest) -> Vec<Box<dyn Model>> {
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
    models
}

/// The data as it was known in the past.
struct Past {
    project: Project,
    definitions: Definitions,
    service: String,
    target: String,
    runtime: tokio::runtime::Handle,
}

impl Past {
    fn new(settings: &Settings) -> btc_features::Result<Self> {
        Ok(Self {
            project: settings.project.clone(),
            definitions: declared(settings)?,
            service: settings.service.value.clone(),
            target: settings.target_column.value.clone(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// The series up to `at`, with what had been fetched by then.
    fn frame(&self, at: DateTime<Utc>) -> btc_pipeline::Result<SeriesFrame> {
        let store = previewed(&self.project, &self.definitions)?;
        let table = vintage_table(&self.project, store, &self.service, at);
        let table = self.runtime.block_on(table)?;
        Ok(btc_pipeline::frame_for(&table, &self.target, 0)?.series)
    }
}

/// Runs the comparison beside a person who waits; with a past, models see what was known then.
async fn compare(
    models: Vec<Box<dyn Model>>,
    frame: SeriesFrame,
    past: Option<Past>,
    config: Config,
    stop: Arc<AtomicBool>,
    printer: &mut Printer,
) -> anyhow::Result<Report> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        let on_progress = |progress: Progress<'_>| {
            // If nobody listens any more, the command is being ended.
            let _ = sender.send((progress.model.to_owned(), progress.done, progress.total));
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        match past {
            None => backtest::run(&models, &frame, &config, &on_progress),
            Some(past) => {
                let vintage = |at| past.frame(at).map_err(Into::into);
                backtest::run_vintage(&models, &frame, &vintage, &config, &on_progress)
            }
        }
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
