//! A study as it would be if no trial had ever been broken off.
//!
//! A trial that was interrupted, or whose worker died, is failed and tried again under a new number.
//! Whatever depends on numbers would then shift for all later trials. So samplers and pruners are shown
//! each trial once, by its latest try, and numbered by its *ordinal*: its number among the trials that
//! repeat no other. Without retries ordinals are numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::frozen::{FrozenTrial, TrialState};
use crate::sync::lock;

/// The trial a retry repeats, by its number; as Optuna's callback for retries writes it.
pub(super) const FAILED_TRIAL: &str = "failed_trial";
/// All tries before, by their numbers.
pub(super) const RETRY_HISTORY: &str = "retry_history";

/// The ordinal of each trial. A retry has that of the trial it repeats.
pub(crate) fn ordinals(trials: &[Arc<FrozenTrial>]) -> Vec<usize> {
    let mut ordinals: Vec<usize> = Vec::with_capacity(trials.len());
    let mut next = 0;
    for trial in trials {
        let first = trial
            .system_attrs
            .get(FAILED_TRIAL)
            .and_then(|first| usize::try_from(first.as_u64()?).ok());
        // The attribute may have come with a trial copied from another study.
        let repeated = first.and_then(|first| {
            let failed = trials.get(first)?.state == TrialState::Fail;
            ordinals.get(first).copied().filter(|_| failed)
        });
        ordinals.push(repeated.unwrap_or(next));
        next += usize::from(repeated.is_none());
    }
    ordinals
}

/// The ordinal of the trial that is to begin next: one that waits, else a new one.
pub(super) fn next_ordinal(trials: &[Arc<FrozenTrial>]) -> usize {
    let ordinals = ordinals(trials);
    let waiting = trials
        .iter()
        .zip(&ordinals)
        .filter(|(trial, _)| trial.state == TrialState::Waiting)
        .map(|(_, ordinal)| *ordinal);
    let new = ordinals.iter().max().map_or(0, |last| last + 1);
    waiting.min().unwrap_or(new)
}

/// Trials under their ordinals, beside those they were made of; by number.
///
/// Samplers recognise a trial they have seen by its address.
#[derive(Debug, Default)]
pub(super) struct Renumbered(Mutex<Vec<Option<Pair>>>);

type Pair = (Arc<FrozenTrial>, Arc<FrozenTrial>);

impl Renumbered {
    /// Each trial once, by its latest try, at the position of its ordinal and numbered by it.
    pub(super) fn undisturbed(&self, trials: &[Arc<FrozenTrial>]) -> Vec<Arc<FrozenTrial>> {
        if !trials
            .iter()
            .any(|trial| trial.system_attrs.contains_key(FAILED_TRIAL))
        {
            return trials.to_vec();
        }
        let ordinals = ordinals(trials);
        let mut latest: Vec<&Arc<FrozenTrial>> = Vec::with_capacity(trials.len());
        for (trial, ordinal) in trials.iter().zip(ordinals) {
            match latest.get_mut(ordinal) {
                Some(place) => *place = trial,
                // Ordinals are given in turn.
                None => latest.push(trial),
            }
        }
        let mut kept = lock(&self.0);
        let length = kept.len().max(trials.len());
        kept.resize(length, None);
        latest
            .into_iter()
            .enumerate()
            .map(|(ordinal, trial)| {
                if trial.number == ordinal {
                    return Arc::clone(trial);
                }
                if let Some(Some((original, renumbered))) = kept.get(trial.number)
                    && Arc::ptr_eq(original, trial)
                    && renumbered.number == ordinal
                {
                    return Arc::clone(renumbered);
                }
                let renumbered = Arc::new(numbered(trial, ordinal));
                if let Some(slot) = kept.get_mut(trial.number) {
                    *slot = Some((Arc::clone(trial), Arc::clone(&renumbered)));
                }
                renumbered
            })
            .collect()
    }
}

fn numbered(trial: &FrozenTrial, number: usize) -> FrozenTrial {
    FrozenTrial {
        number,
        ..trial.clone()
    }
}

/// What a trial is to know of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sight<'a> {
    /// All there is.
    Everything,
    /// How those ended that began at least `lag` before it; of the later ones that they began.
    Ordered {
        lag: usize,
        /// By ordinal: trials as they were when they began, those this run began itself.
        begun: &'a BTreeMap<usize, Arc<FrozenTrial>>,
    },
}

impl Sight<'_> {
    /// What the trial of an ordinal sees of an undisturbed study.
    pub(super) fn of(
        &self,
        mut trials: Vec<Arc<FrozenTrial>>,
        ordinal: usize,
    ) -> Vec<Arc<FrozenTrial>> {
        let Self::Ordered { lag, begun } = *self else {
            return trials;
        };
        trials.truncate(ordinal);
        let first = (ordinal + 1).saturating_sub(lag);
        for (hidden, trial) in trials.iter_mut().enumerate().skip(first) {
            if trial.state != TrialState::Waiting {
                *trial = match begun.get(&hidden) {
                    Some(begun) => Arc::clone(begun),
                    None => Arc::new(as_begun(trial, hidden)),
                };
            }
        }
        trials
    }

    pub(super) fn is_isolated(&self) -> bool {
        matches!(self, Self::Ordered { .. })
    }
}

/// A trial as it was when it began, under its ordinal: what it was to suggest, but not what came of it.
pub(super) fn as_begun(trial: &FrozenTrial, ordinal: usize) -> FrozenTrial {
    let mut begun = numbered(trial, ordinal);
    begun.state = TrialState::Running;
    begun.values.clear();
    // A retry begins with the parameters of the trial it repeats, which began with none.
    begun.parameters.clear();
    begun.intermediate_values.clear();
    begun.user_attrs.clear();
    begun
        .system_attrs
        .retain(|key, _| !is_result(key) && !is_bookkeeping(key));
    begun.datetime_complete = None;
    begun
}

/// Whether a system attribute says how the evaluation of a trial went: its constraints, and the rungs
/// it reached.
pub(super) fn is_result(key: &str) -> bool {
    key.starts_with("constraints") || key.starts_with("completed_rung_")
}

fn is_bookkeeping(key: &str) -> bool {
    [
        FAILED_TRIAL,
        RETRY_HISTORY,
        super::worker::WORKER,
        super::retry::BROKEN_OFF,
    ]
    .contains(&key)
}
