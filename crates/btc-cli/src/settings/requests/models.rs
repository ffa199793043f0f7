//! What is asked of searches, models and forecasts.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use btc_models::candle_core::Device;
use btc_models::{Baseline, Hyperparameters, ModelType, Target, backtest};
use btc_pipeline::{PredictConfig, RegisterConfig, SearchSpace, StudyConfig};

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
    pub(crate) space: SearchSpace,
    pub(crate) n_trials: NonZeroUsize,
    pub(crate) jobs: NonZeroUsize,
    pub(crate) prediction_length: usize,
    pub(crate) folds: NonZeroUsize,
    pub(crate) horizon: NonZeroUsize,
    pub(crate) device: Device,
    pub(crate) holdout: usize,
    pub(crate) target: Target,
}

impl SearchRequest {
    pub(crate) fn new(args: &RunArgs, settings: &Settings) -> Result<Self, UsageError> {
        let size = (args.n_trials, args.timesteps, args.prediction_length);
        Self::of(&args.search, size, settings)
    }

    fn of(
        args: &SearchArgs,
        (n_trials, timesteps, prediction_length): (NonZeroUsize, usize, Option<NonZeroUsize>),
        settings: &Settings,
    ) -> Result<Self, UsageError> {
        let name = &settings.experiment_name.value;
        Ok(Self {
            name: match args.experiment_version {
                0 | 1 => name.clone(),
                version => format!("{name}-v{version}"),
            },
            study: StudyConfig {
                seed: args.seed,
                sampler: args.sampler,
                pruner: args.pruner,
            },
            space: SearchSpace {
                model_types: args.model_type.into_iter().collect(),
                timesteps: (timesteps > 0).then_some(timesteps),
            },
            n_trials,
            jobs: args.jobs,
            prediction_length: prediction_length
                .map_or(btc_pipeline::DEFAULT_PREDICTION_LENGTH, NonZeroUsize::get),
            folds: args.folds,
            horizon: settings.horizon.value,
            device: device(&settings.device.value)?,
            holdout: args.holdout,
            target: args.target.clone(),
        })
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
    pub(crate) fn new(mut args: PipelineArgs, settings: &Settings) -> Result<Self, UsageError> {
        // The original's script trains CNNs; a search over every network is a flag away.
        args.search.model_type.get_or_insert(ModelType::Cnn);
        let size = (args.n_trials, args.timesteps, args.prediction_length);
        Ok(Self {
            source: match (args.sample, args.offline) {
                (true, _) => MarketSource::Sample,
                (false, true) => MarketSource::Saved,
                (false, false) => MarketSource::Services,
            },
            search: SearchRequest::of(&args.search, size, settings)?,
        })
    }
}

/// The run to be registered; the data's hash is filled in where the data is read.
pub(crate) fn register(args: RegisterBestArgs, settings: &Settings) -> RegisterConfig {
    RegisterConfig {
        experiment: settings.experiment_name.value.clone(),
        metric: args.metric,
        maximize: args.maximize,
        model_name: settings.model_name.value.clone(),
        allow_worse_than_naive: args.allow_worse_than_naive,
        champion: args.champion,
        ..RegisterConfig::default()
    }
}

/// The forecast to be made; the data's hash is filled in where the data is read.
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
    /// The networks besides the baselines and the champion.
    pub(crate) networks: Vec<ModelType>,
    pub(crate) hyperparameters: Hyperparameters,
    pub(crate) config: backtest::Config,
    /// Whether models see the data as it was known at each origin.
    pub(crate) vintage: bool,
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
            .with_horizon(settings.horizon.value.get())
            .with_seeds(args.seed, args.seeds.get())
            .with_jobs(args.jobs)
            .with_checkpoint(checkpoint);
        if args.combine {
            config = config.with_combinations();
        }
        Ok(Self {
            networks: networks(&args.models)?,
            hyperparameters: Hyperparameters::default().with_epochs(args.epochs.get()),
            config,
            vintage: args.vintage,
            html: args.html,
        })
    }
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

/// What networks are computed on.
fn device(name: &str) -> Result<Device, UsageError> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let wrong = || {
        UsageError(format!(
            "--device {name:?}: use cpu, or cuda:0 or metal:0 in a program that is built for it"
        ))
    };
    let index = index.parse().map_err(|_| wrong())?;
    let opened = match kind {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(index),
        "metal" => Device::new_metal(index),
        _ => return Err(wrong()),
    };
    opened.map_err(|error| UsageError(format!("--device {name}: {error}")))
}
