//! Studies that live as long as the process.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::records::{Records, unknown_study};
use super::{AttrScope, Heartbeat, NewTrial, Storage, TrialUpdate};
use crate::error::Result;
use crate::frozen::{FrozenStudy, FrozenTrial, StudyDirection, StudyId, TrialId};
use crate::sync::lock;

/// Keeps studies in memory, for tests and for searches nobody looks at later.
#[derive(Debug, Default)]
pub struct InMemoryStorage {
    records: Mutex<Records>,
}

impl InMemoryStorage {
    /// Creates an empty storage.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for InMemoryStorage {
    fn create_study(&self, name: &str, directions: &[StudyDirection]) -> Result<StudyId> {
        lock(&self.records).create_study(name, directions)
    }

    fn delete_study(&self, study: StudyId) -> Result<()> {
        lock(&self.records).delete_study(study)
    }

    fn find_study(&self, name: &str) -> Result<Option<StudyId>> {
        Ok(lock(&self.records).find_study(name))
    }

    fn study(&self, study: StudyId) -> Result<FrozenStudy> {
        Ok(lock(&self.records).study(study)?.frozen.clone())
    }

    fn study_ids(&self) -> Result<Vec<StudyId>> {
        Ok(lock(&self.records).study_ids())
    }

    fn set_study_attr(
        &self,
        study: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) -> Result<()> {
        lock(&self.records).set_study_attr(study, scope, key, value)
    }

    fn create_trial(&self, study: StudyId, trial: NewTrial) -> Result<Arc<FrozenTrial>> {
        lock(&self.records)
            .create_trial(study, None, trial)?
            .ok_or_else(|| unknown_study(study))
    }

    fn create_trial_numbered(
        &self,
        study: StudyId,
        number: usize,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        lock(&self.records).create_trial(study, Some(number), trial)
    }

    fn update_trial(&self, trial: TrialId, updates: &[TrialUpdate]) -> Result<()> {
        lock(&self.records).update_trial(trial, updates)
    }

    fn claim_trial(
        &self,
        trial: TrialId,
        now: DateTime<Utc>,
        heartbeat: Heartbeat,
        updates: &[TrialUpdate],
    ) -> Result<bool> {
        let mut records = lock(&self.records);
        let claimed = records.claim_trial(trial, now, updates)?;
        if claimed && heartbeat == Heartbeat::On {
            records.record_heartbeat(trial, now)?;
        }
        Ok(claimed)
    }

    fn trial(&self, trial: TrialId) -> Result<Arc<FrozenTrial>> {
        lock(&self.records).trial(trial).cloned()
    }

    fn trials(&self, study: StudyId) -> Result<Vec<Arc<FrozenTrial>>> {
        Ok(lock(&self.records).study(study)?.trials.clone())
    }

    fn record_heartbeat(&self, trial: TrialId, now: DateTime<Utc>) -> Result<()> {
        lock(&self.records).record_heartbeat(trial, now)
    }

    fn stale_trials(&self, study: StudyId, limit: DateTime<Utc>) -> Result<Vec<TrialId>> {
        lock(&self.records).stale_trials(study, limit)
    }
}
