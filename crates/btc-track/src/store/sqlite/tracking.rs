//! The tracking store over SQLite: each method in the file of its subject.

use super::complete::complete;
use super::{SqliteStore, experiments, purge, runs};
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

    fn record_model(&self, id: &str, model: &serde_json::Value) -> Result<()> {
        self.append_model(id, model)
    }

    fn delete_run_tag(&self, id: &str, key: &str) -> Result<()> {
        self.remove_run_tag(id, key)
    }

    fn log_inputs(&self, id: &str, inputs: &[DatasetInput], models: &[String]) -> Result<()> {
        self.write_inputs(id, inputs, models)
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
        self.write(|connection| purge::purge(connection, deleted_before))
    }

    fn purgeable(&self, deleted_before: i64) -> Result<Purged> {
        self.read(|connection| Ok(purge::doomed(connection, deleted_before)?.purged()))
    }

    fn artifacts_deleted(&self, uris: &[String]) -> Result<()> {
        self.write(|connection| purge::forget(connection, uris))
    }
}
