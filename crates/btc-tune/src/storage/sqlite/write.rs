//! The statements that change the tables. Each function runs inside one write transaction.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension as _, Transaction};
use serde_json::{Map, Value};

use super::cache::Cache;
use crate::error::{Error, Result};
use crate::frozen::{Param, StudyDirection, StudyId, TrialId, TrialState};
use crate::storage::records::{check_finish, check_new, unknown_study, unknown_trial};
use crate::storage::{AttrScope, NewTrial, TrialUpdate, codec};

/// SQLite failed, or a rule of studies forbids the change.
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Rule(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Rule(error)
    }
}

pub(super) fn create_study(
    tx: &Transaction<'_>,
    name: &str,
    directions: &[StudyDirection],
) -> Result<StudyId, Failure> {
    let taken: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM studies WHERE study_name = ?1)")?
        .query_row([name], |row| row.get(0))?;
    if taken {
        return Err(Error::DuplicatedStudy {
            name: name.to_owned(),
        }
        .into());
    }
    tx.prepare_cached("INSERT INTO studies (study_name) VALUES (?1)")?
        .execute([name])?;
    let id = tx.last_insert_rowid();
    for (objective, direction) in directions.iter().enumerate() {
        let direction = match direction {
            StudyDirection::Minimize => "MINIMIZE",
            StudyDirection::Maximize => "MAXIMIZE",
        };
        tx.prepare_cached(
            "INSERT INTO study_directions (direction, study_id, objective) VALUES (?1, ?2, ?3)",
        )?
        .execute((direction, id, objective as i64))?;
    }
    Ok(StudyId(id))
}

pub(super) fn delete_study(tx: &Transaction<'_>, study: StudyId) -> Result<(), Failure> {
    // Foreign keys are declared but not enforced, so children go first, by hand.
    for table in [
        "trial_user_attributes",
        "trial_system_attributes",
        "trial_params",
        "trial_values",
        "trial_intermediate_values",
        "trial_heartbeats",
    ] {
        tx.execute(
            &format!(
                "DELETE FROM {table} WHERE trial_id IN \
                 (SELECT trial_id FROM trials WHERE study_id = ?1)"
            ),
            [study.0],
        )?;
    }
    for table in [
        "trials",
        "study_directions",
        "study_user_attributes",
        "study_system_attributes",
    ] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE study_id = ?1"),
            [study.0],
        )?;
    }
    if tx.execute("DELETE FROM studies WHERE study_id = ?1", [study.0])? == 0 {
        return Err(unknown_study(study).into());
    }
    Ok(())
}

pub(super) fn set_study_attr(
    tx: &Transaction<'_>,
    study: StudyId,
    scope: AttrScope,
    key: &str,
    value: &Value,
) -> Result<(), Failure> {
    check_key(key)?;
    let exists: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM studies WHERE study_id = ?1)")?
        .query_row([study.0], |row| row.get(0))?;
    if !exists {
        return Err(unknown_study(study).into());
    }
    let sql = match scope {
        AttrScope::User => {
            "INSERT INTO study_user_attributes (study_id, \"key\", value_json) VALUES (?1, ?2, ?3) \
             ON CONFLICT (study_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
        }
        AttrScope::System => {
            "INSERT INTO study_system_attributes (study_id, \"key\", value_json) VALUES (?1, ?2, ?3) \
             ON CONFLICT (study_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
        }
    };
    tx.prepare_cached(sql)?
        .execute((study.0, key, codec::encode_json(value)))?;
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    if key.chars().count() > 512 {
        return Err(Error::InvalidSetting {
            reason: format!(
                "the name {:?}... has more than 512 characters",
                &key[..key.floor_char_boundary(40)]
            ),
        });
    }
    Ok(())
}

/// Inserts a trial; `None` if its number would not be the expected one.
pub(super) fn create_trial(
    tx: &Transaction<'_>,
    cache: &Cache,
    study: StudyId,
    expected: Option<usize>,
    trial: &NewTrial,
) -> Result<Option<(TrialId, usize)>, Failure> {
    let record = cache.record(study).ok_or_else(|| unknown_study(study))?;
    let exists: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM studies WHERE study_id = ?1)")?
        .query_row([study.0], |row| row.get(0))?;
    if !exists {
        return Err(unknown_study(study).into());
    }
    // Trials are never deleted one by one, so the cached ones need not be counted again.
    let last = record.trials.last().map_or(i64::MIN, |trial| trial.id.0);
    let more: i64 = tx
        .prepare_cached("SELECT COUNT(*) FROM trials WHERE study_id = ?1 AND trial_id > ?2")?
        .query_row((study.0, last), |row| row.get(0))?;
    let number = record.trials.len() + usize::try_from(more).unwrap_or(0);
    if expected.is_some_and(|expected| expected != number) {
        return Ok(None);
    }
    check_new(trial, number, record)?;
    tx.prepare_cached(
        "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        number as i64,
        study.0,
        trial.state.as_str(),
        trial.datetime_start.map(codec::encode_time),
        trial.datetime_complete.map(codec::encode_time),
    ))?;
    let id = TrialId(tx.last_insert_rowid());
    for param in &trial.parameters {
        set_param(tx, cache, study, id, param)?;
    }
    for (step, value) in &trial.intermediate_values {
        set_intermediate(tx, id, *step, *value)?;
    }
    set_attrs(tx, id, AttrScope::User, &trial.user_attrs)?;
    set_attrs(tx, id, AttrScope::System, &trial.system_attrs)?;
    set_values(tx, id, &trial.values)?;
    if let Some(heartbeat) = trial.heartbeat {
        set_heartbeat(tx, id, heartbeat)?;
    }
    Ok(Some((id, number)))
}

pub(super) fn set_heartbeat(
    tx: &Transaction<'_>,
    trial: TrialId,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    tx.prepare_cached(
        "INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (?1, ?2) \
         ON CONFLICT (trial_id) DO UPDATE SET heartbeat = excluded.heartbeat",
    )?
    .execute((trial.0, codec::encode_seconds(now)))?;
    Ok(())
}

pub(super) fn update_trial(
    tx: &Transaction<'_>,
    cache: &Cache,
    trial: TrialId,
    updates: &[TrialUpdate],
) -> Result<(), Failure> {
    let (study, number, state): (i64, Option<i64>, String) = tx
        .prepare_cached("SELECT study_id, number, state FROM trials WHERE trial_id = ?1")?
        .query_row([trial.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?
        .ok_or_else(|| unknown_trial(trial))?;
    let (study, number) = (
        StudyId(study),
        number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    );
    let state = super::read::parse_state(&state)?;
    if state.is_finished() {
        return Err(Error::TrialFinished { number, state }.into());
    }
    for update in updates {
        match update {
            TrialUpdate::Param(param) => set_param(tx, cache, study, trial, param)?,
            TrialUpdate::Intermediate { step, value } => {
                set_intermediate(tx, trial, *step, *value)?
            }
            TrialUpdate::Attr { scope, key, value } => set_attr(tx, trial, *scope, key, value)?,
            TrialUpdate::Finish { state, values, at } => {
                let objectives = cache.record(study).map_or(1, |r| r.frozen.directions.len());
                check_finish(number, *state, values, objectives)?;
                set_values(tx, trial, values)?;
                finish(tx, trial, *state, &codec::encode_time(*at))?;
            }
        }
    }
    Ok(())
}

fn finish(
    tx: &Transaction<'_>,
    trial: TrialId,
    state: TrialState,
    at: &str,
) -> Result<(), Failure> {
    tx.prepare_cached("UPDATE trials SET state = ?2, datetime_complete = ?3 WHERE trial_id = ?1")?
        .execute((trial.0, state.as_str(), at))?;
    Ok(())
}

fn set_param(
    tx: &Transaction<'_>,
    cache: &Cache,
    study: StudyId,
    trial: TrialId,
    param: &Param,
) -> Result<(), Failure> {
    check_key(&param.name)?;
    let cached = cache
        .record(study)
        .filter(|r| r.distributions.contains_key(&param.name));
    if let Some(record) = cached {
        record.check_distribution(&param.name, &param.distribution)?;
    } else {
        // Another process may have used the name since the cache was filled.
        let earlier: Option<String> = tx
            .prepare_cached(
                "SELECT distribution_json FROM trial_params JOIN trials USING (trial_id) \
                 WHERE study_id = ?1 AND param_name = ?2 LIMIT 1",
            )?
            .query_row((study.0, &*param.name), |row| row.get(0))
            .optional()?;
        if let Some(earlier) = earlier {
            let earlier = codec::decode_distribution(&earlier)?;
            if let Some(reason) = earlier.incompatibility(&param.distribution) {
                return Err(Error::IncompatibleDistribution {
                    name: param.name.to_string(),
                    reason: reason.to_owned(),
                }
                .into());
            }
        }
    }
    tx.prepare_cached(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (trial_id, param_name) DO UPDATE \
         SET param_value = excluded.param_value, distribution_json = excluded.distribution_json",
    )?
    .execute((
        trial.0,
        &*param.name,
        param.internal,
        codec::encode_distribution(&param.distribution),
    ))?;
    Ok(())
}

/// What a float column and its kind column hold for a value.
fn split_value(value: f64) -> (Option<f64>, &'static str) {
    if value.is_nan() {
        (None, "NAN")
    } else if value == f64::INFINITY {
        (None, "INF_POS")
    } else if value == f64::NEG_INFINITY {
        (None, "INF_NEG")
    } else {
        (Some(value), "FINITE")
    }
}

fn set_intermediate(
    tx: &Transaction<'_>,
    trial: TrialId,
    step: u64,
    value: f64,
) -> Result<(), Failure> {
    let step = i64::try_from(step).map_err(|_| Error::InvalidSetting {
        reason: format!("step {step} is beyond 2^63"),
    })?;
    let (value, kind) = split_value(value);
    tx.prepare_cached(
        "INSERT INTO trial_intermediate_values \
         (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value, \
         intermediate_value_type = excluded.intermediate_value_type",
    )?
    .execute((trial.0, step, value, kind))?;
    Ok(())
}

fn set_values(tx: &Transaction<'_>, trial: TrialId, values: &[f64]) -> Result<(), Failure> {
    for (objective, value) in values.iter().enumerate() {
        let (value, kind) = split_value(*value);
        tx.prepare_cached(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) \
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (trial_id, objective) DO UPDATE \
             SET value = excluded.value, value_type = excluded.value_type",
        )?
        .execute((trial.0, objective as i64, value, kind))?;
    }
    Ok(())
}

fn set_attrs(
    tx: &Transaction<'_>,
    trial: TrialId,
    scope: AttrScope,
    attrs: &Map<String, Value>,
) -> Result<(), Failure> {
    for (key, value) in attrs {
        set_attr(tx, trial, scope, key, value)?;
    }
    Ok(())
}

fn set_attr(
    tx: &Transaction<'_>,
    trial: TrialId,
    scope: AttrScope,
    key: &str,
    value: &Value,
) -> Result<(), Failure> {
    check_key(key)?;
    let sql = match scope {
        AttrScope::User => {
            "INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) VALUES (?1, ?2, ?3) \
             ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
        }
        AttrScope::System => {
            "INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) VALUES (?1, ?2, ?3) \
             ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
        }
    };
    tx.prepare_cached(sql)?
        .execute((trial.0, key, codec::encode_json(value)))?;
    Ok(())
}
