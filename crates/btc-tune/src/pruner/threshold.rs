//! Pruning by absolute limits.

use super::{Pruner, Verdict, is_due};
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::sampler::StudyView;

/// Prunes a trial that reports a value outside of limits, or NaN.
#[derive(Debug, Clone)]
pub struct ThresholdPruner {
    lower: f64,
    upper: f64,
    n_warmup_steps: u64,
    interval_steps: u64,
}

impl ThresholdPruner {
    /// Prunes below `lower` and above `upper`; use an infinity for no limit.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] unless `lower <= upper`.
    pub fn new(lower: f64, upper: f64) -> Result<Self> {
        if lower.is_nan() || upper.is_nan() || lower > upper {
            return Err(Error::InvalidSetting {
                reason: format!("the lower limit {lower} must not exceed the upper limit {upper}"),
            });
        }
        Ok(Self {
            lower,
            upper,
            n_warmup_steps: 0,
            interval_steps: 1,
        })
    }

    /// Judges no trial before `steps`.
    #[must_use]
    pub fn with_warmup_steps(mut self, steps: u64) -> Self {
        self.n_warmup_steps = steps;
        self
    }

    /// Judges every `steps` steps; zero counts as one.
    #[must_use]
    pub fn with_interval_steps(mut self, steps: u64) -> Self {
        self.interval_steps = steps.max(1);
        self
    }
}

impl Pruner for ThresholdPruner {
    fn prune(&self, _study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        let Some((step, value)) = trial.intermediate_values.last_key_value() else {
            return false.into();
        };
        let due = is_due(trial, *step, self.n_warmup_steps, self.interval_steps);
        (due && !(self.lower <= *value && *value <= self.upper)).into()
    }
}
