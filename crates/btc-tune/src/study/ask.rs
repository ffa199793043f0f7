//! Beginning a trial: taking one from the queue, or making a new one.

use std::sync::Arc;

use serde_json::Map;

use super::Study;
use super::history::{Sight, ordinals};
use super::worker::{WORKER, Worker};
use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::{FrozenTrial, TrialId, TrialState};
use crate::sampler::RelativeSample;
use crate::storage::{AttrScope, Heartbeat, NewTrial, TrialUpdate};
use crate::trial::{Begun, Trial};

impl Study {
    /// Begins a trial: takes one from the queue, or creates a new one.
    ///
    /// # Errors
    ///
    /// What the sampler or the storage reports.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use btc_tune::{InMemoryStorage, Study};
    /// let study = Study::builder("ask", Arc::new(InMemoryStorage::new())).create()?;
    /// let mut trial = study.ask()?;
    /// let x = trial.suggest_float("x", -1.0..=1.0)?;
    /// study.tell(&trial, x * x)?;
    /// assert_eq!(study.best_value()?, x * x);
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    pub fn ask(&self) -> Result<Trial> {
        let trials = self.settle_broken_off()?;
        self.ask_seeing(trials, Sight::Everything, None)
    }

    /// Begins a trial and suggests the given parameters at once.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask) and [`Trial::suggest`].
    pub fn ask_with(&self, distributions: &[(&str, Distribution)]) -> Result<Trial> {
        let mut trial = self.ask()?;
        for (name, distribution) in distributions {
            trial.suggest(name, distribution.clone())?;
        }
        Ok(trial)
    }

    /// Begins a trial of a study that has these, for a worker if one is named; its sampler and pruner
    /// see what `sight` shows them.
    pub(super) fn ask_seeing(
        &self,
        mut trials: Vec<Arc<FrozenTrial>>,
        sight: Sight<'_>,
        worker: Option<&Worker>,
    ) -> Result<Trial> {
        for (ordinal, number, id) in waiting(&trials) {
            if self.claim(id, number, worker)? {
                let frozen = self.storage().trial(id)?;
                return self.begin(&frozen, ordinal, &trials, sight);
            }
        }
        // The values are chosen before the trial exists, so that it appears whole. If another worker
        // takes the number meanwhile, its trial must be seen first.
        for _ in 0..4 {
            let number = trials.len();
            let seen = self.undisturbed(&trials);
            let ordinal = seen.len();
            let seen = sight.of(seen, ordinal);
            let sample = self.sample_relative(&seen, ordinal)?;
            let mut new = self.new_running(worker.map(|worker| (worker, number)));
            new.system_attrs.extend(sample.system_attrs);
            let created = self
                .storage()
                .create_trial_numbered(self.id(), number, new)?;
            if let Some(frozen) = created {
                return Ok(Trial::new(
                    self.clone(),
                    Begun {
                        frozen: FrozenTrial::clone(&frozen),
                        ordinal,
                        relative: sample.params,
                        history: self.history(seen, ordinal),
                        isolated: sight.is_isolated(),
                    },
                ));
            }
            trials = self.trials()?;
        }
        // Many workers are asking at once: take a number first and choose then.
        let frozen = self
            .storage()
            .create_trial(self.id(), self.new_running(None))?;
        let named = named(worker, frozen.number);
        if !named.is_empty() {
            self.storage().update_trial(frozen.id, &named)?;
        }
        let frozen = self.storage().trial(frozen.id)?;
        let trials = self.trials()?;
        let ordinal = ordinals(&trials)
            .get(frozen.number)
            .copied()
            .unwrap_or(frozen.number);
        self.begin(&frozen, ordinal, &trials, sight)
    }

    /// Takes a queued trial, with the first sign of life of its worker and its name.
    fn claim(&self, id: TrialId, number: usize, worker: Option<&Worker>) -> Result<bool> {
        let heartbeat = match self.inner.heartbeat {
            Some(_) => Heartbeat::On,
            None => Heartbeat::Off,
        };
        let now = self.clock().now();
        self.storage()
            .claim_trial(id, now, heartbeat, &named(worker, number))
    }

    fn new_running(&self, named: Option<(&Worker, usize)>) -> NewTrial {
        let now = self.clock().now();
        let mut new = NewTrial {
            heartbeat: self.inner.heartbeat.map(|_| now),
            ..NewTrial::running(now)
        };
        if let Some((worker, number)) = named {
            new.system_attrs
                .insert(WORKER.to_owned(), worker.attribute(number));
        }
        new
    }

    /// Chooses the values of a trial that exists already.
    fn begin(
        &self,
        frozen: &FrozenTrial,
        ordinal: usize,
        trials: &[Arc<FrozenTrial>],
        sight: Sight<'_>,
    ) -> Result<Trial> {
        let mut frozen = frozen.clone();
        let seen = sight.of(self.undisturbed(trials), ordinal);
        let mut sample = self.sample_relative(&seen, ordinal)?;
        // What the first try of a trial told other workers stands, and goes with the parameters it got.
        if sample
            .system_attrs
            .keys()
            .any(|key| frozen.system_attrs.contains_key(key))
        {
            sample.system_attrs = Map::new();
        }
        let updates: Vec<TrialUpdate> = sample
            .system_attrs
            .iter()
            .map(|(key, value)| TrialUpdate::Attr {
                scope: AttrScope::System,
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        if !updates.is_empty() {
            self.storage().update_trial(frozen.id, &updates)?;
            frozen.system_attrs.extend(sample.system_attrs);
        }
        Ok(Trial::new(
            self.clone(),
            Begun {
                frozen,
                ordinal,
                relative: sample.params,
                history: self.history(seen, ordinal),
                isolated: sight.is_isolated(),
            },
        ))
    }

    fn sample_relative(
        &self,
        trials: &[Arc<FrozenTrial>],
        ordinal: usize,
    ) -> Result<RelativeSample> {
        let view = self.view(trials);
        match self.pruner().relevant_trials(view, ordinal) {
            Some(relevant) => self
                .sampler()
                .sample_relative(self.view(&relevant), ordinal),
            None => self.sampler().sample_relative(view, ordinal),
        }
    }

    fn history(&self, trials: Vec<Arc<FrozenTrial>>, ordinal: usize) -> Arc<[Arc<FrozenTrial>]> {
        match self.pruner().relevant_trials(self.view(&trials), ordinal) {
            Some(relevant) => relevant.into(),
            None => trials.into(),
        }
    }
}

/// The change that names the worker of a trial.
fn named(worker: Option<&Worker>, number: usize) -> Vec<TrialUpdate> {
    let attribute = |worker: &Worker| TrialUpdate::Attr {
        scope: AttrScope::System,
        key: WORKER.to_owned(),
        value: worker.attribute(number),
    };
    worker.map(attribute).into_iter().collect()
}

/// The ordinal, number and identifier of each trial in the queue, in the order in which they are
/// taken: what is tried again comes before what would have come after it.
fn waiting(trials: &[Arc<FrozenTrial>]) -> Vec<(usize, usize, TrialId)> {
    if !trials.iter().any(|t| t.state == TrialState::Waiting) {
        return Vec::new();
    }
    let mut waiting: Vec<(usize, usize, TrialId)> = trials
        .iter()
        .zip(ordinals(trials))
        .filter(|(trial, _)| trial.state == TrialState::Waiting)
        .map(|(trial, ordinal)| (ordinal, trial.number, trial.id))
        .collect();
    waiting.sort_unstable();
    waiting
}
