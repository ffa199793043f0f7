//! The rows of logged models.

use rusqlite::{Connection, Row, params};

use super::experiments::active;
use super::{SqliteStore, decode, encode, found, key_values, read_tags};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Filter, Subject};
use crate::store::*;

const COLUMNS: &str = "SELECT id, model_id, experiment, name, creation_timestamp, \
     last_updated_timestamp, artifact_uri, status, model_type, source_run_id FROM logged_model";

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, LoggedModel)> {
    let experiment: i64 = row.get(2)?;
    let status: String = row.get(7)?;
    let model = LoggedModel {
        model_id: row.get(1)?,
        experiment_id: experiment.to_string(),
        name: row.get(3)?,
        creation_timestamp: row.get(4)?,
        last_updated_timestamp: row.get(5)?,
        artifact_uri: row.get(6)?,
        status: status.parse().unwrap_or(LoggedModelStatus::Failed),
        model_type: row.get(8)?,
        source_run_id: row.get(9)?,
        params: Vec::new(),
        tags: Vec::new(),
        metrics: Vec::new(),
    };
    Ok((row.get(0)?, model))
}

fn complete(connection: &Connection, (row, mut model): (i64, LoggedModel)) -> Result<LoggedModel> {
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM logged_model_param WHERE model = ?1 ORDER BY key",
    )?;
    model.params = statement
        .query_map([row], key_values)?
        .map(|r| r.map(|(key, value)| Param { key, value }))
        .collect::<Result<_, _>>()?;
    let sql = "SELECT key, value FROM logged_model_tag WHERE model = ?1 ORDER BY key";
    model.tags = read_tags(connection, sql, row)?;
    let mut statement = connection.prepare_cached(
        "SELECT key, value, timestamp, step, dataset_name, dataset_digest, run_id
         FROM logged_model_metric WHERE model = ?1
         ORDER BY key, dataset_name, dataset_digest, step, timestamp, value",
    )?;
    let rows = statement.query_map([row], |r| {
        Ok(ModelMetric {
            model_id: model.model_id.clone(),
            metric: Metric {
                key: r.get(0)?,
                value: decode(r.get(1)?),
                timestamp: r.get(2)?,
                step: r.get(3)?,
            },
            dataset_name: r.get(4)?,
            dataset_digest: r.get(5)?,
            run_id: r.get(6)?,
        })
    })?;
    model.metrics = latest_model_metrics(rows.collect::<Result<_, _>>()?);
    Ok(model)
}

fn by_id(connection: &Connection, id: &str) -> Result<(i64, LoggedModel)> {
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} WHERE model_id = ?1 AND deleted_time IS NULL"
    ))?;
    found(statement.query_row([id], from_row), "logged model", id)
}

/// Records metric values of logged models, measured by run `run_id`.
pub(super) fn log_metrics(
    connection: &Connection,
    run_id: &str,
    metrics: &[ModelMetric],
) -> Result<()> {
    for ModelMetric {
        model_id,
        metric,
        dataset_name,
        dataset_digest,
        ..
    } in metrics
    {
        let (row, _) = by_id(connection, model_id)?;
        connection
            .prepare_cached(
                "INSERT INTO logged_model_metric VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                row,
                metric.key,
                metric.timestamp,
                metric.step,
                encode(metric.value),
                dataset_name,
                dataset_digest,
                run_id
            ])?;
    }
    Ok(())
}

fn set_tag(connection: &Connection, model: i64, tag: &Tag) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO logged_model_tag VALUES(?1, ?2, ?3)")?
        .execute(params![model, tag.key, tag.value])?;
    Ok(())
}

fn log_param(connection: &Connection, model: i64, id: &str, param: &Param) -> Result<()> {
    let inserted = connection
        .prepare_cached("INSERT INTO logged_model_param VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![model, param.key, param.value])?;
    if inserted > 0 {
        return Ok(());
    }
    let old: String = connection.query_row(
        "SELECT value FROM logged_model_param WHERE model = ?1 AND key = ?2",
        params![model, param.key],
        |row| row.get(0),
    )?;
    if old == param.value {
        return Ok(());
    }
    let (run, key, new) = (id.to_owned(), param.key.clone(), param.value.clone());
    Err(Error::ParamChanged { run, key, old, new })
}

impl SqliteStore {
    pub(super) fn insert_logged_model(&self, new: &NewLoggedModel) -> Result<LoggedModel> {
        check_new_logged_model(new)?;
        let id = format!("m-{}", new_id());
        let name = logged_model_name(new, &id);
        let now = self.clock.now_ms();
        self.write(|connection| {
            let (experiment, location) = active(connection, &new.experiment_id)?;
            connection.execute(
                "INSERT INTO logged_model(model_id, experiment, name, creation_timestamp,
                   last_updated_timestamp, artifact_uri, status, model_type, source_run_id)
                 VALUES(?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8)",
                params![
                    id,
                    experiment,
                    name,
                    now,
                    format!("{location}/models/{id}/artifacts"),
                    LoggedModelStatus::Pending.as_str(),
                    new.model_type,
                    new.source_run_id
                ],
            )?;
            let row = connection.last_insert_rowid();
            new.params
                .iter()
                .try_for_each(|param| log_param(connection, row, &id, param))?;
            new.tags
                .iter()
                .try_for_each(|tag| set_tag(connection, row, tag))?;
            complete(connection, by_id(connection, &id)?)
        })
    }

    pub(super) fn find_logged_model(&self, id: &str) -> Result<LoggedModel> {
        self.read(|connection| complete(connection, by_id(connection, id)?))
    }

    pub(super) fn apply_logged_model_change(
        &self,
        id: &str,
        change: &LoggedModelChange,
    ) -> Result<()> {
        check_logged_model_change(change)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let (row, _) = by_id(connection, id)?;
            match change {
                LoggedModelChange::Status(status) => {
                    connection.execute(
                        "UPDATE logged_model SET status = ?2 WHERE id = ?1",
                        params![row, status.as_str()],
                    )?;
                }
                LoggedModelChange::SetTags(tags) => {
                    tags.iter()
                        .try_for_each(|tag| set_tag(connection, row, tag))?;
                }
                LoggedModelChange::DeleteTag(key) => {
                    let deleted = connection.execute(
                        "DELETE FROM logged_model_tag WHERE model = ?1 AND key = ?2",
                        params![row, key],
                    )?;
                    if deleted == 0 {
                        return Err(Error::not_found("logged model tag", key));
                    }
                }
                LoggedModelChange::LogParams(params) => {
                    params
                        .iter()
                        .try_for_each(|param| log_param(connection, row, id, param))?;
                }
                LoggedModelChange::Delete => {
                    connection.execute(
                        "UPDATE logged_model SET deleted_time = ?2 WHERE id = ?1",
                        params![row, now],
                    )?;
                }
            }
            connection.execute(
                "UPDATE logged_model SET last_updated_timestamp = ?2 WHERE id = ?1",
                params![row, now],
            )?;
            Ok(())
        })
    }

    pub(super) fn page_logged_models(
        &self,
        experiment_ids: &[String],
        query: &SearchQuery,
    ) -> Result<Page<LoggedModel>> {
        check_max_results(query.max_results)?;
        let filter = Filter::parse(Subject::LoggedModel, &query.filter)?;
        let order = logged_model_order(&query.order_by)?;
        let models: Vec<LoggedModel> = self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE deleted_time IS NULL
                   AND experiment IN (SELECT value FROM json_each(?1))"
            ))?;
            let ids: Vec<i64> = experiment_ids
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect();
            let rows = statement.query_map([serde_json::json!(ids).to_string()], from_row)?;
            let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
            rows.into_iter()
                .map(|row| complete(connection, row))
                .collect()
        })?;
        page_logged_models(models, &filter, &order, query)
    }
}
