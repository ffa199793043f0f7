//! `btc pipeline`: the whole workflow in one go.

use std::process::ExitCode;
use std::sync::Arc;

use btc_ingest::arrow::array::RecordBatch;
use btc_pipeline::{
    Event, Observer, Prediction, Registration, Retrieval, SearchOutcome, ServiceTables,
    TableSource, Workflow,
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
use crate::stores::{feature_store, tables, tracking_client, workflow};

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
    let trials = request.search.search.n_trials.get();
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(trials));
    let interrupt = Interrupt::listen()?;
    let tables = tables_of(request.source, settings);

    stage(&console, 1, data_stage(request.source));
    interrupt
        .give_up(tables.retrieve(settings.now, &*console))
        .await??;
    stage(&console, 2, "features");
    apply(settings, &console)?;
    // No store is made where there is nothing to search on.
    let table = tables.table(None).await?;
    let workflow = compose(&request, tables, settings, &interrupt)?;
    stage(&console, 3, "tune");
    tune::tell(&request.search, settings, printer)?;
    let search = tune::search(workflow.clone(), table.clone(), console.clone(), &interrupt).await?;
    if interrupt.asked() {
        prediction::outcome(&search, printer)?;
        printer.warn("interrupted: nothing is registered; run again to add trials");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let (registration, prediction) = register(workflow, table, &console).await?;
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

fn tables_of(source: MarketSource, settings: &Settings) -> ServiceTables {
    tables(settings).with_retrieval(match source {
        MarketSource::Sample => Retrieval::Sample,
        MarketSource::Services => Retrieval::Pull(Box::new(pull_config(settings))),
        MarketSource::Saved => Retrieval::Saved,
    })
}

/// The workflow that is asked for. A model that is worse than naive is registered, and tagged so.
fn compose(
    request: &PipelineRequest,
    tables: ServiceTables,
    settings: &Settings,
    interrupt: &Interrupt,
) -> anyhow::Result<Workflow> {
    let client = tracking_client(settings)?;
    let workflow = workflow(&request.search.name, tables, client, settings)?;
    let mut workflow = tune::of_request(&request.search, workflow, settings, interrupt)?;
    workflow.register.allow_worse_than_naive = true;
    Ok(workflow)
}

fn stage(console: &Console, index: usize, name: &str) {
    console.event(&Event::Stage {
        index,
        total: 5,
        name,
    });
}

fn data_stage(source: MarketSource) -> &'static str {
    match source {
        MarketSource::Sample => "data: a synthetic market",
        MarketSource::Services | MarketSource::Saved => "data",
    }
}

fn apply(settings: &Settings, console: &Console) -> anyhow::Result<()> {
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
    workflow: Workflow,
    table: RecordBatch,
    console: &Arc<Console>,
) -> anyhow::Result<(Registration, Prediction)> {
    stage(console, 4, "register");
    let console = console.clone();
    let done = tokio::task::spawn_blocking(move || {
        let registration = workflow.register(&table)?;
        stage(&console, 5, "predict");
        let prediction = workflow.predict(&table)?;
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
