//! What becomes of trials whose evaluation was broken off: they fail, and are queued again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::{FAILED_TRIAL, RETRY_HISTORY, is_result, ordinals};
use super::worker::{WORKER, Worker};
use super::{HeartbeatConfig, Study};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialId, TrialState};
use crate::storage::{AttrScope, NewTrial, TrialUpdate};

/// The system attribute of a failed trial that says why it did not end by itself.
///
/// It is written together with the failure, so that a process that dies before it has queued the trial
/// again leaves word that this is to be done.
pub(super) const BROKEN_OFF: &str = "btc:broken_off";

/// Why the evaluation of a trial did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// Somebody wanted it to stop.
    Interrupted,
    /// Its worker died, and the trial may be what it died of.
    WorkerDied,
}

impl Cause {
    /// Why a trial was broken off, if it was.
    fn of(trial: &FrozenTrial) -> Option<Self> {
        let kept = trial.system_attrs.get(BROKEN_OFF)?;
        // The attribute of another trial came along with a copy.
        if kept.get("trial")?.as_u64() != u64::try_from(trial.number).ok() {
            return None;
        }
        Self::deserialize(kept.get("cause")?).ok()
    }

    /// Fails trial `number` for this cause.
    pub(super) fn fail(self, number: usize, at: chrono::DateTime<chrono::Utc>) -> [TrialUpdate; 2] {
        [
            TrialUpdate::Attr {
                scope: AttrScope::System,
                key: BROKEN_OFF.to_owned(),
                value: json!({"trial": number, "cause": self}),
            },
            TrialUpdate::Finish {
                state: TrialState::Fail,
                values: Vec::new(),
                at,
            },
        ]
    }
}

impl Study {
    /// Fails the running trials whose worker died, and queues each again if it may be retried.
    ///
    /// Every worker does this before it begins a trial. A worker is dead if it is a process of this
    /// machine that has ended, which is noticed at once where the platform tells (on Linux), or if it
    /// gave no sign of life for the grace period of the
    /// [`heartbeat`](super::StudyBuilder::heartbeat). Trials that were begun by [`ask`](Self::ask)
    /// belong to no process: they may be told from another one, and only heartbeats judge them.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn fail_stale_trials(&self) -> Result<()> {
        self.settle_broken_off().map(drop)
    }

    /// Does so, and returns all trials as they are then.
    pub(crate) fn settle_broken_off(&self) -> Result<Vec<Arc<FrozenTrial>>> {
        let trials = self.trials()?;
        let mut any = false;
        for id in self.orphans(&trials)? {
            let number = self.storage().trial(id)?.number;
            let fail = Cause::WorkerDied.fail(number, self.clock().now());
            match self.storage().update_trial(id, &fail) {
                // Another worker may have noticed as well and been faster.
                Ok(()) | Err(Error::TrialFinished { .. }) => any = true,
                Err(error) => return Err(error),
            }
        }
        let trials = if any { self.trials()? } else { trials };
        self.queue_again(trials)
    }

    /// The running trials whose worker is dead.
    fn orphans(&self, trials: &[Arc<FrozenTrial>]) -> Result<Vec<TrialId>> {
        let mut orphans: Vec<TrialId> = Vec::new();
        let mut here = None;
        for trial in trials.iter().filter(|t| t.state == TrialState::Running) {
            if let Some(worker) = Worker::of(trial)
                && let Some(here) = here.get_or_insert_with(Worker::current)
                && worker.is_dead(here)
            {
                orphans.push(trial.id);
            }
        }
        if let Some(config) = self.inner.heartbeat {
            let grace = chrono::TimeDelta::from_std(config.grace).unwrap_or(chrono::TimeDelta::MAX);
            if let Some(limit) = self.clock().now().checked_sub_signed(grace) {
                let stale = self.storage().stale_trials(self.id(), limit)?;
                orphans.extend(stale);
            }
        }
        orphans.sort_unstable();
        orphans.dedup();
        Ok(orphans)
    }

    /// Queues again what was broken off, once for all workers; returns all trials as they are then.
    pub(super) fn queue_again(
        &self,
        mut trials: Vec<Arc<FrozenTrial>>,
    ) -> Result<Vec<Arc<FrozenTrial>>> {
        let max_retry = self
            .inner
            .heartbeat
            .map_or(HeartbeatConfig::default().max_retry, |h| h.max_retry);
        while let Some(retry) = next_retry(&trials, max_retry) {
            // If another worker added a trial meanwhile, it may be this very one: look again.
            self.storage()
                .create_trial_numbered(self.id(), trials.len(), retry)?;
            trials = self.trials()?;
        }
        Ok(trials)
    }
}

/// The first trial, by ordinal, that is to be queued again and was not.
fn next_retry(trials: &[Arc<FrozenTrial>], max_retry: usize) -> Option<NewTrial> {
    let failed =
        |trial: &FrozenTrial| trial.state == TrialState::Fail && Cause::of(trial).is_some();
    if !trials.iter().any(|trial| failed(trial)) {
        return None;
    }
    let repeated: Vec<usize> = trials
        .iter()
        .filter_map(|trial| earlier_tries(trial).last().copied())
        .collect();
    let is_owed = |trial: &FrozenTrial| {
        failed(trial)
            && !repeated.contains(&trial.number)
            && may_be_retried(trial, trials, max_retry)
    };
    trials
        .iter()
        .zip(ordinals(trials))
        .filter(|(trial, _)| is_owed(trial))
        .min_by_key(|(_, ordinal)| *ordinal)
        .map(|(trial, _)| retry_of(trial))
}

/// The numbers of the tries before a trial, in order.
fn earlier_tries(trial: &FrozenTrial) -> Vec<usize> {
    match trial.system_attrs.get(RETRY_HISTORY) {
        Some(Value::Array(numbers)) => numbers
            .iter()
            .filter_map(|number| usize::try_from(number.as_u64()?).ok())
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a trial that was broken off is tried again: an interruption is not its fault, but workers
/// die of it `max_retry` times at most.
fn may_be_retried(failed: &FrozenTrial, trials: &[Arc<FrozenTrial>], max_retry: usize) -> bool {
    let is_fault = |number: usize| {
        trials
            .get(number)
            .is_none_or(|trial| Cause::of(trial) != Some(Cause::Interrupted))
    };
    let tries = earlier_tries(failed).into_iter().chain([failed.number]);
    Cause::of(failed) == Some(Cause::Interrupted)
        || tries.filter(|number| is_fault(*number)).count() <= max_retry
}

/// The trial that repeats another, with the attributes Optuna's callback for retries writes.
fn retry_of(failed: &FrozenTrial) -> NewTrial {
    let mut tries = earlier_tries(failed);
    tries.push(failed.number);
    let mut new = NewTrial {
        parameters: failed.parameters.clone(),
        user_attrs: failed.user_attrs.clone(),
        system_attrs: failed.system_attrs.clone(),
        ..NewTrial::waiting()
    };
    // It starts afresh, in a process of its own.
    new.system_attrs
        .retain(|key, _| !is_result(key) && key != WORKER && key != BROKEN_OFF);
    new.system_attrs
        .insert(FAILED_TRIAL.to_owned(), tries[0].into());
    new.system_attrs
        .insert(RETRY_HISTORY.to_owned(), tries.into());
    new
}
