//! `btc tune run`: search hyperparameters.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use btc_ingest::PullConfig;
use btc_pipeline::{SearchConfig, SearchOutcome, training_table};

use crate::errors::InterruptedError;
use crate::exit::INTERRUPTED;
use crate::interrupt::Interrupt;
use crate::output::printer::Printer;
use crate::output::progress::Console;
use crate::output::views::prediction as view;
use crate::settings::requests::models::SearchRequest;
use crate::settings::resolve::Settings;
use crate::stores::{declared_features, study_storage, tracking_client};

/// Runs a search, after a pull if there is one to be made.
pub(crate) async fn run(
    request: SearchRequest,
    pull: Option<PullConfig>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(request.n_trials.get()));
    if let Some(config) = pull {
        settings.project.create()?;
        interrupt
            .give_up(btc_ingest::pull(&config, &*console))
            .await??;
    }
    let outcome = search(&request, settings, printer, console, &interrupt).await?;
    view::outcome(&outcome, printer)?;
    if interrupt.asked() {
        printer.warn("interrupted: the study goes on with the next run");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the search over the project's data.
pub(crate) async fn search(
    request: &SearchRequest,
    settings: &Settings,
    printer: &mut Printer,
    console: Arc<Console>,
    interrupt: &Interrupt,
) -> anyhow::Result<SearchOutcome> {
    let name = &request.name;
    btc_tune::check_storage_url(&settings.storage_url.value)?;
    printer.note(format!(
        "study {name} in {}: {} trials, seed {}, {} at a time, hold-out {} days",
        settings.storage_url.value,
        request.n_trials,
        request.study.seed,
        request.jobs,
        request.holdout
    ));
    let project = &settings.project;
    let store = declared_features(settings)?;
    let table = training_table(project, &store, &settings.service.value, None).await?;
    let unseen = request.holdout.saturating_add(request.prediction_length);
    let frame = btc_pipeline::frame_for(&table, &settings.target_column.value, unseen)?;
    let client = tracking_client(settings)?;
    let experiment = client.get_or_create_experiment(name)?;
    let study = btc_pipeline::open_study(study_storage(settings)?, name, &request.study)?;
    let data_hash = btc_ingest::data_hash(&project.data_dir())?;
    let config = config(request, data_hash, interrupt.stop());
    let done = tokio::task::spawn_blocking(move || {
        let id = &experiment.experiment_id;
        btc_pipeline::search(&study, &client, id, &frame, &config, &*console)
    })
    .await?;
    done.map_err(|error| match interrupt.asked() {
        // As far as it went, there is nothing to show.
        true => anyhow::Error::from(error).context(InterruptedError),
        false => error.into(),
    })
}

fn config(request: &SearchRequest, data_hash: String, stop: Arc<AtomicBool>) -> SearchConfig {
    SearchConfig {
        space: Arc::new(request.space.clone()),
        folds: request.folds,
        horizon: request.horizon,
        device: request.device.clone(),
        n_trials: request.n_trials,
        jobs: request.jobs,
        prediction_length: request.prediction_length,
        holdout: request.holdout,
        target: request.target.clone(),
        seed: request.study.seed,
        data_hash,
        stop,
    }
}
