//! Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

use std::sync::Arc;

use super::{Pruner, Verdict};
use crate::choice::{float_from_json, float_to_json};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::sampler::StudyView;

/// Settings of [`SuccessiveHalvingPruner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessiveHalvingConfig {
    /// Steps every trial may take; `None` derives it from the longest complete trial.
    pub min_resource: Option<u64>,
    /// One in so many trials passes each rung; at least 2.
    pub reduction_factor: u64,
    /// Rungs left out at the beginning.
    pub min_early_stopping_rate: u32,
    /// Trials that must reach a rung before any passes it.
    pub bootstrap_count: usize,
}

impl Default for SuccessiveHalvingConfig {
    fn default() -> Self {
        Self {
            min_resource: None,
            reduction_factor: 4,
            min_early_stopping_rate: 0,
            bootstrap_count: 0,
        }
    }
}

/// Lets one in `reduction_factor` trials pass each rung of a ladder of steps.
#[derive(Debug, Clone)]
pub struct SuccessiveHalvingPruner {
    config: SuccessiveHalvingConfig,
}

impl SuccessiveHalvingPruner {
    /// Creates a pruner.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if `min_resource` is zero, `reduction_factor` is below 2, or
    /// `bootstrap_count` is set while `min_resource` is derived.
    pub fn new(config: SuccessiveHalvingConfig) -> Result<Self> {
        let invalid = |reason: &str| {
            Err(Error::InvalidSetting {
                reason: reason.to_owned(),
            })
        };
        if config.min_resource == Some(0) {
            return invalid("min_resource is at least 1");
        }
        if config.reduction_factor < 2 {
            return invalid("reduction_factor is at least 2");
        }
        if config.bootstrap_count > 0 && config.min_resource.is_none() {
            return invalid("bootstrap_count needs a fixed min_resource");
        }
        Ok(Self { config })
    }

    /// Judges a trial among `trials`.
    pub(super) fn judge(
        &self,
        trials: &[Arc<FrozenTrial>],
        direction: StudyDirection,
        trial: &FrozenTrial,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let Some((step, value)) = trial.intermediate_values.last_key_value() else {
            return verdict;
        };
        let Some(min_resource) = self.config.min_resource.or_else(|| estimate(trials)) else {
            return verdict;
        };
        let mut rung = 0_u32;
        while trial.system_attrs.contains_key(&rung_key(rung)) {
            rung += 1;
        }
        loop {
            let exponent = self.config.min_early_stopping_rate.saturating_add(rung);
            let promotion = self
                .config
                .reduction_factor
                .saturating_pow(exponent)
                .saturating_mul(min_resource);
            if *step < promotion {
                return verdict;
            }
            if value.is_nan() {
                verdict.prune = true;
                return verdict;
            }
            let key = rung_key(rung);
            verdict
                .system_attrs
                .insert(key.clone(), float_to_json(*value));
            let mut competing: Vec<f64> = trials
                .iter()
                .filter(|other| other.id != trial.id)
                .filter_map(|other| other.system_attrs.get(&key).and_then(float_from_json))
                .map(|other| direction.as_loss(other))
                .collect();
            let loss = direction.as_loss(*value);
            competing.push(loss);
            if competing.len() <= self.config.bootstrap_count
                || !is_promotable(loss, competing, self.config.reduction_factor)
            {
                verdict.prune = true;
                return verdict;
            }
            rung += 1;
        }
    }
}

impl Pruner for SuccessiveHalvingPruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        self.judge(
            study.trials,
            study.directions.first().copied().unwrap_or_default(),
            trial,
        )
    }
}

fn rung_key(rung: u32) -> String {
    format!("completed_rung_{rung}")
}

/// A hundredth of the steps of the longest complete trial.
fn estimate(trials: &[Arc<FrozenTrial>]) -> Option<u64> {
    trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .filter_map(|trial| trial.last_step())
        .max()
        .map(|last| (last / 100).max(1))
}

/// Whether a loss is among the best share; with fewer trials than the factor, whether it is the best.
fn is_promotable(loss: f64, mut competing: Vec<f64>, factor: u64) -> bool {
    competing.sort_by(f64::total_cmp);
    let share = competing.len() / usize::try_from(factor).unwrap_or(usize::MAX);
    loss <= competing[share.max(1) - 1]
}
