//! Patience around another pruner.

use super::{Pruner, Verdict};
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::sampler::StudyView;

/// Prunes only trials that have not improved for a while; asks another pruner then, if there is one.
#[derive(Debug)]
pub struct PatientPruner {
    wrapped: Option<Box<dyn Pruner>>,
    patience: usize,
    min_delta: f64,
}

impl PatientPruner {
    /// Prunes a trial whose last `patience + 1` reports are no better than those before.
    pub fn new(patience: usize) -> Self {
        Self {
            wrapped: None,
            patience,
            min_delta: 0.0,
        }
    }

    /// Lets `pruner` decide about trials that have not improved.
    #[must_use]
    pub fn with_wrapped(mut self, pruner: impl Pruner + 'static) -> Self {
        self.wrapped = Some(Box::new(pruner));
        self
    }

    /// Sets by how much worse the last reports must be.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if `min_delta` is negative or not a number.
    pub fn with_min_delta(mut self, min_delta: f64) -> Result<Self> {
        if min_delta.is_nan() || min_delta < 0.0 {
            return Err(Error::InvalidSetting {
                reason: format!("min_delta is not negative, but {min_delta} is given"),
            });
        }
        self.min_delta = min_delta;
        Ok(self)
    }
}

impl Pruner for PatientPruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        let direction = study.directions.first().copied().unwrap_or_default();
        let losses: Vec<f64> = trial
            .intermediate_values
            .values()
            .map(|value| direction.as_loss(*value))
            .collect();
        let Some(split) = losses.len().checked_sub(self.patience.saturating_add(1)) else {
            return false.into();
        };
        if split == 0 {
            return false.into();
        }
        let (before, after) = losses.split_at(split);
        let stalled = match (least(before), least(after)) {
            (Some(before), Some(after)) => before + self.min_delta < after,
            // Nothing but NaN on one side is no evidence.
            _ => false,
        };
        match (&self.wrapped, stalled) {
            (Some(pruner), true) => pruner.prune(study, trial),
            (None, stalled) => stalled.into(),
            (Some(_), false) => false.into(),
        }
    }

    fn relevant_trials(
        &self,
        study: StudyView<'_>,
        trial: usize,
    ) -> Option<Vec<std::sync::Arc<FrozenTrial>>> {
        self.wrapped.as_ref()?.relevant_trials(study, trial)
    }
}

fn least(values: &[f64]) -> Option<f64> {
    values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .min_by(f64::total_cmp)
}
