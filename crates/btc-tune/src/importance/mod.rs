//! Which parameters matter.

mod forest;
mod ped_anova;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::sampler::StudyView;
use crate::search_space::{SearchSpace, intersection_search_space};
use crate::study::Study;

use self::forest::{Feature, Forest};

/// How the importance of a parameter is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ImportanceEvaluator {
    /// How much the values of the best trials differ from those of all (Watanabe et al. 2023,
    /// arXiv:2304.10255). Parameters that only some trials have are measured as well.
    PedAnova {
        /// The share of trials that counts as best.
        target_quantile: f64,
        /// The share of trials they are compared with.
        region_quantile: f64,
    },
    /// The share of the variance of a random forest that a parameter alone explains (Hutter et al.
    /// 2014).
    Fanova {
        /// Trees of the forest.
        trees: usize,
        /// Seed of the forest.
        seed: u64,
    },
    /// How much the splits of a random forest on a parameter lower the variance.
    MeanDecreaseImpurity {
        /// Trees of the forest.
        trees: usize,
        /// Seed of the forest.
        seed: u64,
    },
}

impl Default for ImportanceEvaluator {
    fn default() -> Self {
        Self::PedAnova {
            target_quantile: 0.1,
            region_quantile: 1.0,
        }
    }
}

impl Study {
    /// Measures the importance of each parameter, the largest first; they sum to 1.
    ///
    /// Complete trials with finite values count. With too few of them all parameters get the same.
    /// `objective` chooses one of several objectives; without it PED-ANOVA measures what leads to the
    /// Pareto front.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::sync::Arc;
    /// use btc_tune::{ImportanceEvaluator, InMemoryStorage, RandomSampler, Study};
    /// let storage = Arc::new(InMemoryStorage::new());
    /// let study = Study::builder("i", storage).sampler(RandomSampler::new(1)).create()?;
    /// study.optimize(NonZeroUsize::new(60).unwrap(), |trial| {
    ///     let (x, y) = (trial.suggest_float("x", 0.0..=1.0)?, trial.suggest_float("y", 0.0..=1.0)?);
    ///     Ok(x + 0.01 * y)
    /// })?;
    /// let importances = study.param_importances(ImportanceEvaluator::default(), None)?;
    /// assert_eq!(importances[0].0, "x");
    /// assert!(importances[0].1 > 0.8);
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoCompleteTrial`]; [`Error::SeveralObjectives`] if the evaluator needs one objective
    /// and none was chosen; [`Error::InvalidSetting`] if a quantile or the objective makes no sense.
    pub fn param_importances(
        &self,
        evaluator: ImportanceEvaluator,
        objective: Option<usize>,
    ) -> Result<Vec<(String, f64)>> {
        let trials = self.trials()?;
        let mut importances = raw(self.view(&trials), evaluator, objective)?;
        let total: f64 = importances.iter().map(|(_, value)| value).sum();
        let count = importances.len() as f64;
        for (_, value) in &mut importances {
            *value = if total > 0.0 {
                *value / total
            } else {
                1.0 / count
            };
        }
        importances.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(importances)
    }
}

/// Importances that do not yet sum to 1.
fn raw(
    study: StudyView<'_>,
    evaluator: ImportanceEvaluator,
    objective: Option<usize>,
) -> Result<Vec<(String, f64)>> {
    let invalid = |reason: String| Err(Error::InvalidSetting { reason });
    let objectives = study.directions.len();
    if objective.is_some_and(|objective| objective >= objectives) {
        return invalid(format!(
            "the study has {objectives} objectives, counted from 0"
        ));
    }
    let complete: Vec<&Arc<FrozenTrial>> = study
        .trials
        .iter()
        .filter(|t| t.state == TrialState::Complete)
        .collect();
    if complete.is_empty() {
        return Err(Error::NoCompleteTrial {
            study: study.name.to_owned(),
        });
    }
    let finite = |trial: &&&Arc<FrozenTrial>| match objective {
        Some(objective) => trial
            .values
            .get(objective)
            .is_some_and(|value| value.is_finite()),
        None => trial.values.iter().all(|value| value.is_finite()),
    };
    let usable: Vec<&Arc<FrozenTrial>> = complete.iter().filter(finite).copied().collect();
    let one = objective.or((objectives == 1).then_some(0));
    let losses = |objective: usize| -> Vec<f64> {
        let direction = study.directions.get(objective).copied().unwrap_or_default();
        usable
            .iter()
            .map(|trial| direction.as_loss(trial.values[objective]))
            .collect()
    };
    let (trees, seed, is_fanova) = match evaluator {
        ImportanceEvaluator::PedAnova {
            target_quantile,
            region_quantile,
        } => {
            if !(0.0 < target_quantile
                && target_quantile < region_quantile
                && region_quantile <= 1.0)
            {
                return invalid("quantiles need 0 < target < region <= 1".to_owned());
            }
            let names: BTreeSet<Arc<str>> = complete
                .iter()
                .flat_map(|trial| trial.parameters.iter().map(|param| param.name.clone()))
                .collect();
            let top = |quantile: f64| -> Vec<bool> {
                match one {
                    _ if quantile >= 1.0 => vec![true; usable.len()],
                    Some(objective) => ped_anova::best_share(&losses(objective), quantile),
                    None => best_fronts(&usable, study.directions, quantile),
                }
            };
            if usable.len() <= 1 {
                return Ok(names
                    .into_iter()
                    .map(|name| (name.to_string(), 0.0))
                    .collect());
            }
            let (target, region) = (top(target_quantile), top(region_quantile));
            return Ok(names
                .into_iter()
                .map(|name| {
                    let value = ped_anova::importance(&name, &usable, &target, &region);
                    (name.to_string(), value)
                })
                .collect());
        }
        ImportanceEvaluator::Fanova { trees, seed } => (trees, seed, true),
        ImportanceEvaluator::MeanDecreaseImpurity { trees, seed } => (trees, seed, false),
    };
    let objective = one.ok_or(Error::SeveralObjectives {
        operation: "importances by a forest without a chosen objective",
        objectives,
    })?;
    if trees == 0 {
        return invalid("a forest has at least one tree".to_owned());
    }
    let space = intersection_search_space(complete.iter().copied());
    Ok(by_forest(
        &space,
        &usable,
        &losses(objective),
        trees,
        seed,
        is_fanova,
    ))
}

fn best_fronts(
    usable: &[&Arc<FrozenTrial>],
    directions: &[StudyDirection],
    quantile: f64,
) -> Vec<bool> {
    let count = (quantile * usable.len() as f64).ceil() as usize;
    let (below, _) = crate::sampler::tpe::split::split(usable, directions, count);
    let mut top = vec![false; usable.len()];
    below.into_iter().for_each(|i| top[i] = true);
    top
}

fn by_forest(
    space: &SearchSpace,
    usable: &[&Arc<FrozenTrial>],
    losses: &[f64],
    trees: usize,
    seed: u64,
    is_fanova: bool,
) -> Vec<(String, f64)> {
    let varied: Vec<_> = space.iter().filter(|(_, d)| !d.is_single()).collect();
    let features: Vec<Feature> = varied
        .iter()
        .map(|(_, distribution)| match distribution.choices_len() {
            Some(choices) => Feature::Categorical(choices),
            None => {
                let ends = [distribution.first(), distribution.last()];
                Feature::Numeric(ends[0], ends[1])
            }
        })
        .collect();
    let rows: Vec<Vec<f64>> = usable
        .iter()
        .map(|trial| {
            let value = |name: &str| trial.parameter(name).map_or(0.0, |param| param.internal);
            varied.iter().map(|(name, _)| value(name)).collect()
        })
        .collect();
    let values = if usable.len() <= 1 || features.is_empty() {
        vec![0.0; features.len()]
    } else {
        let forest = Forest::grow(&features, &rows, losses, trees, seed);
        if is_fanova {
            forest.variance_shares()
        } else {
            forest.impurity_decreases()
        }
    };
    let mut importances: Vec<(String, f64)> = varied
        .iter()
        .zip(values)
        .map(|((name, _), value)| (name.to_string(), value))
        .collect();
    let single = space.iter().filter(|(_, d)| d.is_single());
    importances.extend(single.map(|(name, _)| (name.to_string(), 0.0)));
    importances
}
