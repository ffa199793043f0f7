//! Experiments and runs in SQLite.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::complete::complete;
use super::{SqliteStore, experiments, runs};
use crate::entity::*;
use crate::error::Result;
use crate::store::*;

impl TrackingStore for SqliteStore {
    fn create_experiment(&self, new: &NewExperiment) -> Result<Experiment> {
        self.insert_experiment(new)
    }

    fn experiment(&self, id: &str) -> Result<Experiment> {
        self.read(|connection| experiments::by_id(connection, id))
    }

    fn experiment_by_name(&self, name: &str) -> Result<Experiment> {
        self.find_experiment(name)
    }

    fn search_experiments(&self, query: &SearchQuery) -> Result<Page<Experiment>> {
        self.page_experiments(query)
    }

    fn change_experiment(&self, id: &str, change: &ExperimentChange) -> Result<()> {
        self.apply_experiment_change(id, change)
    }

    fn create_run(&self, new: &NewRun) -> Result<Run> {
        self.insert_run(new)
    }

    fn run(&self, id: &str) -> Result<Run> {
        self.read(|connection| complete(connection, runs::info(connection, id)?))
    }

    fn update_run(&self, id: &str, update: &RunUpdate) -> Result<RunInfo> {
        self.apply_run_update(id, update)
    }

    fn set_run_lifecycle(&self, id: &str, stage: LifecycleStage) -> Result<()> {
        self.apply_run_lifecycle(id, stage)
    }

    fn log_batch(&self, id: &str, batch: &Batch) -> Result<()> {
        self.write_batch(id, batch)
    }

    fn delete_run_tag(&self, id: &str, key: &str) -> Result<()> {
        self.remove_run_tag(id, key)
    }

    fn log_inputs(&self, id: &str, inputs: &[DatasetInput]) -> Result<()> {
        self.write_inputs(id, inputs)
    }

    fn log_outputs(&self, id: &str, outputs: &[ModelOutput]) -> Result<()> {
        self.write_outputs(id, outputs)
    }

    fn search_runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.page_runs(query)
    }

    fn metric_history(
        &self,
        id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Metric>> {
        self.read_history(id, key, max_results, page_token)
    }

    fn metric_buckets(&self, id: &str, key: &str, buckets: usize) -> Result<Vec<MetricBucket>> {
        self.read_buckets(id, key, buckets)
    }

    fn create_logged_model(&self, new: &NewLoggedModel) -> Result<LoggedModel> {
        self.insert_logged_model(new)
    }

    fn logged_model(&self, id: &str) -> Result<LoggedModel> {
        self.find_logged_model(id)
    }

    fn change_logged_model(&self, id: &str, change: &LoggedModelChange) -> Result<()> {
        self.apply_logged_model_change(id, change)
    }

    fn search_logged_models(
        &self,
        experiment_ids: &[String],
        query: &SearchQuery,
    ) -> Result<Page<LoggedModel>> {
        self.page_logged_models(experiment_ids, query)
    }

    fn purge(&self, deleted_before: i64) -> Result<Purged> {
        self.write(|connection| purge(connection, deleted_before))
    }

    fn purgeable(&self, deleted_before: i64) -> Result<Purged> {
        // What a read does to its snapshot is undone at its end.
        self.read(|connection| purge(connection, deleted_before))
    }
}

fn purge(connection: &Connection, before: i64) -> Result<Purged> {
    let mut purged = Purged::default();
    let mut uris = BTreeSet::new();

    let mut statement = connection.prepare(
        "SELECT id, uuid, artifact_uri FROM run WHERE deleted = 1 AND deleted_time < ?1",
    )?;
    let rows = statement.query_map([before], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    let runs: Vec<(i64, String, String)> = rows.collect::<Result<_, _>>()?;
    for (row, id, uri) in runs {
        for table in [
            "metric",
            "latest_metric",
            "metric_rollup",
            "param",
            "tag",
            "run_dataset",
            "run_output",
        ] {
            connection.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [row])?;
        }
        connection.execute("DELETE FROM run WHERE id = ?1", [row])?;
        purged.run_ids.push(id);
        uris.insert(uri);
    }

    // An experiment goes once nothing of it is left to restore.
    let mut statement = connection.prepare(
        "SELECT id FROM experiment e WHERE deleted = 1 AND last_update_time < ?1
         AND NOT EXISTS(SELECT 1 FROM run WHERE experiment = e.id)",
    )?;
    let experiments: Vec<i64> = statement
        .query_map([before], |r| r.get(0))?
        .collect::<Result<_, _>>()?;

    let gone = serde_json::json!(experiments).to_string();
    let mut statement = connection.prepare(
        "SELECT id, artifact_uri FROM logged_model WHERE deleted_time < ?1
         OR experiment IN (SELECT value FROM json_each(?2))",
    )?;
    let rows = statement.query_map(params![before, gone], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let models: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
    for (row, uri) in models {
        for table in [
            "logged_model_param",
            "logged_model_tag",
            "logged_model_metric",
        ] {
            connection.execute(&format!("DELETE FROM {table} WHERE model = ?1"), [row])?;
        }
        connection.execute("DELETE FROM logged_model WHERE id = ?1", [row])?;
        uris.insert(uri);
    }
    for row in experiments {
        connection.execute("DELETE FROM experiment_tag WHERE experiment = ?1", [row])?;
        connection.execute("DELETE FROM experiment WHERE id = ?1", [row])?;
        purged.experiment_ids.push(row.to_string());
    }

    // A registered version keeps its files.
    let mut statement = connection.prepare("SELECT source FROM model_version")?;
    let sources: Vec<String> = statement
        .query_map([], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    purged.artifact_uris = unused_uris(uris, &sources);
    Ok(purged)
}
