//! `btc tune`: search hyperparameters.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use btc_models::{ModelType, Target};
use btc_pipeline::{
    PrunerKind, SamplerKind, SearchConfig, SearchOutcome, SearchSpace, StudyConfig,
};
use clap::{Args, Subcommand};

use crate::args::parse_bool;
use crate::commands::data;
use crate::commands::studies::{self, StudyCommand};
use crate::printer::Printer;
use crate::progress::Console;
use crate::settings::Settings;
use crate::tracking::tracking_client;

#[derive(Debug, Subcommand)]
pub(crate) enum TuneCommand {
    /// Add trials to a study; every trial is a run
    Run(RunArgs),
    #[command(flatten)]
    Study(StudyCommand),
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  btc tune run --model-type CNN --n-trials 4 --timesteps 10 --prediction-length 10\n  btc tune run --n-trials 50 --jobs 2"
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Pull data first
    #[arg(long, alias = "pull_data", value_name = "BOOL", value_parser = parse_bool,
          action = clap::ArgAction::Set, default_value = "false")]
    pull_data: bool,
    #[command(flatten)]
    endpoints: data::Endpoints,
    /// Trials to add to the study
    #[arg(long, alias = "n_trials", value_name = "N", default_value = "2")]
    pub(crate) n_trials: NonZeroUsize,
    /// Rows of a window; 0 searches 5, 10, 20 and 30
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) timesteps: usize,
    /// One-step forecasts in the set that trials are compared on
    #[arg(
        long,
        alias = "prediction_length",
        value_name = "N",
        default_value_t = 5
    )]
    pub(crate) prediction_length: usize,
}

impl RunArgs {
    /// A search over saved data.
    pub(crate) fn of(
        search: &SearchArgs,
        n_trials: NonZeroUsize,
        timesteps: usize,
        prediction_length: usize,
    ) -> Self {
        let endpoints = data::Endpoints::default();
        let search = search.clone();
        Self {
            search,
            pull_data: false,
            endpoints,
            n_trials,
            timesteps,
            prediction_length,
        }
    }
}

/// What a search takes besides its size.
#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// The network; all of them when none is named
    #[arg(long, alias = "model_type", value_name = "NAME")]
    pub(crate) model_type: Option<ModelType>,
    /// The experiment and study [default: crypto-reg-experiment]
    #[arg(long, alias = "experiment_name", value_name = "NAME")]
    pub(crate) experiment_name: Option<String>,
    /// The version of the experiment; above 1 it is appended to the name
    #[arg(long = "version", value_name = "N", default_value_t = 1)]
    pub(crate) experiment_version: u32,
    /// Days at the end that no trial sees; they judge the model at registration
    #[arg(long, value_name = "DAYS", default_value_t = 60)]
    pub(crate) holdout: usize,
    /// What the networks forecast: log-return, difference or level
    #[arg(long, value_name = "TARGET", default_value = "log-return")]
    pub(crate) target: Target,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How values are chosen: auto, tpe, gp, cmaes, qmc or random
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) sampler: SamplerKind,
    /// Which trials end early: median, hyperband, successive-halving or none
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(crate) pruner: PrunerKind,
    /// Trials to run at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// The study's storage, such as sqlite:///studies.db [default: studies.db under the root]
    #[arg(long, value_name = "URL")]
    pub(crate) storage: Option<String>,
}

impl SearchArgs {
    /// The name of the experiment and the study.
    pub(crate) fn name(&self, settings: &Settings) -> String {
        let name = self
            .experiment_name
            .as_deref()
            .unwrap_or(&settings.experiment_name.value);
        match self.experiment_version {
            0 | 1 => name.to_owned(),
            version => format!("{name}-v{version}"),
        }
    }
}

pub(crate) async fn run(
    command: TuneCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        TuneCommand::Run(args) => run_search(args, settings, printer).await,
        TuneCommand::Study(command) => studies::run(command, settings, printer),
    }
}

async fn run_search(
    args: RunArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(args.n_trials.get()));
    if args.pull_data {
        settings.project.create()?;
        btc_ingest::pull(&data::pull_config(&args.endpoints, settings), &*console).await?;
    }
    let stop = stop_on_interrupt();
    let outcome = search(&args, settings, printer, console, stop).await?;
    print_outcome(&outcome, printer)?;
    Ok(match outcome.stopped {
        true => ExitCode::from(crate::exit::FAILURE),
        false => ExitCode::SUCCESS,
    })
}

/// Runs the search of `args` over the project's data.
pub(crate) async fn search(
    args: &RunArgs,
    settings: &Settings,
    printer: &mut Printer,
    console: Arc<Console>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<SearchOutcome> {
    let name = args.search.name(settings);
    let storage_url = args
        .search
        .storage
        .as_deref()
        .unwrap_or(&settings.storage_url.value);
    printer.note(format!(
        "study {name} in {storage_url}: {} trials, seed {}, {} at a time, hold-out {} days",
        args.n_trials, args.search.seed, args.search.jobs, args.search.holdout
    ));
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, btc_pipeline::SERVICE, None)
            .await?;
    let unseen = args.search.holdout.saturating_add(args.prediction_length);
    let frame = btc_pipeline::frame(&table, unseen)?;
    let client = tracking_client(settings)?;
    let experiment = client.get_or_create_experiment(&name)?;
    let storage = btc_tune::storage_from_url(storage_url)?;
    let study_config = StudyConfig {
        seed: args.search.seed,
        sampler: args.search.sampler,
        pruner: args.search.pruner,
    };
    let study = btc_pipeline::open_study(storage, &name, &study_config)?;
    let config = SearchConfig {
        space: Arc::new(SearchSpace {
            model_types: args.search.model_type.into_iter().collect(),
            timesteps: (args.timesteps > 0).then_some(args.timesteps),
        }),
        n_trials: args.n_trials,
        jobs: args.search.jobs,
        prediction_length: args.prediction_length,
        holdout: args.search.holdout,
        target: args.search.target,
        seed: args.search.seed,
        data_hash: btc_ingest::data_hash(&settings.project.data_dir())?,
        stop,
        ..SearchConfig::default()
    };
    let outcome = tokio::task::spawn_blocking(move || {
        btc_pipeline::search(
            &study,
            &client,
            &experiment.experiment_id,
            &frame,
            &config,
            &*console,
        )
    })
    .await??;
    Ok(outcome)
}

/// A flag that Ctrl-C and SIGTERM set: the running epochs end, the study stays consistent.
pub(crate) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    tokio::spawn(async move {
        if crate::commands::serve::interrupted().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
        // Whoever asks twice does not want to wait for the epoch.
        if crate::commands::serve::interrupted().await.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}

pub(crate) fn print_outcome(outcome: &SearchOutcome, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(outcome);
    }
    printer.line(format!(
        "best of {} trials: {} with MAPE {:.4} % (naive {:.4} %)",
        outcome.trials, outcome.best_trial, outcome.best_mape, outcome.naive_mape
    ))
}
