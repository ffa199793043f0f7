//! The tree-structured Parzen estimator.
//!
//! Bergstra et al. (2011), with the defaults and refinements of Optuna 5; its structure is described
//! by Watanabe (2023), arXiv:2304.11127.

pub(crate) mod normal;
mod parzen;
mod split;

use std::sync::Arc;

use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Map, Value};

use self::parzen::{Column, KernelConfig, ParzenEstimator, ramp_weights};
use super::{RelativeSample, Sampler, StudyView, generator, random};
use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::{FrozenTrial, Param, TrialState};
use crate::search_space::{
    SearchSpace, group_search_space, intersection_search_space, is_informative,
};
use crate::storage::codec;

/// Settings of [`TpeSampler`]; the default is that of Optuna 5.
///
/// ```
/// use btc_tune::TpeConfig;
/// let config = TpeConfig { n_startup_trials: 20, ..TpeConfig::default() };
/// assert_eq!(config.n_ei_candidates, 24);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TpeConfig {
    /// Finished trials before the model is used; until then values are random.
    pub n_startup_trials: usize,
    /// Points drawn from the model of good trials; the most promising one is used.
    pub n_ei_candidates: usize,
    /// Whether parameters are modelled jointly. By default they are if there is one objective.
    pub multivariate: Option<bool>,
    /// Whether parameters that occur together are modelled together; needs `multivariate`.
    pub group: bool,
    /// Whether running trials are taken for bad, so that parallel workers spread out.
    pub constant_liar: bool,
    /// The weight of the prior, against 1 for each trial.
    pub prior_weight: f64,
    /// Whether kernels have a least width.
    pub magic_clip: bool,
    /// Whether the outermost kernels reach to the bounds.
    pub endpoints: bool,
}

impl Default for TpeConfig {
    fn default() -> Self {
        Self {
            n_startup_trials: 10,
            n_ei_candidates: 24,
            multivariate: None,
            group: false,
            constant_liar: true,
            prior_weight: 1.0,
            magic_clip: true,
            endpoints: false,
        }
    }
}

/// Proposes what was good before and rarely bad: the default sampler.
#[derive(Debug)]
pub struct TpeSampler {
    seed: u64,
    config: TpeConfig,
}

impl TpeSampler {
    /// Creates a sampler; the same seed and history give the same values.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, TpeConfig::default())
    }

    /// Creates a sampler with other settings.
    pub fn with_config(seed: u64, config: TpeConfig) -> Self {
        Self { seed, config }
    }

    fn is_multivariate(&self, study: StudyView<'_>) -> bool {
        self.config.group
            || self
                .config
                .multivariate
                .unwrap_or(study.directions.len() == 1)
    }

    fn is_started(&self, study: StudyView<'_>) -> bool {
        let limit = self.config.n_startup_trials;
        limit == 0
            || study
                .trials
                .iter()
                .filter(|trial| is_informative(trial))
                .nth(limit - 1)
                .is_some()
    }

    /// Draws one point of a search space; returns its internal values in the order of the space.
    fn sample_space(
        &self,
        study: StudyView<'_>,
        trial: usize,
        space: &SearchSpace,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<f64> {
        let (below, above) = self.estimators(study, trial, space);
        let candidates = below.sample(self.config.n_ei_candidates.max(1), rng);
        let good = below.log_pdf(&candidates);
        let bad = above.log_pdf(&candidates);
        let mut best = (f64::NEG_INFINITY, 0);
        for (i, (good, bad)) in good.iter().zip(&bad).enumerate() {
            let score = good - bad;
            if score > best.0 {
                best = (score, i);
            }
        }
        candidates[best.1].clone()
    }

    fn estimators(
        &self,
        study: StudyView<'_>,
        trial: usize,
        space: &SearchSpace,
    ) -> (ParzenEstimator, ParzenEstimator) {
        let multivariate = self.is_multivariate(study);
        let used: Vec<&Arc<FrozenTrial>> = study
            .trials
            .iter()
            .filter(|other| match other.state {
                TrialState::Complete | TrialState::Pruned => true,
                TrialState::Running => self.config.constant_liar && other.number != trial,
                TrialState::Waiting | TrialState::Fail => false,
            })
            .collect();
        let finished = used.iter().filter(|other| is_informative(other)).count();
        let n_below = gamma(finished, study.directions.len());
        let (below, above) = split::split(&used, study.directions, n_below);
        let build = |positions: &[usize], equal_weights: bool| {
            let mut columns: Vec<Column> = space
                .values()
                .map(|distribution| Column {
                    distribution: distribution.clone(),
                    values: Vec::with_capacity(positions.len()),
                })
                .collect();
            let mut count = 0;
            for position in positions {
                if let Some(values) = observation(used[*position], space, multivariate) {
                    count += 1;
                    for (column, value) in columns.iter_mut().zip(values) {
                        column.values.push(value);
                    }
                }
            }
            let weights = if equal_weights {
                vec![1.0; count]
            } else {
                ramp_weights(count)
            };
            let config = KernelConfig {
                prior_weight: self.config.prior_weight,
                magic_clip: self.config.magic_clip,
                endpoints: self.config.endpoints,
            };
            ParzenEstimator::new(&columns, &weights, config)
        };
        (
            build(&below, study.directions.len() > 1),
            build(&above, false),
        )
    }
}

/// How many trials count as good.
pub(crate) fn gamma(finished: usize, objectives: usize) -> usize {
    let tenth = finished.div_ceil(10);
    if objectives > 1 { tenth } else { tenth.min(25) }
}

/// The internal values a trial has for all names of a space, or `None` if it lacks one.
fn observation(trial: &FrozenTrial, space: &SearchSpace, multivariate: bool) -> Option<Vec<f64>> {
    let announced = if multivariate && trial.state == TrialState::Running {
        relative_params(trial)
    } else {
        Map::new()
    };
    space
        .iter()
        .map(|(name, distribution)| match trial.parameter(name) {
            Some(param) => Some(param.internal),
            None => distribution.to_internal(announced.get(&**name)?),
        })
        .collect()
}

const RELATIVE_PARAMS: &str = "tpe:relative_params:";
/// The longest text MySQL users can store in an attribute, JSON quotes excluded.
const CHUNK: usize = 2045;

/// What a running trial announced it will suggest.
fn relative_params(trial: &FrozenTrial) -> Map<String, Value> {
    let mut text = String::new();
    for i in 0.. {
        match trial.system_attrs.get(&format!("{RELATIVE_PARAMS}{i}")) {
            Some(Value::String(chunk)) => text.push_str(chunk),
            _ => break,
        }
    }
    if text.is_empty() {
        return Map::new();
    }
    // Attributes another program garbled must not stop the study; they only help to spread out.
    codec::decode_object(&text).unwrap_or_default()
}

fn announce(params: &[Param]) -> Map<String, Value> {
    let external: Map<String, Value> = params
        .iter()
        .map(|param| (param.name.to_string(), param.value()))
        .collect();
    let text = codec::encode_json(&Value::Object(external));
    // The text is ASCII, so every byte is a character.
    text.as_bytes()
        .chunks(CHUNK)
        .enumerate()
        .map(|(i, chunk)| {
            let chunk = String::from_utf8_lossy(chunk).into_owned();
            (format!("{RELATIVE_PARAMS}{i}"), Value::String(chunk))
        })
        .collect()
}

impl Sampler for TpeSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        if !self.is_multivariate(study) || !self.is_started(study) {
            return Ok(RelativeSample::default());
        }
        let spaces = if self.config.group {
            group_search_space(study.trials)
        } else {
            vec![intersection_search_space(study.trials)]
        };
        let mut rng = generator(self.seed, trial, "\0relative");
        let mut params = Vec::new();
        for mut space in spaces {
            space.retain(|_, distribution| !distribution.is_single());
            if space.is_empty() {
                continue;
            }
            let values = self.sample_space(study, trial, &space, &mut rng);
            params.extend(
                space
                    .into_iter()
                    .zip(values)
                    .map(|((name, distribution), internal)| Param {
                        name,
                        distribution,
                        internal,
                    }),
            );
        }
        let system_attrs = if self.config.constant_liar && !params.is_empty() {
            announce(&params)
        } else {
            Map::new()
        };
        Ok(RelativeSample {
            params,
            system_attrs,
        })
    }

    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: usize,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        let mut rng = generator(self.seed, trial, name);
        if !self.is_started(study) {
            return Ok(random::sample(distribution, &mut rng));
        }
        let space = SearchSpace::from([(name.into(), Arc::new(distribution.clone()))]);
        let values = self.sample_space(study, trial, &space, &mut rng);
        Ok(values.first().copied().unwrap_or(distribution.first()))
    }
}

#[cfg(test)]
mod golden;
