//! Experiments and runs of a server.

use serde::Deserialize;
use serde_json::{Value, json};

use super::RestStore;
use super::http::{Repeat, escape};
use crate::client::all_pages;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::proto::*;
use crate::store::*;

pub(super) const BASE: &str = "/api/2.0/mlflow";
/// MLflow's limits for one batch.
const MAX_METRICS: usize = 1000;
const MAX_PAIRS: usize = 100;
/// The page size that MLflow's own client uses for histories.
const HISTORY_PAGE: usize = 25_000;

#[derive(Deserialize)]
struct OneExperiment {
    experiment: ExperimentMessage,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Experiments {
    experiments: Vec<ExperimentMessage>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct OneRun {
    run: RunMessage,
}

#[derive(Deserialize)]
struct UpdatedRun {
    run_info: RunInfoMessage,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Runs {
    runs: Vec<RunMessage>,
    next_page_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct History {
    metrics: Vec<MetricMessage>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct OneModel {
    model: LoggedModelMessage,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Models {
    models: Vec<LoggedModelMessage>,
    next_page_token: Option<String>,
}

/// An empty token means that there is no next page.
pub(super) fn token(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

fn view(view: ViewType) -> &'static str {
    match view {
        ViewType::ActiveOnly => "ACTIVE_ONLY",
        ViewType::DeletedOnly => "DELETED_ONLY",
        ViewType::All => "ALL",
    }
}

fn pairs<T: Clone + Into<KeyValue>>(items: &[T]) -> Vec<KeyValue> {
    items.iter().cloned().map(Into::into).collect()
}

impl RestStore {
    fn post(&self, path: &str, body: &Value) -> Result<()> {
        self.http
            .post::<_, Value>(&format!("{BASE}/{path}"), body)
            .map(|_| ())
    }
}

impl TrackingStore for RestStore {
    fn create_experiment(&self, new: &NewExperiment) -> Result<Experiment> {
        check_new_experiment(new)?;
        let mut body = json!({ "name": new.name, "tags": pairs(&new.tags) });
        if let Some(location) = &new.artifact_location {
            body["artifact_location"] = json!(location);
        }
        let created: Value = self
            .http
            .post(&format!("{BASE}/experiments/create"), &body)?;
        let id = created["experiment_id"].as_str().unwrap_or_default();
        self.experiment(id)
    }

    fn experiment(&self, id: &str) -> Result<Experiment> {
        // MLflow answers an id that is no number with an internal error.
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::not_found("experiment", id));
        }
        let path = format!("{BASE}/experiments/get");
        let found: OneExperiment = self.http.get(&path, &[("experiment_id", id)])?;
        found.experiment.into_experiment()
    }

    fn experiment_by_name(&self, name: &str) -> Result<Experiment> {
        let path = format!("{BASE}/experiments/get-by-name");
        let found: OneExperiment = self.http.get(&path, &[("experiment_name", name)])?;
        found.experiment.into_experiment()
    }

    fn search_experiments(&self, query: &SearchQuery) -> Result<Page<Experiment>> {
        let mut body = json!({
            "max_results": query.max_results,
            "filter": query.filter,
            "order_by": query.order_by,
            "view_type": view(query.view),
        });
        if let Some(token) = &query.page_token {
            body["page_token"] = json!(token);
        }
        let path = format!("{BASE}/experiments/search");
        let found: Experiments = self.http.send("POST", &path, &body, Repeat::Allowed)?;
        let items = found
            .experiments
            .into_iter()
            .map(ExperimentMessage::into_experiment);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_page_token: token(found.next_page_token),
        })
    }

    fn change_experiment(&self, id: &str, change: &ExperimentChange) -> Result<()> {
        check_experiment_change(change)?;
        let (path, mut body) = match change {
            ExperimentChange::Rename(name) => ("update", json!({ "new_name": name })),
            ExperimentChange::Delete => ("delete", json!({})),
            ExperimentChange::Restore => ("restore", json!({})),
            ExperimentChange::SetTag(tag) => (
                "set-experiment-tag",
                json!({ "key": tag.key, "value": tag.value }),
            ),
            ExperimentChange::DeleteTag(key) => ("delete-experiment-tag", json!({ "key": key })),
        };
        body["experiment_id"] = json!(id);
        self.post(&format!("experiments/{path}"), &body)
    }

    fn create_run(&self, new: &NewRun) -> Result<Run> {
        check_new_run(new)?;
        let mut body = json!({
            "experiment_id": new.experiment_id,
            "user_id": new.user_id,
            "tags": pairs(&new.tags),
        });
        if let Some(name) = &new.run_name {
            body["run_name"] = json!(name);
        }
        if let Some(start_time) = new.start_time {
            body["start_time"] = json!(start_time);
        }
        let created: OneRun = self.http.post(&format!("{BASE}/runs/create"), &body)?;
        created.run.into_run()
    }

    fn run(&self, id: &str) -> Result<Run> {
        let found: OneRun = self
            .http
            .get(&format!("{BASE}/runs/get"), &[("run_id", id)])?;
        found.run.into_run()
    }

    fn update_run(&self, id: &str, update: &RunUpdate) -> Result<RunInfo> {
        check_run_update(update)?;
        let mut body = json!({ "run_id": id });
        if let Some(status) = update.status {
            body["status"] = json!(status.as_str());
        }
        if let Some(end_time) = update.end_time {
            body["end_time"] = json!(end_time);
        }
        if let Some(name) = &update.run_name {
            body["run_name"] = json!(name);
        }
        let path = format!("{BASE}/runs/update");
        let updated: UpdatedRun = self.http.send("POST", &path, &body, Repeat::Allowed)?;
        updated.run_info.into_info()
    }

    fn set_run_lifecycle(&self, id: &str, stage: LifecycleStage) -> Result<()> {
        let path = match stage {
            LifecycleStage::Active => "runs/restore",
            LifecycleStage::Deleted => "runs/delete",
        };
        self.post(path, &json!({ "run_id": id }))
    }

    fn log_batch(&self, id: &str, batch: &Batch) -> Result<()> {
        check_batch(batch)?;
        let of_models = |metric: &Metric| batch.model_metrics.iter().any(|m| m.metric == *metric);
        // The server records a model's metric for the run too.
        let metrics: Vec<MetricMessage> = batch
            .metrics
            .iter()
            .filter(|metric| !of_models(metric))
            .map(|metric| MetricMessage::from(metric.clone()))
            .chain(
                batch
                    .model_metrics
                    .iter()
                    .map(|metric| MetricMessage::from(metric.clone())),
            )
            .collect();
        let params = pairs(&batch.params);
        let tags = pairs(&batch.tags);
        let send = |metrics: &[MetricMessage], params: &[KeyValue], tags: &[KeyValue]| {
            let body = json!({
                "run_id": id,
                "metrics": metrics,
                "params": params,
                "tags": tags,
            });
            // Sending the same values again changes nothing.
            let path = format!("{BASE}/runs/log-batch");
            self.http
                .send::<_, Value>("POST", &path, &body, Repeat::Allowed)
                .map(|_| ())
        };
        let total = metrics.len() + params.len() + tags.len();
        if params.len() <= MAX_PAIRS && tags.len() <= MAX_PAIRS && total <= MAX_METRICS {
            return send(&metrics, &params, &tags);
        }
        params
            .chunks(MAX_PAIRS)
            .try_for_each(|part| send(&[], part, &[]))?;
        tags.chunks(MAX_PAIRS)
            .try_for_each(|part| send(&[], &[], part))?;
        metrics
            .chunks(MAX_METRICS)
            .try_for_each(|part| send(part, &[], &[]))
    }

    fn record_model(&self, id: &str, model: &serde_json::Value) -> Result<()> {
        let body = json!({ "run_id": id, "model_json": model.to_string() });
        self.http
            .send::<_, Value>(
                "POST",
                &format!("{BASE}/runs/log-model"),
                &body,
                Repeat::Never,
            )
            .map(|_| ())
    }

    fn delete_run_tag(&self, id: &str, key: &str) -> Result<()> {
        self.post("runs/delete-tag", &json!({ "run_id": id, "key": key }))
    }

    fn log_inputs(&self, id: &str, inputs: &[DatasetInput], models: &[String]) -> Result<()> {
        inputs.iter().try_for_each(check_input)?;
        let datasets: Vec<DatasetInputMessage> = inputs.iter().cloned().map(Into::into).collect();
        let mut body = json!({ "run_id": id, "datasets": datasets });
        if !models.is_empty() {
            body["models"] = models.iter().map(|id| json!({ "model_id": id })).collect();
        }
        self.post("runs/log-inputs", &body)
    }

    fn log_outputs(&self, id: &str, outputs: &[ModelOutput]) -> Result<()> {
        let models: Vec<ModelOutputMessage> = outputs.iter().cloned().map(Into::into).collect();
        self.post("runs/outputs", &json!({ "run_id": id, "models": models }))
    }

    fn search_runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        check_max_results(query.max_results)?;
        let mut body = json!({
            "experiment_ids": query.experiment_ids,
            "filter": query.filter,
            "run_view_type": view(query.view),
            "max_results": query.max_results,
            "order_by": query.order_by,
        });
        if let Some(token) = &query.page_token {
            body["page_token"] = json!(token);
        }
        let path = format!("{BASE}/runs/search");
        let found: Runs = self.http.send("POST", &path, &body, Repeat::Allowed)?;
        let items = found
            .runs
            .into_iter()
            .map(RunMessage::into_run)
            .collect::<Result<_>>()?;
        Ok(Page {
            items,
            next_page_token: token(found.next_page_token),
        })
    }

    fn metric_history(
        &self,
        id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Metric>> {
        check_max_results(max_results)?;
        let max_results = max_results.min(HISTORY_PAGE).to_string();
        let mut query = vec![
            ("run_id", id),
            ("metric_key", key),
            ("max_results", max_results.as_str()),
        ];
        query.extend(page_token.map(|token| ("page_token", token)));
        let found: History = self
            .http
            .get(&format!("{BASE}/metrics/get-history"), &query)?;
        let items = found
            .metrics
            .iter()
            .map(MetricMessage::metric)
            .collect::<Result<_>>()?;
        Ok(Page {
            items,
            next_page_token: token(found.next_page_token),
        })
    }

    fn metric_buckets(&self, id: &str, key: &str, buckets: usize) -> Result<Vec<MetricBucket>> {
        let all = all_pages(|token| self.metric_history(id, key, HISTORY_PAGE, token.as_deref()))?;
        downsample(key, all, buckets)
    }

    fn create_logged_model(&self, new: &NewLoggedModel) -> Result<LoggedModel> {
        check_new_logged_model(new)?;
        let mut body = json!({
            "experiment_id": new.experiment_id,
            "params": pairs(&new.params),
            "tags": pairs(&new.tags),
        });
        for (key, value) in [
            ("name", Some(&new.name)),
            ("model_type", Some(&new.model_type)),
            ("source_run_id", new.source_run_id.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                body[key] = json!(value);
            }
        }
        let created: OneModel = self.http.post(&format!("{BASE}/logged-models"), &body)?;
        created.model.into_model()
    }

    fn logged_model(&self, id: &str) -> Result<LoggedModel> {
        let path = format!("{BASE}/logged-models/{}", escape(id));
        let found: OneModel = self.http.get(&path, &[])?;
        found.model.into_model()
    }

    fn change_logged_model(&self, id: &str, change: &LoggedModelChange) -> Result<()> {
        check_logged_model_change(change)?;
        let path = format!("{BASE}/logged-models/{}", escape(id));
        let send = |method: &str, path: &str, body: Value| {
            self.http
                .send::<_, Value>(method, path, &body, Repeat::Never)
                .map(|_| ())
        };
        match change {
            LoggedModelChange::Status(status) => send(
                "PATCH",
                &path,
                json!({ "model_id": id, "status": status.as_str() }),
            ),
            LoggedModelChange::SetTags(tags) => send(
                "PATCH",
                &format!("{path}/tags"),
                json!({ "tags": pairs(tags) }),
            ),
            LoggedModelChange::DeleteTag(key) => {
                send("DELETE", &format!("{path}/tags/{}", escape(key)), json!({}))
            }
            LoggedModelChange::LogParams(params) => send(
                "POST",
                &format!("{path}/params"),
                json!({ "params": pairs(params) }),
            ),
            LoggedModelChange::Delete => send("DELETE", &path, json!({})),
        }
    }

    fn search_logged_models(
        &self,
        experiment_ids: &[String],
        query: &SearchQuery,
    ) -> Result<Page<LoggedModel>> {
        let mut order_by = Vec::new();
        for text in &query.order_by {
            let (field, direction) = text.rsplit_once(' ').unwrap_or((text, "ASC"));
            let ascending = !direction.eq_ignore_ascii_case("desc");
            order_by.push(json!({ "field_name": field, "ascending": ascending }));
        }
        let mut body = json!({
            "experiment_ids": experiment_ids,
            "filter": query.filter,
            "max_results": query.max_results,
            "order_by": order_by,
        });
        if let Some(token) = &query.page_token {
            body["page_token"] = json!(token);
        }
        if !query.datasets.is_empty() {
            body["datasets"] = query
                .datasets
                .iter()
                .map(|dataset| match &dataset.digest {
                    None => json!({ "dataset_name": dataset.name }),
                    Some(digest) => {
                        json!({ "dataset_name": dataset.name, "dataset_digest": digest })
                    }
                })
                .collect();
        }
        let path = format!("{BASE}/logged-models/search");
        let found: Models = self.http.send("POST", &path, &body, Repeat::Allowed)?;
        let items = found.models.into_iter().map(LoggedModelMessage::into_model);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_page_token: token(found.next_page_token),
        })
    }

    fn purge(&self, _deleted_before: i64) -> Result<Purged> {
        Err(Error::invalid(
            "a server removes deleted runs itself; run its own gc command",
        ))
    }

    fn purgeable(&self, deleted_before: i64) -> Result<Purged> {
        self.purge(deleted_before)
    }

    fn artifacts_deleted(&self, _uris: &[String]) -> Result<()> {
        self.purge(0).map(|_| ())
    }
}
