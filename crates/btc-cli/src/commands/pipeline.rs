//! `btc pipeline`: the whole workflow in one go.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use btc_pipeline::{
    Event, Observer, PredictConfig, Prediction, RegisterConfig, Registration, SearchOutcome,
};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::predict::{MODEL_NAME, print_prediction};
use crate::commands::{data, model, tune};
use crate::printer::Printer;
use crate::progress::Console;
use crate::settings::Settings;
use crate::tracking::tracking_client;

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Pull, apply, tune, register and predict
    Run(PipelineArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc pipeline run --sample\n  btc pipeline run --model-type LSTM --n-trials 10"
)]
pub(crate) struct PipelineArgs {
    /// Use a synthetic market instead of real data; needs no network
    #[arg(long)]
    sample: bool,
    /// Use what is saved; ask no service
    #[arg(long, conflicts_with = "sample")]
    offline: bool,
    #[command(flatten)]
    endpoints: data::Endpoints,
    #[command(flatten)]
    search: tune::SearchArgs,
    /// Trials to add to the study
    #[arg(long, alias = "n_trials", value_name = "N", default_value = "4")]
    n_trials: NonZeroUsize,
    /// Rows of a window; 0 searches 5, 10, 20 and 30
    #[arg(long, value_name = "N", default_value_t = 10)]
    timesteps: usize,
    /// One-step forecasts in the set that trials are compared on
    #[arg(
        long,
        alias = "prediction_length",
        value_name = "N",
        default_value_t = 10
    )]
    prediction_length: usize,
    /// The registered model's name
    #[arg(long, value_name = "NAME", default_value = MODEL_NAME)]
    model_name: String,
}

/// What the whole workflow gave.
#[derive(Debug, Serialize)]
struct Summary {
    search: SearchOutcome,
    registration: Registration,
    prediction: Prediction,
}

const STAGES: usize = 5;

pub(crate) async fn run(
    command: PipelineCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let PipelineCommand::Run(mut args) = command;
    // The original's script trains CNNs; a search over every network is a flag away.
    args.search
        .model_type
        .get_or_insert(btc_models::ModelType::Cnn);
    settings.project.create()?;
    printer.note(format!("project {}", settings.project.root().display()));
    let console = Arc::new(Console::new(printer.is_quiet()).with_trials(args.n_trials.get()));
    let stage = |index, name: &str| {
        console.event(&Event::Stage {
            index,
            total: STAGES,
            name,
        })
    };

    stage(
        1,
        if args.sample {
            "data: a synthetic market"
        } else {
            "data"
        },
    );
    retrieve(&args, settings, &console).await?;

    stage(2, "features");
    let definitions = btc_pipeline::definitions(&settings.project)?;
    let mut store = btc_features::FeatureStore::open(&settings.project.features_dir())?;
    let plan = store.apply(&definitions)?;
    if !plan.is_empty() {
        for line in plan.to_string().lines() {
            console.event(&Event::Note(line));
        }
    }

    stage(3, "tune");
    let stop = tune::stop_on_interrupt();
    let search_args = tune::RunArgs::of(
        &args.search,
        args.n_trials,
        args.timesteps,
        args.prediction_length,
    );
    let search = tune::search(&search_args, settings, printer, console.clone(), stop).await?;
    if search.stopped {
        tune::print_outcome(&search, printer)?;
        printer.warn("interrupted: nothing is registered; run again to add trials");
        return Ok(ExitCode::from(crate::exit::FAILURE));
    }

    stage(4, "register");
    let client = tracking_client(settings)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, btc_pipeline::SERVICE, None)
            .await?;
    let register = RegisterConfig {
        experiment: args.search.name(settings),
        model_name: args.model_name.clone(),
        allow_worse_than_naive: true,
        data_hash: btc_ingest::data_hash(&settings.project.data_dir())?,
        ..RegisterConfig::default()
    };
    let predict = PredictConfig {
        data_hash: btc_ingest::data_hash(&settings.project.data_dir())?,
        ..PredictConfig::new(args.model_name)
    };
    let hears = console.clone();
    let (registration, prediction) = tokio::task::spawn_blocking(move || {
        let registration = btc_pipeline::register_best(&client, &register, &table)?;
        hears.event(&Event::Stage {
            index: 5,
            total: STAGES,
            name: "predict",
        });
        let prediction = btc_pipeline::predict(&client, &predict, &table)?;
        Ok::<_, btc_pipeline::Error>((registration, prediction))
    })
    .await??;

    let summary = Summary {
        search,
        registration,
        prediction,
    };
    if printer.is_json() {
        printer.json(&summary)?;
    } else {
        tune::print_outcome(&summary.search, printer)?;
        model::print_registration(&summary.registration, printer)?;
        print_prediction(&summary.prediction, printer)?;
    }
    if args.sample {
        printer.note("the market is synthetic: nothing here says anything about Bitcoin");
    }
    Ok(ExitCode::SUCCESS)
}

async fn retrieve(
    args: &PipelineArgs,
    settings: &Settings,
    console: &Console,
) -> anyhow::Result<()> {
    if args.sample {
        let project = settings.project.clone();
        tokio::task::spawn_blocking(move || btc_pipeline::retrieve_sample(&project)).await??;
    } else if !args.offline {
        btc_ingest::pull(&data::pull_config(&args.endpoints, settings), console).await?;
    }
    Ok(())
}
