//! A study: a search, its trials, and who runs them.

mod builder;
mod heartbeat;
mod optimize;
mod ordered;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::best::{self, NoBest};
use crate::clock::Clock;
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, StudyDirection, StudyId, TrialId, TrialState};
use crate::pruner::Pruner;
use crate::sampler::{Sampler, StudyView};
use crate::storage::{AttrScope, Heartbeat, NewTrial, Storage, TrialUpdate};
use crate::trial::{Outcome, Trial};
use ordered::Seen;

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
    pub fn set_user_attr(&self, key: &str, value: impl Into<Value>) -> Result<()> {
        self.inner
            .storage
            .set_study_attr(self.inner.id, AttrScope::User, key, &value.into())
    }

    /// Sets an attribute for tools.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_system_attr(&self, key: &str, value: impl Into<Value>) -> Result<()> {
        self.inner
            .storage
            .set_study_attr(self.inner.id, AttrScope::System, key, &value.into())
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
        self.ask_seeing(None)
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

    /// All trials, those of `seen` as they are there.
    pub(crate) fn trials_seen(&self, seen: Option<&Seen>) -> Result<Vec<Arc<FrozenTrial>>> {
        let mut trials = self.trials()?;
        for hidden in seen.into_iter().flatten() {
            if let Some(trial) = trials.get_mut(hidden.begun.number) {
                *trial = Arc::clone(&hidden.begun);
            }
        }
        Ok(trials)
    }

    /// Begins a trial whose sampler and pruner see the others as `seen` has them, if given, and
    /// learn nothing of them later.
    pub(crate) fn ask_seeing(&self, seen: Option<&Seen>) -> Result<Trial> {
        let isolated = seen.is_some();
        self.fail_stale_trials()?;
        let heartbeat = match self.inner.heartbeat {
            Some(_) => Heartbeat::On,
            None => Heartbeat::Off,
        };
        let mut trials = self.trials_seen(seen)?;
        let waiting: Vec<TrialId> = trials
            .iter()
            .filter(|trial| trial.state == TrialState::Waiting)
            .map(|trial| trial.id)
            .collect();
        for id in waiting {
            if self
                .storage()
                .claim_trial(id, self.clock().now(), heartbeat)?
            {
                let frozen = self.storage().trial(id)?;
                return self.begin(frozen, trials, isolated);
            }
        }
        // The values are chosen before the trial exists, so that it appears whole. If another worker
        // takes the number meanwhile, its trial must be seen first.
        for _ in 0..4 {
            let number = trials.len();
            let sample = self.sample_relative(&trials, number)?;
            let new = NewTrial {
                system_attrs: sample.system_attrs,
                ..self.new_running()
            };
            let created = self
                .storage()
                .create_trial_numbered(self.id(), number, new)?;
            if let Some(frozen) = created {
                let history = self.history(trials, number);
                return Ok(Trial::new(
                    self.clone(),
                    FrozenTrial::clone(&frozen),
                    sample.params,
                    history,
                    isolated,
                ));
            }
            trials = self.trials_seen(seen)?;
        }
        // Many workers are asking at once: take a number first and choose then.
        let frozen = self
            .storage()
            .create_trial(self.id(), NewTrial::running(self.clock().now()))?;
        let trials = self.trials_seen(seen)?;
        self.begin(frozen, trials, isolated)
    }

    fn new_running(&self) -> NewTrial {
        let now = self.clock().now();
        NewTrial {
            heartbeat: self.inner.heartbeat.map(|_| now),
            ..NewTrial::running(now)
        }
    }

    /// Chooses the values of a trial that exists already.
    fn begin(
        &self,
        frozen: Arc<FrozenTrial>,
        trials: Vec<Arc<FrozenTrial>>,
        isolated: bool,
    ) -> Result<Trial> {
        let mut frozen = FrozenTrial::clone(&frozen);
        let sample = self.sample_relative(&trials, frozen.number)?;
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
        let history = self.history(trials, frozen.number);
        Ok(Trial::new(
            self.clone(),
            frozen,
            sample.params,
            history,
            isolated,
        ))
    }

    fn sample_relative(
        &self,
        trials: &[Arc<FrozenTrial>],
        number: usize,
    ) -> Result<crate::sampler::RelativeSample> {
        let view = self.view(trials);
        match self.pruner().relevant_trials(view, number) {
            Some(relevant) => self.sampler().sample_relative(self.view(&relevant), number),
            None => self.sampler().sample_relative(view, number),
        }
    }

    fn history(&self, trials: Vec<Arc<FrozenTrial>>, number: usize) -> Arc<[Arc<FrozenTrial>]> {
        match self.pruner().relevant_trials(self.view(&trials), number) {
            Some(relevant) => relevant.into(),
            None => trials.into(),
        }
    }

    /// Ends a trial with its value, its values, or an [`Outcome`].
    ///
    /// A value that is not a number makes the trial fail. Returns the trial as it is stored.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`], [`Error::TrialFinished`], [`Error::InvalidOutcome`] if the number of
    /// values is not that of the objectives, or what the storage reports.
    pub fn tell(
        &self,
        trial: impl Into<TrialRef>,
        outcome: impl Into<Outcome>,
    ) -> Result<Arc<FrozenTrial>> {
        let trial = self.find_trial(trial.into())?;
        self.tell_frozen(&trial, outcome.into())
    }

    fn tell_frozen(&self, trial: &FrozenTrial, outcome: Outcome) -> Result<Arc<FrozenTrial>> {
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
        };
        let finish = TrialUpdate::Finish {
            state,
            values,
            at: self.clock().now(),
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
            storage.create_trial(id, NewTrial::from(&*trial))?;
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
