//! `btc tune run`: search hyperparameters.

use std::process::ExitCode;
use std::sync::Arc;

use btc_ingest::PullConfig;
use btc_ingest::arrow::array::RecordBatch;
use btc_pipeline::{Retrieval, SearchOutcome, TableSource, Workflow};

use crate::errors::InterruptedError;
use crate::exit::INTERRUPTED;
use crate::interrupt::Interrupt;
use crate::output::printer::Printer;
use crate::output::progress::Console;
use crate::output::views::prediction as view;
use crate::settings::requests::models::SearchRequest;
use crate::settings::resolve::Settings;
use crate::stores::{study_storage, tables, tracking_client, workflow};

/// Runs a search, after a pull if there is one to be made.
pub(crate) async fn run(
    request: SearchRequest,
    pull: Option<PullConfig>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let trials = request.search.n_trials.get();
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(trials));
    let tables = match pull {
        Some(config) => tables(settings).with_retrieval(Retrieval::Pull(Box::new(config))),
        None => tables(settings),
    };
    interrupt
        .give_up(tables.retrieve(settings.now, &*console))
        .await??;
    tell(&request, settings, printer)?;
    // Nothing is made where there is nothing to search on.
    let table = tables.table(None).await?;
    let client = tracking_client(settings)?;
    let workflow = of_request(
        &request,
        workflow(&request.name, tables, client, settings)?,
        settings,
        &interrupt,
    )?;
    let outcome = search(workflow, table, console, &interrupt).await?;
    view::outcome(&outcome, printer)?;
    if interrupt.asked() {
        printer.warn("interrupted: the study goes on with the next run");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is going to be searched.
pub(crate) fn tell(
    request: &SearchRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    btc_tune::check_storage_url(&settings.storage_url.value)?;
    printer.note(format!(
        "study {} in {}: {} trials, seed {}, {} at a time, hold-out {} days",
        request.name,
        settings.storage_url.value,
        request.search.n_trials,
        request.study.seed,
        request.search.jobs,
        request.search.holdout
    ));
    Ok(())
}

/// The workflow with the settings of a search, which ends when it is interrupted.
pub(crate) fn of_request(
    request: &SearchRequest,
    workflow: Workflow,
    settings: &Settings,
    interrupt: &Interrupt,
) -> anyhow::Result<Workflow> {
    let mut workflow = workflow.with_storage(study_storage(settings)?);
    workflow.study = request.study;
    workflow.search = request.search.clone();
    workflow.search.stop = interrupt.stop();
    Ok(workflow)
}

/// Runs the search of a workflow beside a person who may interrupt it.
pub(crate) async fn search(
    workflow: Workflow,
    table: RecordBatch,
    console: Arc<Console>,
    interrupt: &Interrupt,
) -> anyhow::Result<SearchOutcome> {
    let done = tokio::task::spawn_blocking(move || workflow.search(&table, &*console)).await?;
    done.map_err(|error| match interrupt.asked() {
        // As far as it went, there is nothing to show.
        true => anyhow::Error::from(error).context(InterruptedError),
        false => error.into(),
    })
}
