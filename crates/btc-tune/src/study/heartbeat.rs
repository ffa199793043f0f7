//! Signs of life of workers.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Study;
use crate::frozen::TrialId;
use crate::sync::lock;

/// How workers show that they are alive.
///
/// The storage must keep heartbeats: SQLite and memory do, the journal does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// How often a worker gives a sign; whole seconds.
    pub interval: Duration,
    /// How long after its last sign a worker counts as dead; twice the interval is a good choice.
    pub grace: Duration,
    /// How often a trial whose worker died is tried again. Trials that were interrupted are, however
    /// often that happens.
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
        lock(&self.beating).trials.insert(trial);
    }

    pub(super) fn remove(&self, trial: TrialId) {
        lock(&self.beating).trials.remove(&trial);
    }

    pub(super) fn stop(&self) {
        lock(&self.beating).stopped = true;
        self.changed.notify_all();
    }

    /// Beats until stopped.
    pub(super) fn run(&self, study: &Study, interval: Duration) {
        loop {
            let beating = lock(&self.beating);
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
