//! What is asked of a study.

use std::path::PathBuf;
use std::sync::Arc;

use btc_tune::{Distribution, ImportanceEvaluator, Outcome, Sampler, StudyDirection};
use serde_json::{Map, Value};

use crate::cli::studies::{AskArgs, ImportanceArgs, PlotArgs};
use crate::cli::values::{EvaluatorKind, Format, PlotKind, TellState};
use crate::errors::UsageError;

/// Parameters to be asked for.
#[derive(Debug)]
pub(crate) struct AskRequest {
    pub(crate) study: Option<String>,
    pub(crate) space: Vec<(String, Distribution)>,
    pub(crate) sampler: Arc<dyn Sampler>,
    pub(crate) direction: StudyDirection,
    pub(crate) format: Format,
}

impl AskRequest {
    pub(crate) fn new(args: AskArgs) -> anyhow::Result<Self> {
        let space: Map<String, Value> = serde_json::from_str(&args.search_space)
            .map_err(|error| UsageError(format!("--search-space is no JSON object: {error}")))?;
        let distribution = |(name, value): (String, Value)| {
            let distribution = Distribution::from_json(&value.to_string())
                .map_err(|error| UsageError(format!("--search-space, {name}: {error}")))?;
            Ok((name, distribution))
        };
        Ok(Self {
            study: args.study.name,
            space: space
                .into_iter()
                .map(distribution)
                .collect::<Result<_, UsageError>>()?,
            sampler: args.sampler.build(args.seed)?,
            direction: args.direction,
            format: args.format.unwrap_or(Format::Json),
        })
    }
}

/// How a trial ended.
pub(crate) fn outcome(state: TellState, values: Vec<f64>) -> Outcome {
    match state {
        TellState::Complete => Outcome::Complete(values),
        TellState::Pruned => Outcome::Pruned,
        TellState::Fail => Outcome::Failed,
    }
}

/// Parameters whose importance is measured.
#[derive(Debug)]
pub(crate) struct ImportanceRequest {
    pub(crate) study: Option<String>,
    pub(crate) evaluator: ImportanceEvaluator,
    pub(crate) objective: Option<usize>,
    pub(crate) format: Option<Format>,
}

impl From<ImportanceArgs> for ImportanceRequest {
    fn from(args: ImportanceArgs) -> Self {
        Self {
            study: args.show.study.name,
            evaluator: match args.evaluator {
                EvaluatorKind::PedAnova => ImportanceEvaluator::default(),
                EvaluatorKind::Fanova => ImportanceEvaluator::Fanova { trees: 64, seed: 0 },
                EvaluatorKind::Mdi => {
                    ImportanceEvaluator::MeanDecreaseImpurity { trees: 64, seed: 0 }
                }
            },
            objective: args.objective,
            format: args.show.format,
        }
    }
}

/// A plot of a study.
#[derive(Debug)]
pub(crate) struct PlotRequest {
    pub(crate) kind: PlotKind,
    pub(crate) study: Option<String>,
    pub(crate) params: Vec<String>,
    pub(crate) objective: usize,
    pub(crate) output: Option<PathBuf>,
}

impl From<PlotArgs> for PlotRequest {
    fn from(args: PlotArgs) -> Self {
        Self {
            kind: args.kind,
            study: args.study.name,
            params: args.params,
            objective: args.objective,
            output: args.output,
        }
    }
}

impl PlotRequest {
    /// The parameter of a plot of one.
    pub(crate) fn one_param(&self) -> Result<&str, UsageError> {
        match &self.params[..] {
            [name] => Ok(name),
            _ => Err(UsageError("this plot needs --param once".to_owned())),
        }
    }

    /// The parameters of a plot of two.
    pub(crate) fn two_params(&self) -> Result<(&str, &str), UsageError> {
        match &self.params[..] {
            [x, y] => Ok((x, y)),
            _ => Err(UsageError("this plot needs --param twice".to_owned())),
        }
    }
}
