//! The tree-structured Parzen estimator.
//!
//! Bergstra et al. (2011), with the defaults and refinements of Optuna 5; its structure is described
//! by Watanabe (2023), arXiv:2304.11127.

mod history;
mod kernel;
pub(crate) mod normal;
mod parzen;
pub(crate) mod split;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::Map;

use self::history::History;
use self::kernel::KernelConfig;
use self::parzen::{Column, ParzenEstimator, ramp_weights};
use super::{RelativeSample, Sampler, StudyView, announce, generator, random};
use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::{FrozenTrial, Param, StudyId, TrialState};
use crate::search_space::{SearchSpace, group_search_space, is_informative};
use crate::sync::lock;

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
    /// What was learnt of the study asked for last.
    history: Mutex<Option<Followed>>,
}

/// The study that was asked for last, and what was learnt of it.
type Followed = (StudyId, String, History);

impl TpeSampler {
    /// Creates a sampler; the same seed and history give the same values.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, TpeConfig::default())
    }

    /// Creates a sampler with other settings.
    pub fn with_config(seed: u64, config: TpeConfig) -> Self {
        Self {
            seed,
            config,
            history: Mutex::new(None),
        }
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

    /// Brings what is known up to date and hands it out.
    fn with_history<T>(&self, study: StudyView<'_>, use_it: impl FnOnce(&mut History) -> T) -> T {
        // A panic in between leaves a history that the next look at the trials corrects.
        let mut slot = lock(&self.history);
        match &mut *slot {
            Some((id, name, history)) if *id == study.id && name == study.name => {
                history.sync(study.trials, study.directions);
                use_it(history)
            }
            slot => {
                let mut history = History::default();
                history.sync(study.trials, study.directions);
                let result = use_it(&mut history);
                *slot = Some((study.id, study.name.to_owned(), history));
                result
            }
        }
    }

    /// Draws one point of a search space; returns its internal values in the order of the space.
    fn sample_space(
        &self,
        study: StudyView<'_>,
        trial: usize,
        space: &SearchSpace,
        history: &mut History,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<f64> {
        let (below, above) = self.estimators(study, trial, space, history);
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
        history: &mut History,
    ) -> (ParzenEstimator, ParzenEstimator) {
        let trials = study.trials;
        let objectives = study.directions.len();
        let config = KernelConfig {
            prior_weight: self.config.prior_weight,
            magic_clip: self.config.magic_clip,
            endpoints: self.config.endpoints,
        };
        let n_below = gamma(history.informative(), objectives);
        let below = if objectives == 1 {
            history.best(n_below)
        } else {
            let positions: Vec<usize> = (0..trials.len())
                .filter(|i| is_informative(&trials[*i]))
                .collect();
            let informative: Vec<&Arc<FrozenTrial>> = positions
                .iter()
                .map(|position| &trials[*position])
                .collect();
            let (below, _) = split::split(&informative, study.directions, n_below);
            below.into_iter().map(|i| positions[i]).collect()
        };
        let complete = history.is_complete(space);
        let mut is_below = vec![false; trials.len()];
        below.iter().for_each(|position| is_below[*position] = true);
        let mut rows = Vec::with_capacity(trials.len());
        let mut running = HashMap::new();
        for (position, other) in trials.iter().enumerate() {
            let taken = match other.state {
                _ if is_below[position] => false,
                TrialState::Complete | TrialState::Pruned => {
                    complete || observation(other, space, false).is_some()
                }
                TrialState::Running if self.config.constant_liar && other.number != trial => {
                    let multivariate = self.is_multivariate(study);
                    match observation(other, space, multivariate) {
                        Some(values) => running.insert(position, values).is_none(),
                        None => false,
                    }
                }
                _ => false,
            };
            if taken {
                rows.push(position);
            }
        }
        let above = ParzenEstimator::from_kernels(
            history.kernels(space, &rows, &running, config),
            &ramp_weights(rows.len()),
            config,
        );
        let good: Vec<Vec<f64>> = below
            .iter()
            .filter_map(|i| observation(&trials[*i], space, false))
            .collect();
        let columns: Vec<Column> = space
            .values()
            .enumerate()
            .map(|(d, distribution)| Column {
                distribution: distribution.clone(),
                values: good.iter().map(|values| values[d]).collect(),
            })
            .collect();
        let weights = if objectives > 1 {
            vec![1.0; good.len()]
        } else {
            ramp_weights(good.len())
        };
        (ParzenEstimator::new(&columns, &weights, config), above)
    }
}

/// How many trials count as good.
pub(crate) fn gamma(finished: usize, objectives: usize) -> usize {
    let tenth = finished.div_ceil(10);
    if objectives > 1 { tenth } else { tenth.min(25) }
}

/// The internal values a trial has for all names of a space; `None` if it lacks one, or one has no
/// place on its line, such as 0 on a logarithmic scale.
fn observation(trial: &FrozenTrial, space: &SearchSpace, multivariate: bool) -> Option<Vec<f64>> {
    let announced = if multivariate && trial.state == TrialState::Running {
        announce::announced(announce::TPE, trial)
    } else {
        Map::new()
    };
    space
        .iter()
        .map(|(name, distribution)| {
            let internal = match trial.parameter(name) {
                Some(param) => param.internal,
                None => distribution.to_internal(announced.get(&**name)?)?,
            };
            distribution
                .transform(internal)
                .is_finite()
                .then_some(internal)
        })
        .collect()
}

impl Sampler for TpeSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        if !self.is_multivariate(study) || !self.is_started(study) {
            return Ok(RelativeSample::default());
        }
        let mut rng = generator(self.seed, trial, "\0relative");
        let params = self.with_history(study, |history| {
            let spaces = if self.config.group {
                group_search_space(study.trials)
            } else {
                vec![history.intersection()]
            };
            let mut params = Vec::new();
            for mut space in spaces {
                space.retain(|_, distribution| !distribution.is_single());
                if space.is_empty() {
                    continue;
                }
                let values = self.sample_space(study, trial, &space, history, &mut rng);
                params.extend(space.into_iter().zip(values).map(
                    |((name, distribution), internal)| Param {
                        name,
                        distribution,
                        internal,
                    },
                ));
            }
            params
        });
        let system_attrs = if self.config.constant_liar && !params.is_empty() {
            announce::announce(announce::TPE, &params)
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
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        let mut rng = generator(self.seed, trial.number, name);
        if !self.is_started(study) {
            return Ok(random::sample(distribution, &mut rng));
        }
        let space = SearchSpace::from([(name.into(), Arc::new(distribution.clone()))]);
        let values = self.with_history(study, |history| {
            self.sample_space(study, trial.number, &space, history, &mut rng)
        });
        Ok(values.first().copied().unwrap_or(distribution.first()))
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod incremental;
