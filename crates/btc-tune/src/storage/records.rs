//! The rules every storage follows, on plain values in memory.
//!
//! The in-memory storage is these records behind a lock; the other storages keep them as their cache.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{AttrScope, NewTrial, TrialUpdate};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenStudy, FrozenTrial, StudyDirection, StudyId, TrialId, TrialState};

/// A study with its trials.
#[derive(Debug)]
pub(super) struct StudyRecord {
    pub(super) frozen: FrozenStudy,
    pub(super) trials: Vec<Arc<FrozenTrial>>,
    /// The first distribution each parameter name was used with.
    pub(super) distributions: HashMap<Arc<str>, Arc<Distribution>>,
}

impl StudyRecord {
    pub(super) fn new(frozen: FrozenStudy) -> Self {
        Self {
            frozen,
            trials: Vec::new(),
            distributions: HashMap::new(),
        }
    }

    pub(super) fn check_distribution(&self, name: &str, distribution: &Distribution) -> Result<()> {
        match self
            .distributions
            .get(name)
            .and_then(|first| first.incompatibility(distribution))
        {
            Some(reason) => Err(Error::IncompatibleDistribution {
                name: name.to_owned(),
                reason: reason.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn learn(&mut self, name: &Arc<str>, distribution: &Arc<Distribution>) {
        self.distributions
            .entry(name.clone())
            .or_insert_with(|| distribution.clone());
    }

    /// Appends a trial that was checked before.
    pub(super) fn push(&mut self, trial: FrozenTrial) -> Arc<FrozenTrial> {
        for param in &trial.parameters {
            self.learn(&param.name, &param.distribution);
        }
        let trial = Arc::new(trial);
        self.trials.push(trial.clone());
        trial
    }

    /// Puts a newer state of a trial in its place.
    #[cfg(feature = "sqlite")]
    pub(super) fn replace(&mut self, position: usize, trial: FrozenTrial) {
        for param in &trial.parameters {
            self.learn(&param.name, &param.distribution);
        }
        if *self.trials[position] != trial {
            self.trials[position] = Arc::new(trial);
        }
    }

    pub(super) fn check_updates(&self, position: usize, updates: &[TrialUpdate]) -> Result<()> {
        let trial = &self.trials[position];
        check_unfinished(trial)?;
        for update in updates {
            match update {
                TrialUpdate::Param(param) => {
                    self.check_distribution(&param.name, &param.distribution)?;
                }
                TrialUpdate::Finish { state, values, .. } => {
                    check_finish(trial.number, *state, values, self.frozen.directions.len())?;
                }
                TrialUpdate::Intermediate { .. } | TrialUpdate::Attr { .. } => {}
            }
        }
        Ok(())
    }

    /// Applies changes that were checked before.
    pub(super) fn apply_updates(&mut self, position: usize, updates: &[TrialUpdate]) {
        for update in updates {
            if let TrialUpdate::Param(param) = update {
                self.learn(&param.name, &param.distribution);
            }
        }
        let trial = Arc::make_mut(&mut self.trials[position]);
        for update in updates {
            apply(trial, update);
        }
    }
}

pub(super) fn check_unfinished(trial: &FrozenTrial) -> Result<()> {
    if trial.state.is_finished() {
        return Err(Error::TrialFinished {
            number: trial.number,
            state: trial.state,
        });
    }
    Ok(())
}

/// Checks that a finished state and its values go together.
pub(super) fn check_finish(
    number: usize,
    state: TrialState,
    values: &[f64],
    objectives: usize,
) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidOutcome { number, reason });
    if values.iter().any(|value| value.is_nan()) {
        return invalid("a value is not a number".to_owned());
    }
    match state {
        TrialState::Complete if values.len() != objectives => invalid(format!(
            "the study has {objectives} objectives, but {} values were given",
            values.len()
        )),
        TrialState::Pruned if values.len() > 1 => {
            invalid("a pruned trial has one value at most".to_owned())
        }
        TrialState::Fail if !values.is_empty() => {
            invalid("a failed trial has no values".to_owned())
        }
        TrialState::Running | TrialState::Waiting => {
            invalid("a trial ends as complete, pruned or failed".to_owned())
        }
        _ => Ok(()),
    }
}

fn apply(trial: &mut FrozenTrial, update: &TrialUpdate) {
    match update {
        TrialUpdate::Param(param) => {
            match trial
                .parameters
                .iter_mut()
                .find(|old| old.name == param.name)
            {
                Some(old) => *old = param.clone(),
                None => trial.parameters.push(param.clone()),
            }
        }
        TrialUpdate::Intermediate { step, value } => {
            trial.intermediate_values.insert(*step, *value);
        }
        TrialUpdate::Attr { scope, key, value } => {
            let attrs = match scope {
                AttrScope::User => &mut trial.user_attrs,
                AttrScope::System => &mut trial.system_attrs,
            };
            attrs.insert(key.clone(), value.clone());
        }
        TrialUpdate::Finish { state, values, at } => {
            trial.state = *state;
            trial.values.clone_from(values);
            trial.datetime_complete = Some(*at);
        }
    }
}

/// All studies of a storage.
#[derive(Debug, Default)]
pub(super) struct Records {
    studies: BTreeMap<StudyId, StudyRecord>,
    names: HashMap<String, StudyId>,
    positions: HashMap<TrialId, (StudyId, usize)>,
    heartbeats: HashMap<TrialId, DateTime<Utc>>,
    /// Studies of which something could not be read, and what.
    spoiled: HashMap<StudyId, String>,
    next_study: i64,
    next_trial: i64,
}

impl Records {
    pub(super) fn create_study(
        &mut self,
        name: &str,
        directions: &[StudyDirection],
    ) -> Result<StudyId> {
        check_study(name, directions)?;
        if self.names.contains_key(name) {
            return Err(Error::DuplicatedStudy {
                name: name.to_owned(),
            });
        }
        let id = StudyId(self.next_study);
        self.next_study += 1;
        self.names.insert(name.to_owned(), id);
        self.studies.insert(
            id,
            StudyRecord::new(FrozenStudy {
                id,
                name: name.to_owned(),
                directions: directions.to_vec(),
                user_attrs: Map::new(),
                system_attrs: Map::new(),
            }),
        );
        Ok(id)
    }

    pub(super) fn delete_study(&mut self, id: StudyId) -> Result<()> {
        let study = self.studies.remove(&id).ok_or_else(|| unknown_study(id))?;
        self.names.remove(&study.frozen.name);
        self.spoiled.remove(&id);
        for trial in &study.trials {
            self.positions.remove(&trial.id);
            self.heartbeats.remove(&trial.id);
        }
        Ok(())
    }

    pub(super) fn find_study(&self, name: &str) -> Option<StudyId> {
        self.names.get(name).copied()
    }

    pub(super) fn study_ids(&self) -> Vec<StudyId> {
        self.studies.keys().copied().collect()
    }

    pub(super) fn study(&self, id: StudyId) -> Result<&StudyRecord> {
        let study = self.studies.get(&id).ok_or_else(|| unknown_study(id))?;
        self.check_readable(&study.frozen)?;
        Ok(study)
    }

    /// The name of a study, readable or not.
    pub(super) fn study_name(&self, id: StudyId) -> Result<&str> {
        let study = self.studies.get(&id).ok_or_else(|| unknown_study(id))?;
        Ok(&study.frozen.name)
    }

    fn check_readable(&self, study: &FrozenStudy) -> Result<()> {
        match self.spoiled.get(&study.id) {
            None => Ok(()),
            Some(reason) => Err(Error::Malformed {
                what: format!("the study {:?}", study.name),
                reason: reason.clone(),
            }),
        }
    }

    fn study_mut(&mut self, id: StudyId) -> Result<&mut StudyRecord> {
        self.studies.get_mut(&id).ok_or_else(|| unknown_study(id))
    }

    /// Notes that something of a study could not be read.
    pub(super) fn spoil(&mut self, study: StudyId, reason: String) -> Result<()> {
        self.study_name(study)?;
        self.spoiled.entry(study).or_insert(reason);
        Ok(())
    }

    /// As [`spoil`](Self::spoil), for a trial that was to be created.
    pub(super) fn spoil_trial(&mut self, study: StudyId, reason: String) -> Result<()> {
        self.spoil(study, reason)?;
        self.next_trial += 1;
        Ok(())
    }

    pub(super) fn set_study_attr(
        &mut self,
        id: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) -> Result<()> {
        let frozen = &mut self.study_mut(id)?.frozen;
        let attrs = match scope {
            AttrScope::User => &mut frozen.user_attrs,
            AttrScope::System => &mut frozen.system_attrs,
        };
        attrs.insert(key.to_owned(), value.clone());
        Ok(())
    }

    pub(super) fn create_trial(
        &mut self,
        study: StudyId,
        number: Option<usize>,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        let id = TrialId(self.next_trial);
        let record = self.study_mut(study)?;
        let position = record.trials.len();
        if number.is_some_and(|number| number != position) {
            return Ok(None);
        }
        check_new(&trial, position, record)?;
        let heartbeat = trial.heartbeat;
        let trial = record.push(trial.freeze(id, position));
        if let Some(heartbeat) = heartbeat {
            self.heartbeats.insert(id, heartbeat);
        }
        self.positions.insert(id, (study, position));
        self.next_trial += 1;
        Ok(Some(trial))
    }

    /// The identifier the next study will have.
    pub(super) fn next_study(&self) -> StudyId {
        StudyId(self.next_study)
    }

    /// The identifier the next trial will have.
    pub(super) fn next_trial(&self) -> TrialId {
        TrialId(self.next_trial)
    }

    /// Repeats the creation of a trial another program may have made by looser rules.
    pub(super) fn replay_trial(&mut self, study: StudyId, trial: NewTrial) -> Result<()> {
        let id = TrialId(self.next_trial);
        let record = self.study_mut(study)?;
        let position = record.trials.len();
        record.push(trial.freeze(id, position));
        self.positions.insert(id, (study, position));
        self.next_trial += 1;
        Ok(())
    }

    /// Repeats a change another program may have made by looser rules.
    pub(super) fn replay_update(&mut self, trial: TrialId, update: TrialUpdate) -> Result<()> {
        let (study, position) = self.locate(trial)?;
        let record = self.study_mut(study)?;
        check_unfinished(&record.trials[position])?;
        if let TrialUpdate::Param(param) = &update {
            record.check_distribution(&param.name, &param.distribution)?;
        }
        record.apply_updates(position, &[update]);
        Ok(())
    }

    pub(super) fn locate(&self, trial: TrialId) -> Result<(StudyId, usize)> {
        self.positions
            .get(&trial)
            .copied()
            .ok_or_else(|| unknown_trial(trial))
    }

    pub(super) fn trial(&self, trial: TrialId) -> Result<&Arc<FrozenTrial>> {
        let (study, position) = self.locate(trial)?;
        Ok(&self.study(study)?.trials[position])
    }

    pub(super) fn update_trial(&mut self, trial: TrialId, updates: &[TrialUpdate]) -> Result<()> {
        let (study, position) = self.locate(trial)?;
        let record = self.study_mut(study)?;
        record.check_updates(position, updates)?;
        record.apply_updates(position, updates);
        Ok(())
    }

    pub(super) fn claim_trial(
        &mut self,
        trial: TrialId,
        now: DateTime<Utc>,
        updates: &[TrialUpdate],
    ) -> Result<bool> {
        let (study, position) = self.locate(trial)?;
        let record = self.study_mut(study)?;
        if record.trials[position].state != TrialState::Waiting {
            return Ok(false);
        }
        record.check_updates(position, updates)?;
        let trial = Arc::make_mut(&mut record.trials[position]);
        trial.state = TrialState::Running;
        trial.datetime_start = Some(now);
        record.apply_updates(position, updates);
        Ok(true)
    }

    pub(super) fn record_heartbeat(&mut self, trial: TrialId, now: DateTime<Utc>) -> Result<()> {
        self.locate(trial)?;
        self.heartbeats.insert(trial, now);
        Ok(())
    }

    pub(super) fn stale_trials(
        &self,
        study: StudyId,
        limit: DateTime<Utc>,
    ) -> Result<Vec<TrialId>> {
        let record = self.study(study)?;
        let stale = |trial: &&Arc<FrozenTrial>| {
            trial.state == TrialState::Running
                && self
                    .heartbeats
                    .get(&trial.id)
                    .is_some_and(|beat| *beat < limit)
        };
        Ok(record
            .trials
            .iter()
            .filter(stale)
            .map(|trial| trial.id)
            .collect())
    }
}

pub(super) fn check_study(name: &str, directions: &[StudyDirection]) -> Result<()> {
    if directions.is_empty() {
        return Err(Error::InvalidSetting {
            reason: "a study needs at least one direction".to_owned(),
        });
    }
    if name.chars().count() > 512 {
        return Err(Error::InvalidSetting {
            reason: "the name of a study has at most 512 characters".to_owned(),
        });
    }
    Ok(())
}

pub(super) fn check_new(trial: &NewTrial, number: usize, study: &StudyRecord) -> Result<()> {
    for param in &trial.parameters {
        study.check_distribution(&param.name, &param.distribution)?;
    }
    if trial.state.is_finished() {
        check_finish(
            number,
            trial.state,
            &trial.values,
            study.frozen.directions.len(),
        )?;
    }
    Ok(())
}

pub(super) fn unknown_study(id: StudyId) -> Error {
    Error::UnknownStudy {
        name: id.to_string(),
    }
}

pub(super) fn unknown_trial(id: TrialId) -> Error {
    Error::UnknownTrial {
        trial: id.to_string(),
    }
}
