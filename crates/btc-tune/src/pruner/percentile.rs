//! Pruning by comparison with the finished trials at the same step.

use super::{Pruner, Verdict, is_due};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::sampler::StudyView;

/// What trials that were pruned mean to a [`PercentilePruner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrunedTrials {
    /// Nothing: a trial is compared with the complete ones. This is Optuna's rule.
    ///
    /// The complete trials are those that passed every comparison before, so what a trial is compared
    /// with is the better half, then the better half of that, and so on: the limit only tightens, and
    /// in a long study nearly every trial is pruned.
    #[default]
    LeftOut,
    /// They stay in the comparison, which Optuna does not know: a trial is compared with all that are
    /// complete or pruned, and one that did not reach the step counts as worse than any that did.
    ///
    /// Then a trial passes if it is among the best `percentile` percent of all trials, as far as they
    /// can be ordered, not of those that were left over: the fraction that is pruned tends to the rest
    /// and stays there, however long the study is. As long as few trials are pruned, the rules agree.
    Worse,
}

/// Settings of [`PercentilePruner`] and [`MedianPruner`]; the default is that of Optuna.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileConfig {
    /// Complete trials before any is pruned.
    pub n_startup_trials: usize,
    /// Steps of each trial before it is judged.
    pub n_warmup_steps: u64,
    /// Steps between judgements; at least 1.
    pub interval_steps: u64,
    /// Trials to compare with that must have reported the step for a judgement; at least 1.
    pub n_min_trials: usize,
    /// Whether pruned trials are among them.
    pub pruned: PrunedTrials,
}

impl Default for PercentileConfig {
    fn default() -> Self {
        Self {
            n_startup_trials: 5,
            n_warmup_steps: 0,
            interval_steps: 1,
            n_min_trials: 1,
            pruned: PrunedTrials::LeftOut,
        }
    }
}

/// Prunes a trial whose best report so far is worse than a percentile of the others at this step.
///
/// For long studies see [`PrunedTrials`].
#[derive(Debug, Clone)]
pub struct PercentilePruner {
    percentile: f64,
    config: PercentileConfig,
}

impl PercentilePruner {
    /// Keeps the best `percentile` percent of trials.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if `percentile` is not within 0..=100, or `interval_steps` or
    /// `n_min_trials` is zero.
    pub fn new(percentile: f64, config: PercentileConfig) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidSetting { reason });
        if !(0.0..=100.0).contains(&percentile) {
            return invalid(format!(
                "a percentile is between 0 and 100, not {percentile}"
            ));
        }
        if config.interval_steps == 0 || config.n_min_trials == 0 {
            return invalid("interval_steps and n_min_trials are at least 1".to_owned());
        }
        Ok(Self { percentile, config })
    }
}

impl Pruner for PercentilePruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        let direction = study.directions.first().copied().unwrap_or_default();
        let complete = || {
            study
                .trials
                .iter()
                .filter(|t| t.state == TrialState::Complete)
        };
        let count = complete().count();
        if count == 0 || count < self.config.n_startup_trials {
            return false.into();
        }
        let Some(step) = trial.last_step() else {
            return false.into();
        };
        if !is_due(
            trial,
            step,
            self.config.n_warmup_steps,
            self.config.interval_steps,
        ) {
            return false.into();
        }
        // Losses make the rules of one direction serve both.
        let best = trial
            .intermediate_values
            .values()
            .filter(|value| !value.is_nan())
            .map(|value| direction.as_loss(*value))
            .min_by(f64::total_cmp);
        let Some(best) = best else { return true.into() };
        let compared = || {
            let pruned = self.config.pruned == PrunedTrials::Worse;
            study.trials.iter().filter(move |t| match t.state {
                TrialState::Complete => true,
                TrialState::Pruned => pruned,
                _ => false,
            })
        };
        let mut others: Vec<f64> = compared()
            .filter_map(|other| other.intermediate_values.get(&step).copied())
            .collect();
        if others.len() < self.config.n_min_trials {
            return false.into();
        }
        others.retain(|value| !value.is_nan());
        let missing = match self.config.pruned {
            PrunedTrials::LeftOut => 0,
            PrunedTrials::Worse => compared().count() - others.len(),
        };
        match limit(&mut others, missing, self.percentile, direction) {
            Some(limit) => (best > direction.as_loss(limit)).into(),
            None => false.into(),
        }
    }
}

/// The percentile of values, counted from the best, with linear interpolation; `missing` more are worse
/// than any of them. `None` if it lies among the missing.
fn limit(
    values: &mut [f64],
    missing: usize,
    percentile: f64,
    direction: StudyDirection,
) -> Option<f64> {
    let last = (values.len() + missing).checked_sub(1)? as f64;
    // The percentile is taken of the values as they are: interpolation is not symmetric in floats.
    let position = match direction {
        StudyDirection::Minimize => percentile / 100.0 * last,
        // The missing are the least of all.
        StudyDirection::Maximize => (100.0 - percentile) / 100.0 * last - missing as f64,
    };
    if position < 0.0 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let low = *values.get(position.floor() as usize)?;
    let high = *values.get(position.ceil() as usize)?;
    let share = position - position.floor();
    if low == high || share == 0.0 {
        return Some(low);
    }
    // The form that is exact from the nearer end.
    Some(if share >= 0.5 {
        high - (high - low) * (1.0 - share)
    } else {
        low + (high - low) * share
    })
}

/// Prunes a trial whose best report so far is worse than the median of the others at this step.
#[derive(Debug, Clone)]
pub struct MedianPruner {
    inner: PercentilePruner,
}

impl Default for MedianPruner {
    fn default() -> Self {
        Self {
            inner: PercentilePruner {
                percentile: 50.0,
                config: PercentileConfig::default(),
            },
        }
    }
}

impl MedianPruner {
    /// Creates a pruner.
    ///
    /// # Errors
    ///
    /// As [`PercentilePruner::new`].
    pub fn new(config: PercentileConfig) -> Result<Self> {
        Ok(Self {
            inner: PercentilePruner::new(50.0, config)?,
        })
    }
}

impl Pruner for MedianPruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        self.inner.prune(study, trial)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::Rng as _;

    use super::*;
    use crate::frozen::{StudyId, TrialId};
    use crate::sampler::generator;
    use crate::storage::NewTrial;

    fn pruner(pruned: PrunedTrials) -> MedianPruner {
        MedianPruner::new(PercentileConfig {
            pruned,
            ..PercentileConfig::default()
        })
        .unwrap()
    }

    /// Which trials of a study are pruned whose curves fall towards a loss of their own, with some
    /// noise. As a sampler learns, losses become better by `learning` per trial.
    fn study(pruner: &dyn Pruner, direction: StudyDirection, learning: f64) -> Vec<bool> {
        let sign = direction.as_loss(1.0);
        let mut trials: Vec<Arc<FrozenTrial>> = Vec::new();
        for number in 0..3_000 {
            let mut rng = generator(1, number, "curve");
            let loss = rng.random::<f64>() - learning * number as f64;
            let mut trial = NewTrial::waiting().freeze(TrialId(number as i64), number);
            trial.state = TrialState::Complete;
            trial.values = vec![sign * loss];
            for step in 0..12 {
                let noise = 0.1 * rng.random::<f64>();
                let value = loss + noise + 2.0 / (step as f64 + 1.0);
                trial.intermediate_values.insert(step, sign * value);
                let view = crate::sampler::StudyView {
                    id: StudyId(0),
                    name: "s",
                    directions: &[direction],
                    trials: &trials,
                };
                if pruner.prune(view, &trial).prune {
                    trial.state = TrialState::Pruned;
                    trial.values = vec![sign * value];
                    break;
                }
            }
            trials.push(Arc::new(trial));
        }
        trials
            .iter()
            .map(|trial| trial.state == TrialState::Pruned)
            .collect()
    }

    fn share(pruned: &[bool]) -> f64 {
        pruned.iter().filter(|pruned| **pruned).count() as f64 / pruned.len() as f64
    }

    #[test]
    fn the_share_pruned_of_a_long_study_stays() {
        for direction in [StudyDirection::Minimize, StudyDirection::Maximize] {
            let pruned = study(&pruner(PrunedTrials::Worse), direction, 0.0);
            for part in pruned[100..].chunks(580) {
                let share = share(part);
                assert!((0.42..0.58).contains(&share), "{direction}: {share}");
            }
        }
    }

    #[test]
    fn the_rule_of_optuna_prunes_ever_more() {
        let direction = StudyDirection::Minimize;
        let pruned = study(&pruner(PrunedTrials::LeftOut), direction, 0.0);
        assert!(share(&pruned[..100]) < 0.85);
        assert!(share(&pruned[2_000..]) > 0.95);
    }

    #[test]
    fn short_studies_are_pruned_about_alike() {
        for direction in [StudyDirection::Minimize, StudyDirection::Maximize] {
            let [kept, left_out] = [PrunedTrials::Worse, PrunedTrials::LeftOut].map(|pruned| {
                let seldom = MedianPruner::new(PercentileConfig {
                    n_startup_trials: 8,
                    interval_steps: 5,
                    pruned,
                    ..PercentileConfig::default()
                });
                study(&seldom.unwrap(), direction, 0.0)
            });
            let same = |trials: usize| {
                let pairs = kept[..trials].iter().zip(&left_out);
                pairs.filter(|(a, b)| a == b).count()
            };
            assert!(same(30) >= 26, "{direction}: {}", same(30));
            assert!(same(100) >= 65, "{direction}: {}", same(100));
        }
    }

    #[test]
    fn a_sampler_that_learns_is_pruned_less() {
        let pruned = study(&pruner(PrunedTrials::Worse), StudyDirection::Minimize, 1e-4);
        assert!(share(&pruned) < 0.5, "{}", share(&pruned));
    }

    #[test]
    fn the_limit_counts_what_is_missing() {
        use StudyDirection::{Maximize, Minimize};
        let mut values = [3.0, 1.0, 2.0];
        assert_eq!(limit(&mut values, 0, 50.0, Minimize), Some(2.0));
        assert_eq!(limit(&mut values, 0, 50.0, Maximize), Some(2.0));
        // Of 1, 2, 3 and one that is worse the median is between the second and third best.
        assert_eq!(limit(&mut values, 1, 50.0, Minimize), Some(2.5));
        assert_eq!(limit(&mut values, 1, 50.0, Maximize), Some(1.5));
        assert_eq!(limit(&mut values, 2, 50.0, Minimize), Some(3.0));
        assert_eq!(limit(&mut values, 2, 50.0, Maximize), Some(1.0));
        assert_eq!(limit(&mut values, 3, 50.0, Minimize), None);
        assert_eq!(limit(&mut values, 3, 50.0, Maximize), None);
        assert_eq!(limit(&mut [], 0, 50.0, Minimize), None);
    }
}
