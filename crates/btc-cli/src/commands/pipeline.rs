//! `btc pipeline`: the whole workflow in one go.

use std::process::ExitCode;
use std::sync::Arc;

use btc_pipeline::{
    Event, Observer, PredictConfig, Prediction, RegisterConfig, Registration, SearchOutcome,
};
use serde::Serialize;

use crate::commands::tune;
use crate::exit::INTERRUPTED;
use crate::interrupt::Interrupt;
use crate::output::printer::Printer;
use crate::output::progress::Console;
use crate::output::views::{model, prediction};
use crate::settings::requests::data::pull_config;
use crate::settings::requests::models::{MarketSource, PipelineRequest};
use crate::settings::resolve::Settings;
use crate::stores::{feature_store, tracking_client};

/// What the whole workflow gave.
#[derive(Debug, Serialize)]
struct Summary {
    search: SearchOutcome,
    registration: Registration,
    prediction: Prediction,
}

pub(crate) async fn run(
    request: PipelineRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    btc_tune::check_storage_url(&settings.storage_url.value)?;
    settings.project.create()?;
    printer.note(format!("project {}", settings.project.root().display()));
    let trials = request.search.n_trials.get();
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(trials));
    let interrupt = Interrupt::listen()?;
    interrupt
        .give_up(retrieve(request.source, settings, &console))
        .await??;
    apply(settings, &console)?;

    stage(&console, 3, "tune");
    let search = &request.search;
    let search = tune::search(search, settings, printer, console.clone(), &interrupt).await?;
    if interrupt.asked() {
        prediction::outcome(&search, printer)?;
        printer.warn("interrupted: nothing is registered; run again to add trials");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let (registration, prediction) = register(&request, settings, &console).await?;
    let summary = Summary {
        search,
        registration,
        prediction,
    };
    show(&summary, printer)?;
    if request.source == MarketSource::Sample {
        printer.note("the market is synthetic: nothing here says anything about Bitcoin");
    }
    Ok(ExitCode::SUCCESS)
}

fn stage(console: &Console, index: usize, name: &str) {
    console.event(&Event::Stage {
        index,
        total: 5,
        name,
    });
}

async fn retrieve(
    source: MarketSource,
    settings: &Settings,
    console: &Console,
) -> anyhow::Result<()> {
    let name = match source {
        MarketSource::Sample => "data: a synthetic market",
        MarketSource::Services | MarketSource::Saved => "data",
    };
    stage(console, 1, name);
    match source {
        MarketSource::Sample => {
            let project = settings.project.clone();
            tokio::task::spawn_blocking(move || btc_pipeline::retrieve_sample(&project)).await??;
        }
        MarketSource::Services => {
            btc_ingest::pull(&pull_config(settings), console).await?;
        }
        MarketSource::Saved => {}
    }
    Ok(())
}

fn apply(settings: &Settings, console: &Console) -> anyhow::Result<()> {
    stage(console, 2, "features");
    let definitions = btc_pipeline::definitions(&settings.project)?;
    let plan = feature_store(settings)?.apply(&definitions)?;
    if !plan.is_empty() {
        for line in plan.to_string().lines() {
            console.event(&Event::Note(line));
        }
    }
    Ok(())
}

async fn register(
    request: &PipelineRequest,
    settings: &Settings,
    console: &Arc<Console>,
) -> anyhow::Result<(Registration, Prediction)> {
    stage(console, 4, "register");
    let project = &settings.project;
    let client = tracking_client(settings)?;
    let store = feature_store(settings)?;
    let service = &settings.service.value;
    let table = btc_pipeline::training_table(project, &store, service, None).await?;
    let data_hash = btc_ingest::data_hash(project.data_dir())?;
    let register = RegisterConfig {
        experiment: request.search.name.clone(),
        model_name: settings.model_name.value.clone(),
        allow_worse_than_naive: true,
        data_hash: data_hash.clone(),
        ..RegisterConfig::default()
    };
    let predict = PredictConfig {
        data_hash,
        ..PredictConfig::new(&settings.model_name.value)
    };
    let console = console.clone();
    let done = tokio::task::spawn_blocking(move || {
        let registration = btc_pipeline::register_best(&client, &register, &table)?;
        stage(&console, 5, "predict");
        let prediction = btc_pipeline::predict(&client, &predict, &table)?;
        Ok::<_, btc_pipeline::Error>((registration, prediction))
    });
    Ok(done.await??)
}

fn show(summary: &Summary, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(summary);
    }
    prediction::outcome(&summary.search, printer)?;
    model::registration(&summary.registration, printer)?;
    prediction::prediction(&summary.prediction, printer)
}
