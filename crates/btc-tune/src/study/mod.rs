//! A study: a search, its trials, and who runs them.

mod ask;
mod builder;
mod heartbeat;
mod history;
mod optimize;
mod ordered;
mod retry;
mod worker;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::attr::Attr;
use crate::best::{self, NoBest};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, StudyDirection, StudyId, TrialId, TrialState};
use crate::pruner::Pruner;
use crate::sampler::{Sampler, StudyView};
use crate::storage::{AttrScope, NewTrial, Storage, TrialUpdate};
use crate::trial::{Outcome, Trial};
use history::Renumbered;
use retry::Cause;

pub use builder::StudyBuilder;
pub use heartbeat::HeartbeatConfig;
pub use optimize::{Callback, OnFailure, OptimizeOptions, Parallelism};

/// A search for good parameter values.
///
/// Cloning gives another handle to the same study; threads may share it.
#[derive(Debug, Clone)]
pub struct Study {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    id: StudyId,
    name: String,
    directions: Vec<StudyDirection>,
    sampler: Arc<dyn Sampler>,
    pruner: Arc<dyn Pruner>,
    clock: Arc<dyn Clock>,
    heartbeat: Option<HeartbeatConfig>,
    renumbered: Renumbered,
}

/// Which trial is meant: a [`Trial`], or its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialRef {
    /// By identifier.
    Id(TrialId),
    /// By number within the study.
    Number(usize),
}

impl From<&Trial> for TrialRef {
    fn from(trial: &Trial) -> Self {
        Self::Id(trial.id())
    }
}

impl From<TrialId> for TrialRef {
    fn from(id: TrialId) -> Self {
        Self::Id(id)
    }
}

impl From<usize> for TrialRef {
    fn from(number: usize) -> Self {
        Self::Number(number)
    }
}

impl Study {
    /// Starts to describe a study; [`create`](StudyBuilder::create) makes or loads it.
    pub fn builder(name: impl Into<String>, storage: Arc<dyn Storage>) -> StudyBuilder {
        StudyBuilder::new(name.into(), storage)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Identifies it within its storage.
    pub fn id(&self) -> StudyId {
        self.inner.id
    }

    /// One direction per objective.
    pub fn directions(&self) -> &[StudyDirection] {
        &self.inner.directions
    }

    /// Where it lives.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    pub(crate) fn sampler(&self) -> &dyn Sampler {
        &*self.inner.sampler
    }

    pub(crate) fn pruner(&self) -> &dyn Pruner {
        &*self.inner.pruner
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    pub(crate) fn view<'a>(&'a self, trials: &'a [Arc<FrozenTrial>]) -> StudyView<'a> {
        StudyView {
            id: self.inner.id,
            name: &self.inner.name,
            directions: &self.inner.directions,
            trials,
        }
    }

    /// The trials as samplers and pruners are to see them: as if none had ever been broken off.
    pub(crate) fn undisturbed(&self, trials: &[Arc<FrozenTrial>]) -> Vec<Arc<FrozenTrial>> {
        self.inner.renumbered.undisturbed(trials)
    }

    pub(crate) fn need_one_objective(&self, operation: &'static str) -> Result<StudyDirection> {
        match self.inner.directions[..] {
            [direction] => Ok(direction),
            _ => Err(Error::SeveralObjectives {
                operation,
                objectives: self.inner.directions.len(),
            }),
        }
    }

    /// All trials in the order of their creation.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn trials(&self) -> Result<Vec<Arc<FrozenTrial>>> {
        self.inner.storage.trials(self.inner.id)
    }

    /// The best trial of a study with one objective.
    ///
    /// Only complete trials count, and of them only those that violate no constraint; of equals the
    /// earliest is best.
    ///
    /// # Errors
    ///
    /// [`Error::NoCompleteTrial`], [`Error::NoFeasibleTrial`], [`Error::SeveralObjectives`].
    pub fn best_trial(&self) -> Result<Arc<FrozenTrial>> {
        let direction = self.need_one_objective("the best trial")?;
        best::best_trial(&self.trials()?, direction).map_err(|reason| match reason {
            NoBest::NoneComplete => Error::NoCompleteTrial {
                study: self.name().to_owned(),
            },
            NoBest::NoneFeasible => Error::NoFeasibleTrial {
                study: self.name().to_owned(),
            },
        })
    }

    /// The value of the best trial.
    ///
    /// # Errors
    ///
    /// As [`best_trial`](Self::best_trial).
    pub fn best_value(&self) -> Result<f64> {
        self.best_trial()
            .map(|trial| trial.value().unwrap_or(f64::NAN))
    }

    /// The feasible complete trials no other one beats in every objective, in order of their numbers.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn best_trials(&self) -> Result<Vec<Arc<FrozenTrial>>> {
        Ok(best::pareto_front(&self.trials()?, &self.inner.directions))
    }

    /// Attributes of the user.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn user_attrs(&self) -> Result<Map<String, Value>> {
        Ok(self.inner.storage.study(self.inner.id)?.user_attrs)
    }

    /// Sets an attribute of the user's own.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_user_attr(&self, key: &str, value: impl Into<Attr>) -> Result<()> {
        self.inner
            .storage
            .set_study_attr(self.inner.id, AttrScope::User, key, &value.into().0)
    }

    /// Sets an attribute for tools.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_system_attr(&self, key: &str, value: impl Into<Attr>) -> Result<()> {
        self.inner
            .storage
            .set_study_attr(self.inner.id, AttrScope::System, key, &value.into().0)
    }

    /// Names the objectives, for plots and tables.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] unless there is one name per objective.
    pub fn set_metric_names(&self, names: &[&str]) -> Result<()> {
        if names.len() != self.inner.directions.len() {
            return Err(Error::InvalidSetting {
                reason: format!(
                    "{} names were given for {} objectives",
                    names.len(),
                    self.inner.directions.len()
                ),
            });
        }
        self.set_system_attr(METRIC_NAMES, names.to_vec())
    }

    /// The names of the objectives, if they were set.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn metric_names(&self) -> Result<Option<Vec<String>>> {
        let attrs = self.inner.storage.study(self.inner.id)?.system_attrs;
        Ok(attrs
            .get(METRIC_NAMES)
            .and_then(Value::as_array)
            .map(|names| {
                names
                    .iter()
                    .map(|name| name.as_str().unwrap_or_default().to_owned())
                    .collect()
            }))
    }

    /// Ends a trial with its value, its values, or an [`Outcome`].
    ///
    /// A value that is not a number makes the trial fail. One that was interrupted fails and is queued
    /// again. Returns the trial as it is stored.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`], [`Error::TrialFinished`], [`Error::InvalidOutcome`] if the number of
    /// values is not that of the objectives or if the trial is still queued, or what the storage
    /// reports.
    pub fn tell(
        &self,
        trial: impl Into<TrialRef>,
        outcome: impl Into<Outcome>,
    ) -> Result<Arc<FrozenTrial>> {
        let trial = self.find_trial(trial.into())?;
        if trial.state == TrialState::Waiting {
            return Err(Error::InvalidOutcome {
                number: trial.number,
                reason: "it is queued and has not begun; ask for it first".to_owned(),
            });
        }
        self.tell_frozen(&trial, outcome.into())
    }

    fn tell_frozen(&self, trial: &FrozenTrial, outcome: Outcome) -> Result<Arc<FrozenTrial>> {
        let now = self.clock().now();
        let (state, values) = match outcome {
            Outcome::Complete(values) if values.iter().any(|value| value.is_nan()) => {
                (TrialState::Fail, Vec::new())
            }
            Outcome::Complete(values) => (TrialState::Complete, values),
            Outcome::Pruned => {
                let last = trial.intermediate_values.values().next_back().copied();
                (
                    TrialState::Pruned,
                    last.filter(|value| !value.is_nan()).into_iter().collect(),
                )
            }
            Outcome::Failed => (TrialState::Fail, Vec::new()),
            Outcome::Interrupted => {
                let fail = Cause::Interrupted.fail(trial.number, now);
                self.storage().update_trial(trial.id, &fail)?;
                self.queue_again(self.trials()?)?;
                return self.storage().trial(trial.id);
            }
        };
        let finish = TrialUpdate::Finish {
            state,
            values,
            at: now,
        };
        self.storage().update_trial(trial.id, &[finish])?;
        self.storage().trial(trial.id)
    }

    fn find_trial(&self, trial: TrialRef) -> Result<Arc<FrozenTrial>> {
        match trial {
            TrialRef::Id(id) => self.storage().trial(id),
            TrialRef::Number(number) => {
                let trials = self.trials()?;
                trials
                    .into_iter()
                    .find(|trial| trial.number == number)
                    .ok_or_else(|| Error::UnknownTrial {
                        trial: format!("number {number}"),
                    })
            }
        }
    }

    /// Queues a trial with some parameters fixed; the others are sampled when it runs.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::sync::Arc;
    /// use btc_tune::{InMemoryStorage, Study};
    /// let study = Study::builder("queue", Arc::new(InMemoryStorage::new())).create()?;
    /// study.enqueue([("x", 0.25)])?;
    /// study.optimize(NonZeroUsize::MIN, |trial| Ok(trial.suggest_float("x", 0.0..=1.0)?))?;
    /// assert_eq!(study.best_value()?, 0.25);
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn enqueue<K: Into<String>, V: Into<Value>>(
        &self,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Arc<FrozenTrial>> {
        let fixed: Map<String, Value> = params
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        self.enqueue_map(fixed)
    }

    /// Queues a trial as [`enqueue`](Self::enqueue) unless one with the same values exists.
    ///
    /// Returns the new trial, or `None` if one exists, queued, running or finished.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn enqueue_if_new<K: Into<String>, V: Into<Value>>(
        &self,
        params: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        let fixed: Map<String, Value> = params
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        if self.trials()?.iter().any(|trial| has_params(trial, &fixed)) {
            return Ok(None);
        }
        self.enqueue_map(fixed).map(Some)
    }

    fn enqueue_map(&self, fixed: Map<String, Value>) -> Result<Arc<FrozenTrial>> {
        let mut new = NewTrial::waiting();
        new.system_attrs
            .insert("fixed_params".to_owned(), Value::Object(fixed));
        self.storage().create_trial(self.id(), new)
    }

    /// Adds a trial that was evaluated elsewhere; its identifier and number are given anew.
    ///
    /// # Errors
    ///
    /// [`Error::IncompatibleDistribution`], [`Error::InvalidOutcome`], or what the storage reports.
    pub fn add_trial(&self, trial: impl Into<NewTrial>) -> Result<Arc<FrozenTrial>> {
        let mut new: NewTrial = trial.into();
        let now = self.clock().now();
        if new.state != TrialState::Waiting && new.datetime_start.is_none() {
            new.datetime_start = Some(now);
        }
        if new.state.is_finished() && new.datetime_complete.is_none() {
            new.datetime_complete = Some(now);
        }
        self.storage().create_trial(self.id(), new)
    }

    /// Copies the study with its attributes and trials to a storage, under a new name.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicatedStudy`] if the name is taken there, or what a storage reports.
    pub fn copy_to(&self, storage: &dyn Storage, name: &str) -> Result<StudyId> {
        let study = self.storage().study(self.id())?;
        let id = storage.create_study(name, &study.directions)?;
        for (key, value) in &study.system_attrs {
            storage.set_study_attr(id, AttrScope::System, key, value)?;
        }
        for (key, value) in &study.user_attrs {
            storage.set_study_attr(id, AttrScope::User, key, value)?;
        }
        for trial in self.trials()? {
            let mut copy = NewTrial::from(&*trial);
            // The process that evaluates a trial evaluates no copy of it.
            copy.system_attrs.remove(worker::WORKER);
            storage.create_trial(id, copy)?;
        }
        Ok(id)
    }
}

const METRIC_NAMES: &str = "study:metric_names";

/// Whether a trial has, or is queued with, exactly these values.
fn has_params(trial: &FrozenTrial, wanted: &Map<String, Value>) -> bool {
    let fixed = trial
        .system_attrs
        .get("fixed_params")
        .and_then(Value::as_object);
    let mut values: Map<String, Value> = fixed.cloned().unwrap_or_default();
    values.extend(trial.params().map(|(name, value)| (name.to_owned(), value)));
    values.len() == wanted.len()
        && wanted.iter().all(|(name, value)| {
            values.get(name).is_some_and(|other| {
                other == value || (other.is_number() && other.as_f64() == value.as_f64())
            })
        })
}

impl NewTrial {
    /// Describes a complete trial with these parameters, given by their internal values.
    pub fn complete(parameters: Vec<Param>, values: impl Into<Vec<f64>>) -> Self {
        Self {
            state: TrialState::Complete,
            values: values.into(),
            parameters,
            ..Self::waiting()
        }
    }
}
