//! `btc backtest`: models compared over rolling origins.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btc_ingest::arrow::array::RecordBatch;
use btc_models::Model;
use btc_models::backtest::{Progress, Report};
use btc_pipeline::{TableSource, Workflow};

use crate::interrupt::Interrupt;
use crate::output::file::{create_folder_of, write_whole};
use crate::output::printer::Printer;
use crate::output::views::backtest as view;
use crate::settings::requests::models::BacktestRequest;
use crate::settings::resolve::Settings;
use crate::stores::{existing_tracking, model_name, tables, workflow};

/// How long to be silent about progress.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    request: BacktestRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let client = existing_tracking(settings)?;
    let model = model_name(&client, settings)?;
    let tables = tables(settings);
    let table = tables.table(None).await?;
    let experiment = &settings.experiment_name.value;
    let mut workflow = workflow(experiment, tables, client, settings)?.with_model_name(model);
    workflow.backtest = request.config;
    let config = &workflow.backtest.comparison;
    if let Some(path) = &config.checkpoint {
        create_folder_of(path)?;
    }
    let champion = usize::from(workflow.champion()?.is_some());
    printer.note(format!(
        "backtest: {} models, {} origins, refit every {}, horizon {}, seed {}",
        request.models.len() + champion,
        config.origins,
        config.refit_every,
        settings.horizon.value,
        config.seed
    ));
    let report = compare(workflow, request.models, table, interrupt.stop(), printer).await?;
    if let Some(path) = &request.html {
        write_whole(path, report.to_html().as_bytes())?;
        printer.note(format!("wrote {}", path.display()));
    }
    view::report(&report, printer)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the comparison beside a person who waits.
async fn compare(
    workflow: Workflow,
    models: Vec<Box<dyn Model>>,
    table: RecordBatch,
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
        workflow.backtest(models, &table, &on_progress)
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
