//! Signs of life of workers, and what becomes of trials whose worker died.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::Study;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialId, TrialState};
use crate::storage::{NewTrial, TrialUpdate};

/// How workers show that they are alive.
///
/// The storage must keep heartbeats: SQLite and memory do, the journal does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// How often a worker gives a sign; whole seconds.
    pub interval: Duration,
    /// How long after its last sign a worker counts as dead; twice the interval is a good choice.
    pub grace: Duration,
    /// How often a trial whose worker died is tried again.
    pub max_retry: usize,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            grace: Duration::from_secs(120),
            max_retry: 1,
        }
    }
}

impl Study {
    /// Fails the running trials whose worker died, and queues each again if it may be retried.
    ///
    /// Every worker does this before it begins a trial. Without
    /// [`heartbeat`](super::StudyBuilder::heartbeat) nothing happens.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn fail_stale_trials(&self) -> Result<()> {
        let Some(config) = self.inner.heartbeat else {
            return Ok(());
        };
        let now = self.clock().now();
        let grace = chrono::TimeDelta::from_std(config.grace).unwrap_or(chrono::TimeDelta::MAX);
        let Some(limit) = now.checked_sub_signed(grace) else {
            return Ok(());
        };
        for id in self.storage().stale_trials(self.id(), limit)? {
            let finish = TrialUpdate::Finish {
                state: TrialState::Fail,
                values: Vec::new(),
                at: now,
            };
            match self.storage().update_trial(id, &[finish]) {
                Ok(()) => self.retry(&*self.storage().trial(id)?, config.max_retry)?,
                // Another worker noticed as well and was faster.
                Err(Error::TrialFinished { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn retry(&self, failed: &FrozenTrial, max_retry: usize) -> Result<()> {
        let mut new = NewTrial {
            parameters: failed.parameters.clone(),
            user_attrs: failed.user_attrs.clone(),
            system_attrs: failed.system_attrs.clone(),
            ..NewTrial::waiting()
        };
        let history = new
            .system_attrs
            .entry("retry_history")
            .or_insert_with(|| json!([]));
        let tries = match history {
            Value::Array(numbers) => {
                numbers.push(failed.number.into());
                numbers.len()
            }
            other => {
                *other = json!([failed.number]);
                1
            }
        };
        if tries <= max_retry {
            new.system_attrs
                .entry("failed_trial")
                .or_insert_with(|| failed.number.into());
            self.storage().create_trial(self.id(), new)?;
        }
        Ok(())
    }
}

/// Gives signs of life for the trials of a run.
#[derive(Debug, Default)]
pub(super) struct Heart {
    beating: Mutex<Beating>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Beating {
    trials: BTreeSet<TrialId>,
    stopped: bool,
}

impl Heart {
    pub(super) fn add(&self, trial: TrialId) {
        self.beating
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trials
            .insert(trial);
    }

    pub(super) fn remove(&self, trial: TrialId) {
        self.beating
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trials
            .remove(&trial);
    }

    pub(super) fn stop(&self) {
        self.beating
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stopped = true;
        self.changed.notify_all();
    }

    /// Beats until stopped.
    pub(super) fn run(&self, study: &Study, interval: Duration) {
        loop {
            let beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
            let (beating, _) = self
                .changed
                .wait_timeout_while(beating, interval, |beating| !beating.stopped)
                .unwrap_or_else(PoisonError::into_inner);
            if beating.stopped {
                return;
            }
            let trials: Vec<TrialId> = beating.trials.iter().copied().collect();
            drop(beating);
            for trial in trials {
                // A sign that could not be recorded is made up for by the next; if none comes
                // through, the trial is rightly taken for stale.
                let _ = study.storage().record_heartbeat(trial, study.clock().now());
            }
        }
    }
}
