//! Experiments and runs in memory.

use std::collections::BTreeMap;

use super::{
    Logged, MemoryStore, Record, delete_tag, log_metrics, log_params, lookup_run, set_tag,
};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Filter, Subject};
use crate::store::*;

impl TrackingStore for MemoryStore {
    fn create_experiment(&self, new: &NewExperiment) -> Result<Experiment> {
        check_new_experiment(new)?;
        self.write(|state, now| {
            state.free_experiment_name(&new.name)?;
            let id = state.insert_experiment(new, now);
            state.experiment(&id.to_string()).cloned()
        })
    }

    fn experiment(&self, id: &str) -> Result<Experiment> {
        self.lock().experiment(id).cloned()
    }

    fn experiment_by_name(&self, name: &str) -> Result<Experiment> {
        let state = self.lock();
        let found = state
            .experiments
            .values()
            .find(|experiment| experiment.name == name);
        found
            .cloned()
            .ok_or_else(|| Error::not_found("experiment", name))
    }

    fn search_experiments(&self, query: &SearchQuery) -> Result<Page<Experiment>> {
        page_experiments(self.lock().experiments.values().cloned().collect(), query)
    }

    fn change_experiment(&self, id: &str, change: &ExperimentChange) -> Result<()> {
        check_experiment_change(change)?;
        self.write(|state, now| {
            let stage = state.experiment(id)?.lifecycle_stage;
            match (change, stage) {
                (ExperimentChange::Restore, LifecycleStage::Active) => {
                    return Err(Error::invalid(format!("experiment {id:?} is not deleted")));
                }
                (ExperimentChange::Restore, LifecycleStage::Deleted) => {}
                (_, LifecycleStage::Deleted) => {
                    return Err(Error::Inactive {
                        what: "experiment",
                        id: id.to_owned(),
                    });
                }
                (ExperimentChange::Rename(name), _) if state.experiment(id)?.name != *name => {
                    state.free_experiment_name(name)?;
                }
                _ => {}
            }
            let runs = state
                .runs
                .values_mut()
                .filter(|r| r.run.info.experiment_id == id);
            match change {
                ExperimentChange::Delete => {
                    let active =
                        |r: &&mut Record| r.run.info.lifecycle_stage == LifecycleStage::Active;
                    for record in runs.filter(active) {
                        record.run.info.lifecycle_stage = LifecycleStage::Deleted;
                        record.deleted_time = Some(now);
                        record.deleted_with_experiment = true;
                    }
                }
                ExperimentChange::Restore => {
                    for record in runs.filter(|record| record.deleted_with_experiment) {
                        record.run.info.lifecycle_stage = LifecycleStage::Active;
                        record.deleted_time = None;
                        record.deleted_with_experiment = false;
                    }
                }
                _ => {}
            }
            let key = id
                .parse::<i64>()
                .map_err(|_| Error::not_found("experiment", id))?;
            let experiment = state.experiments.get_mut(&key);
            let experiment = experiment.ok_or_else(|| Error::not_found("experiment", id))?;
            match change {
                ExperimentChange::Rename(name) => experiment.name.clone_from(name),
                ExperimentChange::Delete => experiment.lifecycle_stage = LifecycleStage::Deleted,
                ExperimentChange::Restore => experiment.lifecycle_stage = LifecycleStage::Active,
                ExperimentChange::SetTag(tag) => set_tag(&mut experiment.tags, tag),
                ExperimentChange::DeleteTag(key) => {
                    delete_tag(&mut experiment.tags, "experiment tag", key)?;
                }
            }
            experiment.last_update_time = now;
            Ok(())
        })
    }

    fn create_run(&self, new: &NewRun) -> Result<Run> {
        check_new_run(new)?;
        let id = new_id();
        self.write(|state, now| {
            let experiment = state.active_experiment(&new.experiment_id)?;
            let tags = run_tags(new, &id);
            let name = tags.iter().find(|tag| tag.key == RUN_NAME_TAG);
            let info = RunInfo {
                run_id: id.clone(),
                experiment_id: new.experiment_id.clone(),
                run_name: name.map(|tag| tag.value.clone()).unwrap_or_default(),
                user_id: new.user_id.clone(),
                status: RunStatus::Running,
                start_time: new.start_time.unwrap_or(now),
                end_time: None,
                artifact_uri: format!("{}/{id}/artifacts", experiment.artifact_location),
                lifecycle_stage: LifecycleStage::Active,
            };
            let data = RunData {
                tags,
                ..RunData::default()
            };
            let run = Run {
                info,
                data,
                inputs: Vec::new(),
                model_inputs: Vec::new(),
                outputs: Vec::new(),
            };
            let record = Record {
                run: run.clone(),
                history: BTreeMap::new(),
                deleted_time: None,
                deleted_with_experiment: false,
            };
            state.runs.insert(id.clone(), record);
            Ok(run)
        })
    }

    fn run(&self, id: &str) -> Result<Run> {
        self.lock().record(id).map(|record| record.run.clone())
    }

    fn update_run(&self, id: &str, update: &RunUpdate) -> Result<RunInfo> {
        check_run_update(update)?;
        self.write(|state, _| {
            let run = &mut state.active_record(id)?.run;
            run.info.status = update.status.unwrap_or(run.info.status);
            run.info.end_time = update.end_time.or(run.info.end_time);
            if let Some(name) = update.run_name.as_deref().filter(|name| !name.is_empty()) {
                name.clone_into(&mut run.info.run_name);
                set_tag(&mut run.data.tags, &Tag::new(RUN_NAME_TAG, name));
            }
            Ok(run.info.clone())
        })
    }

    fn set_run_lifecycle(&self, id: &str, stage: LifecycleStage) -> Result<()> {
        self.write(|state, now| {
            if stage == LifecycleStage::Active {
                let experiment = state.record(id)?.run.info.experiment_id.clone();
                state.active_experiment(&experiment)?;
            }
            let record = state.record_mut(id)?;
            record.run.info.lifecycle_stage = stage;
            match stage {
                LifecycleStage::Active => {
                    record.deleted_time = None;
                    record.deleted_with_experiment = false;
                }
                LifecycleStage::Deleted => {
                    record.deleted_time = record.deleted_time.or(Some(now));
                }
            }
            Ok(())
        })
    }

    fn log_batch(&self, id: &str, batch: &Batch) -> Result<()> {
        check_batch(batch)?;
        self.write(|state, _| {
            for metric in &batch.model_metrics {
                state.logged_mut(&metric.model_id)?;
            }
            let record = state.active_record(id)?;
            log_params(&mut record.run.data.params, id, &batch.params)?;
            log_metrics(record, &batch.metrics);
            for tag in &batch.tags {
                if tag.key == RUN_NAME_TAG && !tag.value.is_empty() {
                    record.run.info.run_name.clone_from(&tag.value);
                }
                set_tag(&mut record.run.data.tags, tag);
            }
            batch
                .model_metrics
                .iter()
                .try_for_each(|metric| state.log_model_metric(id, metric))
        })
    }

    fn record_model(&self, id: &str, model: &serde_json::Value) -> Result<()> {
        self.write(|state, _| {
            let tags = &mut state.active_record(id)?.run.data.tags;
            let known = tags.iter().find(|tag| tag.key == LOGGED_MODELS_TAG);
            let value = with_model(known.map(|tag| tag.value.as_str()), model);
            set_tag(tags, &Tag::new(LOGGED_MODELS_TAG, value));
            Ok(())
        })
    }

    fn delete_run_tag(&self, id: &str, key: &str) -> Result<()> {
        self.write(|state, _| {
            delete_tag(&mut state.active_record(id)?.run.data.tags, "run tag", key)
        })
    }

    fn log_inputs(&self, id: &str, inputs: &[DatasetInput], models: &[String]) -> Result<()> {
        inputs.iter().try_for_each(check_input)?;
        self.write(|state, _| {
            let run = &mut state.active_record(id)?.run;
            run.model_inputs.extend_from_slice(models);
            run.model_inputs.sort();
            run.model_inputs.dedup();
            let known = &mut run.inputs;
            let key =
                |input: &DatasetInput| (input.dataset.name.clone(), input.dataset.digest.clone());
            for input in inputs {
                if !known.iter().any(|old| key(old) == key(input)) {
                    known.push(input.clone());
                }
            }
            known.sort_by_key(key);
            Ok(())
        })
    }

    fn log_outputs(&self, id: &str, outputs: &[ModelOutput]) -> Result<()> {
        self.write(|state, _| {
            let known = &mut state.active_record(id)?.run.outputs;
            for output in outputs {
                if !known.contains(output) {
                    known.push(output.clone());
                }
            }
            known.sort_by(|a, b| (&a.model_id, a.step).cmp(&(&b.model_id, b.step)));
            Ok(())
        })
    }

    fn search_runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        check_max_results(query.max_results)?;
        let filter = Filter::parse(Subject::Run, &query.filter)?;
        let order = run_order(&query.order_by)?;
        let state = self.lock();
        let kept: Vec<Run> = state
            .runs
            .values()
            .map(|record| &record.run)
            .filter(|run| query.experiment_ids.contains(&run.info.experiment_id))
            .filter(|run| query.view.shows(run.info.lifecycle_stage))
            .filter(|run| crate::search::matches(&filter, |key| lookup_run(run, key)))
            .cloned()
            .collect();
        let token = query.page_token.as_deref();
        let id = |run: &Run| run.info.run_id.clone();
        page_in_memory(kept, &order, lookup_run, id, query.max_results, token)
    }

    fn metric_history(
        &self,
        id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Metric>> {
        check_max_results(max_results)?;
        let start: usize = match page_token {
            None => 0,
            Some(token) => decode_token(token)?
                .parse()
                .map_err(|_| Error::invalid("the page token is not one of ours"))?,
        };
        let state = self.lock();
        let history = state
            .record(id)?
            .history
            .get(key)
            .map_or(&[][..], Vec::as_slice);
        let rest = history.get(start..).unwrap_or_default();
        let items: Vec<Metric> = rest.iter().take(max_results).cloned().collect();
        let more = rest.len() > items.len();
        let next_page_token = more.then(|| encode_token(&(start + items.len()).to_string()));
        Ok(Page {
            items,
            next_page_token,
        })
    }

    fn metric_buckets(&self, id: &str, key: &str, buckets: usize) -> Result<Vec<MetricBucket>> {
        let history = self
            .lock()
            .record(id)?
            .history
            .get(key)
            .cloned()
            .unwrap_or_default();
        downsample(key, history, buckets)
    }

    fn create_logged_model(&self, new: &NewLoggedModel) -> Result<LoggedModel> {
        check_new_logged_model(new)?;
        let id = format!("m-{}", new_id());
        self.write(|state, now| {
            let experiment = state.active_experiment(&new.experiment_id)?;
            let mut model = LoggedModel {
                artifact_uri: format!("{}/models/{id}/artifacts", experiment.artifact_location),
                name: logged_model_name(new, &id),
                model_id: id.clone(),
                experiment_id: new.experiment_id.clone(),
                creation_timestamp: now,
                last_updated_timestamp: now,
                status: LoggedModelStatus::Pending,
                model_type: new.model_type.clone(),
                source_run_id: new.source_run_id.clone(),
                params: Vec::new(),
                tags: distinct_tags(&new.tags),
                metrics: Vec::new(),
            };
            log_params(&mut model.params, &id, &new.params)?;
            let logged = Logged {
                model: model.clone(),
                metrics: Vec::new(),
                deleted_time: None,
            };
            state.logged_models.insert(id.clone(), logged);
            Ok(model)
        })
    }

    fn logged_model(&self, id: &str) -> Result<LoggedModel> {
        self.lock()
            .logged_mut(id)
            .map(|logged| logged.model.clone())
    }

    fn change_logged_model(&self, id: &str, change: &LoggedModelChange) -> Result<()> {
        check_logged_model_change(change)?;
        self.write(|state, now| {
            let logged = state.logged_mut(id)?;
            match change {
                LoggedModelChange::Status(status) => logged.model.status = *status,
                LoggedModelChange::SetTags(tags) => {
                    tags.iter()
                        .for_each(|tag| set_tag(&mut logged.model.tags, tag));
                }
                LoggedModelChange::DeleteTag(key) => {
                    delete_tag(&mut logged.model.tags, "logged model tag", key)?;
                }
                LoggedModelChange::LogParams(params) => {
                    log_params(&mut logged.model.params, id, params)?;
                }
                LoggedModelChange::Delete => logged.deleted_time = Some(now),
            }
            logged.model.last_updated_timestamp = now;
            Ok(())
        })
    }

    fn search_logged_models(
        &self,
        experiment_ids: &[String],
        query: &SearchQuery,
    ) -> Result<Page<LoggedModel>> {
        check_max_results(query.max_results)?;
        let filter = Filter::parse(Subject::LoggedModel, &query.filter)?;
        let order = logged_model_order(&query.order_by)?;
        let state = self.lock();
        let models = state
            .logged_models
            .values()
            .filter(|logged| logged.deleted_time.is_none())
            .map(|logged| &logged.model)
            .filter(|model| experiment_ids.contains(&model.experiment_id))
            .cloned()
            .collect();
        page_logged_models(models, &filter, &order, query)
    }

    fn purge(&self, deleted_before: i64) -> Result<Purged> {
        self.write(|state, _| Ok(state.purge(deleted_before)))
    }

    fn purgeable(&self, deleted_before: i64) -> Result<Purged> {
        Ok(self.lock().clone().purge(deleted_before))
    }

    fn artifacts_deleted(&self, uris: &[String]) -> Result<()> {
        self.write(|state, _| {
            state.unwanted.retain(|uri| !uris.contains(uri));
            Ok(())
        })
    }
}
