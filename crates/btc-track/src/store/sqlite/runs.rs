//! The rows of runs and of what is logged to them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::complete::complete;
use super::experiments::{active, stage};
use super::rollup::Rollup;
use super::{SqliteStore, encode, found, lock, search};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// Names of metrics that are remembered; more are looked up again.
const MAX_KNOWN_KEYS: usize = 10_000;

pub(super) const COLUMNS: &str = "r.id, r.uuid, r.experiment, r.name, r.user_id, r.status, \
     r.start_time, r.end_time, r.artifact_uri, r.deleted";

/// A run's row id with its own fields.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, RunInfo)> {
    let experiment: i64 = row.get(2)?;
    let status: String = row.get(5)?;
    let info = RunInfo {
        run_id: row.get(1)?,
        experiment_id: experiment.to_string(),
        run_name: row.get(3)?,
        user_id: row.get(4)?,
        // Only statuses of ours are ever written.
        status: status.parse().unwrap_or(RunStatus::Failed),
        start_time: row.get(6)?,
        end_time: row.get(7)?,
        artifact_uri: row.get(8)?,
        lifecycle_stage: stage(row.get(9)?),
    };
    Ok((row.get(0)?, info))
}

pub(super) fn info(connection: &Connection, id: &str) -> Result<(i64, RunInfo)> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM run r WHERE r.uuid = ?1"))?;
    found(statement.query_row([id], from_row), "run", id)
}

/// The row ids of an active run and its experiment.
fn active_run(connection: &Connection, id: &str) -> Result<(i64, i64)> {
    let mut statement =
        connection.prepare_cached("SELECT id, experiment, deleted FROM run WHERE uuid = ?1")?;
    let row = statement.query_row([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)));
    let (run, experiment, deleted): (i64, i64, bool) = found(row, "run", id)?;
    if deleted {
        return Err(Error::Inactive {
            what: "run",
            id: id.to_owned(),
        });
    }
    Ok((run, experiment))
}

fn set_tag(connection: &Connection, run: i64, tag: &Tag) -> Result<()> {
    // A run keeps its name until it gets another, as in MLflow.
    if tag.key == RUN_NAME_TAG && tag.value.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO tag VALUES(?1, ?2, ?3)")?
        .execute(params![run, tag.key, tag.value])?;
    if tag.key == RUN_NAME_TAG {
        connection
            .prepare_cached("UPDATE run SET name = ?2 WHERE id = ?1")?
            .execute(params![run, tag.value])?;
    }
    Ok(())
}

fn log_param(connection: &Connection, run: i64, id: &str, param: &Param) -> Result<()> {
    let inserted = connection
        .prepare_cached("INSERT INTO param VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![run, param.key, param.value])?;
    if inserted > 0 {
        return Ok(());
    }
    let old: String = connection
        .prepare_cached("SELECT value FROM param WHERE run = ?1 AND key = ?2")?
        .query_row(params![run, param.key], |row| row.get(0))?;
    if old == param.value {
        return Ok(());
    }
    Err(Error::ParamChanged {
        run: id.to_owned(),
        key: param.key.clone(),
        old,
        new: param.value.clone(),
    })
}

impl SqliteStore {
    pub(super) fn insert_run(&self, new: &NewRun) -> Result<Run> {
        check_new_run(new)?;
        let id = new_id();
        let tags = run_tags(new, &id);
        let name = &tags
            .iter()
            .find(|tag| tag.key == RUN_NAME_TAG)
            .map_or("", |tag| &tag.value);
        let start_time = new.start_time.unwrap_or_else(|| self.clock.now_ms());
        self.write(|connection| {
            let (experiment, location) = active(connection, &new.experiment_id)?;
            connection
                .prepare_cached(
                    "INSERT INTO run(uuid, experiment, name, user_id, status, start_time, artifact_uri)
                     VALUES(?1, ?2, ?3, ?4, 'RUNNING', ?5, ?6)",
                )?
                .execute(params![
                    id,
                    experiment,
                    name,
                    new.user_id,
                    start_time,
                    format!("{location}/{id}/artifacts")
                ])?;
            let row = connection.last_insert_rowid();
            tags.iter().try_for_each(|tag| set_tag(connection, row, tag))?;
            complete(connection, info(connection, &id)?)
        })
    }

    pub(super) fn apply_run_update(&self, id: &str, update: &RunUpdate) -> Result<RunInfo> {
        check_run_update(update)?;
        let name = update.run_name.as_deref().filter(|name| !name.is_empty());
        self.write(|connection| {
            let (row, _) = active_run(connection, id)?;
            connection
                .prepare_cached(
                    "UPDATE run SET status = coalesce(?2, status), end_time = coalesce(?3, end_time)
                     WHERE id = ?1",
                )?
                .execute(params![row, update.status.map(RunStatus::as_str), update.end_time])?;
            if let Some(name) = name {
                set_tag(connection, row, &Tag::new(RUN_NAME_TAG, name))?;
            }
            Ok(info(connection, id)?.1)
        })
    }

    pub(super) fn apply_run_lifecycle(&self, id: &str, stage: LifecycleStage) -> Result<()> {
        let now = self.clock.now_ms();
        self.write(|connection| {
            let (row, run) = info(connection, id)?;
            match stage {
                LifecycleStage::Deleted => connection.execute(
                    "UPDATE run SET deleted = 1, deleted_time = coalesce(deleted_time, ?2)
                     WHERE id = ?1",
                    params![row, now],
                )?,
                LifecycleStage::Active => {
                    active(connection, &run.experiment_id)?;
                    connection.execute(
                        "UPDATE run SET deleted = 0, deleted_time = NULL,
                         deleted_with_experiment = 0 WHERE id = ?1",
                        [row],
                    )?
                }
            };
            Ok(())
        })
    }

    pub(super) fn write_batch(&self, id: &str, batch: &Batch) -> Result<()> {
        check_batch(batch)?;
        self.write(|connection| {
            let (run, experiment) = active_run(connection, id)?;
            self.log_metrics(connection, run, experiment, &batch.metrics)?;
            batch
                .params
                .iter()
                .try_for_each(|param| log_param(connection, run, id, param))?;
            batch
                .tags
                .iter()
                .try_for_each(|tag| set_tag(connection, run, tag))?;
            if !batch.model_metrics.is_empty() {
                super::logged_models::log_metrics(connection, id, &batch.model_metrics)?;
            }
            Ok(())
        })
    }

    fn log_metrics(
        &self,
        connection: &Connection,
        run: i64,
        experiment: i64,
        metrics: &[Metric],
    ) -> Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO metric VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?;
        let mut rollup = Rollup::default();
        let mut latest: BTreeMap<&str, (i64, &Metric)> = BTreeMap::new();
        for metric in metrics {
            let key = match latest.get_mut(metric.key.as_str()) {
                Some((key, old)) => {
                    if is_later(metric, old) {
                        *old = metric;
                    }
                    *key
                }
                None => {
                    let key = self.metric_key(connection, &metric.key)?;
                    latest.insert(&metric.key, (key, metric));
                    key
                }
            };
            let value = encode(metric.value);
            let inserted = insert.execute((run, key, metric.timestamp, metric.step, value))?;
            // Duplicates are not counted again.
            if inserted > 0 {
                rollup.add(key, metric);
            }
        }
        rollup.write(connection, run)?;
        let mut upsert = connection.prepare_cached(
            "INSERT INTO latest_metric VALUES(?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT(run, key) DO UPDATE SET
               timestamp = excluded.timestamp, step = excluded.step, value = excluded.value
             WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)",
        )?;
        for (key, metric) in latest.values() {
            let value = encode(metric.value);
            upsert.execute((run, key, experiment, metric.timestamp, metric.step, value))?;
        }
        Ok(())
    }

    pub(super) fn append_model(&self, id: &str, model: &serde_json::Value) -> Result<()> {
        self.write(|connection| {
            let (run, _) = active_run(connection, id)?;
            let known: Option<String> = connection
                .prepare_cached("SELECT value FROM tag WHERE run = ?1 AND key = ?2")?
                .query_row(params![run, LOGGED_MODELS_TAG], |row| row.get(0))
                .optional()?;
            let value = with_model(known.as_deref(), model);
            set_tag(connection, run, &Tag::new(LOGGED_MODELS_TAG, value))
        })
    }

    pub(super) fn remove_run_tag(&self, id: &str, key: &str) -> Result<()> {
        self.write(|connection| {
            let (run, _) = active_run(connection, id)?;
            let deleted = connection.execute(
                "DELETE FROM tag WHERE run = ?1 AND key = ?2",
                params![run, key],
            )?;
            if deleted == 0 {
                return Err(Error::not_found("run tag", key));
            }
            Ok(())
        })
    }

    pub(super) fn write_inputs(
        &self,
        id: &str,
        inputs: &[DatasetInput],
        models: &[String],
    ) -> Result<()> {
        inputs.iter().try_for_each(check_input)?;
        self.write(|connection| {
            let (run, _) = active_run(connection, id)?;
            for model in models {
                connection.execute(
                    "INSERT INTO run_model_input VALUES(?1, ?2) ON CONFLICT DO NOTHING",
                    params![run, model],
                )?;
            }
            for DatasetInput { dataset, tags } in inputs {
                let context = tags.iter().find(|t| t.key == CONTEXT_TAG).map(|t| &t.value);
                let pairs: Vec<_> = tags.iter().map(|tag| (&tag.key, &tag.value)).collect();
                connection.execute(
                    "INSERT INTO run_dataset VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT DO NOTHING",
                    params![
                        run,
                        dataset.name,
                        dataset.digest,
                        dataset.source_type,
                        dataset.source,
                        dataset.schema,
                        dataset.profile,
                        context,
                        serde_json::json!(pairs).to_string()
                    ],
                )?;
            }
            Ok(())
        })
    }

    pub(super) fn write_outputs(&self, id: &str, outputs: &[ModelOutput]) -> Result<()> {
        self.write(|connection| {
            let (run, _) = active_run(connection, id)?;
            for ModelOutput { model_id, step } in outputs {
                connection.execute(
                    "INSERT INTO run_output VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![run, model_id, step],
                )?;
            }
            Ok(())
        })
    }

    fn metric_key(&self, connection: &Connection, name: &str) -> Result<i64> {
        // Writes come one after the other, so nothing is undone meanwhile.
        let undone = self.writer.undone();
        let mut keys = lock(&self.metric_keys);
        if keys.0 != undone || keys.1.len() >= MAX_KNOWN_KEYS {
            *keys = (undone, HashMap::new());
        }
        if let Some(key) = keys.1.get(name) {
            return Ok(*key);
        }
        if let Some(key) = search::metric_key(connection, name)? {
            keys.1.insert(name.to_owned(), key);
            return Ok(key);
        }
        connection
            .prepare_cached("INSERT INTO metric_key(name) VALUES(?1)")?
            .execute([name])?;
        Ok(connection.last_insert_rowid())
    }
}
