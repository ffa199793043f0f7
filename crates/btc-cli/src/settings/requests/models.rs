//! What is asked of searches, models and forecasts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use btc_models::{
    Baseline, Hyperparameters, Model, ModelType, NetworkConfig, NetworkModel, TrainConfig, backtest,
};
use btc_pipeline::{
    BacktestConfig, PastData, PredictConfig, RegisterConfig, SearchConfig, SearchSpace, StudyConfig,
};

use crate::cli::backtest::BacktestArgs;
use crate::cli::model::RegisterBestArgs;
use crate::cli::pipeline::PipelineArgs;
use crate::cli::predict::PredictArgs;
use crate::cli::tune::{RunArgs, SearchArgs};
use crate::errors::UsageError;
use crate::settings::resolve::Settings;

/// A search to be run.
#[derive(Debug)]
pub(crate) struct SearchRequest {
    /// The name of the experiment and the study.
    pub(crate) name: String,
    pub(crate) study: StudyConfig,
    pub(crate) search: SearchConfig,
}

impl SearchRequest {
    pub(crate) fn new(args: &RunArgs, settings: &Settings) -> Self {
        let size = (args.n_trials, args.timesteps, args.prediction_length);
        Self::of(&args.search, size, settings)
    }

    fn of(
        args: &SearchArgs,
        (n_trials, timesteps, prediction_length): (NonZeroUsize, usize, Option<NonZeroUsize>),
        settings: &Settings,
    ) -> Self {
        let name = &settings.experiment_name.value;
        let space = SearchSpace {
            model_types: args.model_type.into_iter().collect(),
            timesteps: (timesteps > 0).then_some(timesteps),
        };
        Self {
            name: match args.experiment_version {
                0 | 1 => name.clone(),
                version => format!("{name}-v{version}"),
            },
            study: StudyConfig {
                seed: args.seed,
                sampler: args.sampler,
                pruner: args.pruner,
            },
            search: SearchConfig {
                space: Arc::new(space),
                n_trials,
                jobs: args.jobs,
                prediction_length: prediction_length
                    .map_or(btc_pipeline::DEFAULT_PREDICTION_LENGTH, NonZeroUsize::get),
                folds: args.folds,
                holdout: args.holdout,
                target: args.target.clone(),
                seed: args.seed,
                ..SearchConfig::default()
            },
        }
    }
}

/// The whole workflow.
#[derive(Debug)]
pub(crate) struct PipelineRequest {
    pub(crate) source: MarketSource,
    pub(crate) search: SearchRequest,
}

/// Where the workflow's market data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarketSource {
    /// The two services.
    Services,
    /// What is saved.
    Saved,
    /// A synthetic market.
    Sample,
}

impl PipelineRequest {
    pub(crate) fn new(mut args: PipelineArgs, settings: &Settings) -> Self {
        // The original's script trains CNNs; a search over every network is a flag away.
        args.search.model_type.get_or_insert(ModelType::Cnn);
        let size = (args.n_trials, args.timesteps, args.prediction_length);
        Self {
            source: match (args.sample, args.offline) {
                (true, _) => MarketSource::Sample,
                (false, true) => MarketSource::Saved,
                (false, false) => MarketSource::Services,
            },
            search: SearchRequest::of(&args.search, size, settings),
        }
    }
}

/// How the run is chosen that is registered.
pub(crate) fn register(args: RegisterBestArgs) -> RegisterConfig {
    RegisterConfig {
        metric: args.metric,
        maximize: args.maximize,
        allow_worse_than_naive: args.allow_worse_than_naive,
        champion: args.champion,
        ..RegisterConfig::default()
    }
}

/// The forecast to be made.
pub(crate) fn predict(args: &PredictArgs, settings: &Settings) -> PredictConfig {
    PredictConfig {
        version: args.version,
        date_end: args.date_end,
        timesteps: args.timesteps,
        refuse_holes: args.refuse_holes,
        ..PredictConfig::new(&settings.model_name.value)
    }
}

/// Models to be compared over past days.
#[derive(Debug)]
pub(crate) struct BacktestRequest {
    /// The models besides the champion.
    pub(crate) models: Vec<Box<dyn Model>>,
    pub(crate) config: BacktestConfig,
    pub(crate) html: Option<PathBuf>,
}

impl BacktestRequest {
    pub(crate) fn new(args: BacktestArgs, settings: &Settings) -> Result<Self, UsageError> {
        let checkpoint = args.checkpoint.clone();
        let checkpoint =
            checkpoint.unwrap_or_else(|| settings.project.reports().join("backtest.jsonl"));
        let mut config = backtest::Config::default()
            .with_origins(args.origins.get())
            .with_refit_every(args.refit.get())
            .with_seeds(args.seed, args.seeds.get())
            .with_jobs(args.jobs)
            .with_checkpoint(checkpoint);
        if args.combine {
            config = config.with_combinations();
        }
        Ok(Self {
            models: models(&networks(&args.models)?, args.epochs.get()),
            config: BacktestConfig {
                comparison: config,
                data: match args.vintage {
                    true => PastData::AsKnown,
                    false => PastData::Newest,
                },
            },
            html: args.html,
        })
    }
}

/// The baselines, and the networks with so many epochs.
fn models(networks: &[ModelType], epochs: usize) -> Vec<Box<dyn Model>> {
    let hyperparameters = Hyperparameters::default().with_epochs(epochs);
    let mut models: Vec<Box<dyn Model>> = Vec::new();
    for baseline in Baseline::ALL {
        models.push(Box::new(baseline));
    }
    for network in networks {
        models.push(Box::new(NetworkModel::new(
            network.name(),
            NetworkConfig::new(*network, &hyperparameters),
            TrainConfig::new(&hyperparameters),
        )));
    }
    models
}

/// The networks among `names`; baselines are compared anyway.
fn networks(names: &[String]) -> Result<Vec<ModelType>, UsageError> {
    let mut networks = Vec::new();
    for name in names {
        let named = match name.parse::<ModelType>() {
            Ok(network) => vec![network],
            Err(_) if name.eq_ignore_ascii_case("all") => ModelType::ALL.to_vec(),
            Err(_) if name.parse::<Baseline>().is_ok() => continue,
            Err(error) => return Err(UsageError(format!("--models: {error}"))),
        };
        for network in named {
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
    }
    Ok(networks)
}
