//! Which trials are best.

use std::sync::Arc;

use crate::frozen::{FrozenTrial, StudyDirection, TrialState};

/// Why a study has no best trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBest {
    NoneComplete,
    NoneFeasible,
}

/// The best complete trial that violates no constraint; of equals, the earliest.
pub(crate) fn best_trial(
    trials: &[Arc<FrozenTrial>],
    direction: StudyDirection,
) -> Result<Arc<FrozenTrial>, NoBest> {
    let mut complete = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .filter_map(|trial| Some((direction.as_loss(trial.value()?), trial)))
        .peekable();
    if complete.peek().is_none() {
        return Err(NoBest::NoneComplete);
    }
    complete
        .filter(|(_, trial)| is_feasible(trial))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, trial)| trial.clone())
        .ok_or(NoBest::NoneFeasible)
}

/// A trial without constraints is feasible; one whose constraint is not a number is not.
pub(crate) fn is_feasible(trial: &FrozenTrial) -> bool {
    if !trial
        .system_attrs
        .keys()
        .any(|key| key.starts_with("constraints"))
    {
        return true;
    }
    trial.constraints().values().all(|value| *value <= 0.0)
}

/// Whether `a` is at least as good everywhere and better somewhere; both as losses.
pub(crate) fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

/// The values of a trial turned so that small is good.
pub(crate) fn losses(trial: &FrozenTrial, directions: &[StudyDirection]) -> Vec<f64> {
    trial
        .values
        .iter()
        .zip(directions)
        .map(|(value, d)| d.as_loss(*value))
        .collect()
}

/// The feasible complete trials that no other one dominates, in order of their numbers.
pub(crate) fn pareto_front(
    trials: &[Arc<FrozenTrial>],
    directions: &[StudyDirection],
) -> Vec<Arc<FrozenTrial>> {
    let mut candidates: Vec<(Vec<f64>, &Arc<FrozenTrial>)> = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete && is_feasible(trial))
        .map(|trial| (losses(trial, directions), trial))
        .collect();
    // In lexicographic order a trial can only be dominated by one before it.
    candidates.sort_by(|(a, _), (b, _)| lexicographic(a, b));
    let mut front: Vec<(Vec<f64>, &Arc<FrozenTrial>)> = Vec::new();
    for (point, trial) in candidates {
        if !front.iter().any(|(other, _)| dominates(other, &point)) {
            front.push((point, trial));
        }
    }
    let mut front: Vec<_> = front.into_iter().map(|(_, trial)| trial.clone()).collect();
    front.sort_by_key(|trial| trial.number);
    front
}

pub(crate) fn lexicographic(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    a.iter()
        .zip(b)
        .map(|(a, b)| a.total_cmp(b))
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}
