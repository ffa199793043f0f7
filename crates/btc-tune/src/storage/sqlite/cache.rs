//! What the file was seen to hold, so that finished trials are read once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde_json::Value;

use super::read::{self, Texts};
use super::write::Failure;
use crate::frozen::{FrozenTrial, StudyId, TrialId, TrialState};
use crate::storage::records::{StudyRecord, unknown_study};
use crate::storage::{AttrScope, TrialUpdate};

/// One study as last seen.
struct CachedStudy {
    record: StudyRecord,
    /// Positions of the trials that can still change.
    unfinished: BTreeSet<usize>,
    /// SQLite's counter of foreign commits at that time.
    data_version: i64,
}

#[derive(Default)]
pub(super) struct Cache {
    studies: HashMap<StudyId, CachedStudy>,
    positions: HashMap<TrialId, (StudyId, usize)>,
    texts: Texts,
}

impl Cache {
    pub(super) fn record(&self, study: StudyId) -> Option<&StudyRecord> {
        self.studies.get(&study).map(|cached| &cached.record)
    }

    pub(super) fn position(&self, trial: TrialId) -> Option<(StudyId, usize)> {
        self.positions.get(&trial).copied()
    }

    pub(super) fn forget(&mut self, study: StudyId) {
        if let Some(cached) = self.studies.remove(&study) {
            for trial in &cached.record.trials {
                self.positions.remove(&trial.id);
            }
        }
    }

    /// Brings a study up to date with the file.
    pub(super) fn refresh(
        &mut self,
        connection: &mut Connection,
        study: StudyId,
    ) -> Result<(), Failure> {
        // Read before the data: a commit in between is seen again next time, never missed.
        let data_version: i64 = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if self
            .studies
            .get(&study)
            .is_some_and(|cached| cached.data_version == data_version)
        {
            return Ok(());
        }
        let result = self.read(connection, study, data_version);
        if result.is_err() {
            // What was half read must not pass for the study.
            self.studies.remove(&study);
            self.positions.retain(|_, (owner, _)| *owner != study);
        }
        result
    }

    fn read(
        &mut self,
        connection: &mut Connection,
        study: StudyId,
        data_version: i64,
    ) -> Result<(), Failure> {
        let tx = connection.transaction()?;
        let Some(frozen) = read::study(&tx, study)? else {
            self.forget(study);
            return Err(unknown_study(study).into());
        };
        if !self.is_same_study(&tx, study, &frozen.name)? {
            self.forget(study);
        }
        let mut cached = self.studies.remove(&study).unwrap_or_else(|| CachedStudy {
            record: StudyRecord::new(frozen.clone()),
            unfinished: BTreeSet::new(),
            data_version,
        });
        cached.record.frozen = frozen;
        cached.data_version = data_version;
        let known: Vec<TrialId> = cached
            .unfinished
            .iter()
            .map(|position| cached.record.trials[*position].id)
            .collect();
        for trial in read::trials_by_id(&tx, &known, &mut self.texts)? {
            let position = self.positions.get(&trial.id).map(|(_, position)| *position);
            if let Some(position) = position {
                if trial.state.is_finished() {
                    cached.unfinished.remove(&position);
                }
                cached.record.replace(position, trial);
            }
        }
        let last = cached
            .record
            .trials
            .last()
            .map_or(i64::MIN, |trial| trial.id.0);
        for trial in read::trials_after(&tx, study, last, &mut self.texts)? {
            Self::append(&mut self.positions, &mut cached, study, trial);
        }
        self.studies.insert(study, cached);
        tx.commit()?;
        Ok(())
    }

    /// Whether the study in the file is the one in the cache: another process may have deleted it and
    /// created one that got the same identifiers.
    fn is_same_study(
        &self,
        tx: &rusqlite::Transaction<'_>,
        study: StudyId,
        name: &str,
    ) -> Result<bool, Failure> {
        let Some(cached) = self.studies.get(&study) else {
            return Ok(true);
        };
        if cached.record.frozen.name != name {
            return Ok(false);
        }
        let trials = &cached.record.trials;
        let finished = |trial: &&Arc<FrozenTrial>| trial.state.is_finished();
        // The first trial that has begun tells studies apart in which nothing has ended yet.
        let begun = |trial: &&Arc<FrozenTrial>| trial.datetime_start.is_some();
        for trial in trials
            .iter()
            .rfind(finished)
            .into_iter()
            .chain(trials.iter().find(begun))
        {
            if !read::is_unchanged(tx, study, trial)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn append(
        positions: &mut HashMap<TrialId, (StudyId, usize)>,
        cached: &mut CachedStudy,
        study: StudyId,
        trial: FrozenTrial,
    ) -> Arc<FrozenTrial> {
        let position = cached.record.trials.len();
        positions.insert(trial.id, (study, position));
        if !trial.state.is_finished() {
            cached.unfinished.insert(position);
        }
        cached.record.push(trial)
    }

    pub(super) fn mirror_create(&mut self, study: StudyId, trial: FrozenTrial) -> Arc<FrozenTrial> {
        match self.studies.get_mut(&study) {
            // Trials of other processes came in between: the next refresh reads them all in order.
            Some(cached) if cached.record.trials.len() == trial.number => {
                Self::append(&mut self.positions, cached, study, trial)
            }
            _ => Arc::new(trial),
        }
    }

    pub(super) fn mirror_update(&mut self, trial: TrialId, updates: &[TrialUpdate]) {
        if let Some((study, position)) = self.position(trial)
            && let Some(cached) = self.studies.get_mut(&study)
        {
            cached.record.apply_updates(position, updates);
            if cached.record.trials[position].state.is_finished() {
                cached.unfinished.remove(&position);
            }
        }
    }

    pub(super) fn mirror_claim(&mut self, trial: TrialId, now: DateTime<Utc>) {
        if let Some((study, position)) = self.position(trial)
            && let Some(cached) = self.studies.get_mut(&study)
        {
            let trial = Arc::make_mut(&mut cached.record.trials[position]);
            trial.state = TrialState::Running;
            trial.datetime_start = Some(now);
        }
    }

    pub(super) fn mirror_study_attr(
        &mut self,
        study: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) {
        if let Some(cached) = self.studies.get_mut(&study) {
            let attrs = match scope {
                AttrScope::User => &mut cached.record.frozen.user_attrs,
                AttrScope::System => &mut cached.record.frozen.system_attrs,
            };
            attrs.insert(key.to_owned(), value.clone());
        }
    }
}
