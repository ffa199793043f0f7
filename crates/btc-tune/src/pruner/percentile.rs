//! Pruning by comparison with the finished trials at the same step.

use super::{Pruner, Verdict, is_due};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::sampler::StudyView;

/// Settings of [`PercentilePruner`] and [`MedianPruner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileConfig {
    /// Complete trials before any is pruned.
    pub n_startup_trials: usize,
    /// Steps of each trial before it is judged.
    pub n_warmup_steps: u64,
    /// Steps between judgements; at least 1.
    pub interval_steps: u64,
    /// Complete trials that must have reported the step for a judgement; at least 1.
    pub n_min_trials: usize,
}

impl Default for PercentileConfig {
    fn default() -> Self {
        Self {
            n_startup_trials: 5,
            n_warmup_steps: 0,
            interval_steps: 1,
            n_min_trials: 1,
        }
    }
}

/// Prunes a trial whose best report so far is worse than a percentile of the others at this step.
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
        let mut others: Vec<f64> = complete()
            .filter_map(|other| other.intermediate_values.get(&step).copied())
            .collect();
        if others.len() < self.config.n_min_trials {
            return false.into();
        }
        others.retain(|value| !value.is_nan());
        // The percentile is taken of the values as they are: interpolation is not symmetric in floats.
        let rank = match direction {
            StudyDirection::Minimize => self.percentile,
            StudyDirection::Maximize => 100.0 - self.percentile,
        };
        match percentile(&mut others, rank) {
            Some(limit) => (best > direction.as_loss(limit)).into(),
            None => false.into(),
        }
    }
}

/// The percentile of values with linear interpolation; `None` of nothing.
fn percentile(values: &mut [f64], rank: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let position = rank / 100.0 * (values.len() - 1) as f64;
    let (low, high) = (
        values[position.floor() as usize],
        values[position.ceil() as usize],
    );
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
