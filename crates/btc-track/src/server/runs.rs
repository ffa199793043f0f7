//! The endpoints of runs.

use axum::Router;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{on, required, required_text};
use super::experiments::{max_results, view};
use crate::client::TrackingClient;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::proto::*;
use crate::store::*;

/// MLflow's limits for one log-batch request.
const MAX_METRICS: usize = 1000;
const MAX_PARAMS: usize = 100;
const MAX_TAGS: usize = 100;
const MAX_BATCH: usize = 1000;
/// With fewer values of a history their even spread is all there is room for.
const MIN_WITH_EXTREMES: usize = 10;
/// What the client asks for in one page.
const HISTORY_PAGE: usize = 25_000;

pub(super) fn routes() -> Router<TrackingClient> {
    let get = [Method::GET];
    let post = [Method::POST];
    Router::new()
        .route("/runs/create", on(&post, create))
        .route("/runs/get", on(&get, get_run))
        .route("/runs/update", on(&post, update))
        .route(
            "/runs/delete",
            on(&post, |client, run: RunKey| {
                client
                    .tracking
                    .set_run_lifecycle(&run.id()?, LifecycleStage::Deleted)?;
                Ok(json!({}))
            }),
        )
        .route(
            "/runs/restore",
            on(&post, |client, run: RunKey| {
                client
                    .tracking
                    .set_run_lifecycle(&run.id()?, LifecycleStage::Active)?;
                Ok(json!({}))
            }),
        )
        .route("/runs/log-metric", on(&post, log_metric))
        .route("/runs/log-parameter", on(&post, log_parameter))
        .route("/runs/set-tag", on(&post, set_tag))
        .route("/runs/delete-tag", on(&post, delete_tag))
        .route("/runs/log-batch", on(&post, log_batch))
        .route("/runs/log-inputs", on(&post, log_inputs))
        .route("/runs/log-model", on(&post, log_model))
        .route("/runs/outputs", on(&post, log_outputs))
        .route("/runs/search", on(&post, search))
        .route("/metrics/get-history", on(&get, history))
        .route("/metrics/get-history-bulk-interval", on(&get, bulk_history))
        .route("/artifacts/list", on(&get, list_artifacts))
}

/// The client sends the id of a run under an old name too.
#[derive(Deserialize)]
struct RunKey {
    run_id: Option<String>,
    run_uuid: Option<String>,
}

impl RunKey {
    fn id(self) -> Result<String> {
        run_id(self.run_id, self.run_uuid)
    }
}

fn run_id(run_id: Option<String>, run_uuid: Option<String>) -> Result<String> {
    required_text("run_id", run_id.filter(|id| !id.is_empty()).or(run_uuid))
}

#[derive(Serialize)]
struct One {
    run: RunMessage,
}

#[derive(Deserialize)]
struct Create {
    experiment_id: Option<String>,
    user_id: Option<String>,
    run_name: Option<String>,
    start_time: Option<Int64>,
    tags: Option<Vec<KeyValue>>,
}

fn create(client: &TrackingClient, request: Create) -> Result<One> {
    let run = client.tracking.create_run(&NewRun {
        // The default experiment, as MLflow has it.
        experiment_id: request.experiment_id.unwrap_or_else(|| "0".into()),
        run_name: request.run_name,
        user_id: request.user_id.unwrap_or_default(),
        start_time: request.start_time.map(|time| time.0),
        tags: all(request.tags.unwrap_or_default()),
    })?;
    Ok(One { run: run.into() })
}

fn get_run(client: &TrackingClient, request: RunKey) -> Result<One> {
    Ok(One {
        run: client.tracking.run(&request.id()?)?.into(),
    })
}

#[derive(Deserialize)]
struct Update {
    run_id: Option<String>,
    run_uuid: Option<String>,
    status: Option<Value>,
    end_time: Option<Int64>,
    run_name: Option<String>,
}

#[derive(Serialize)]
struct Updated {
    run_info: RunInfoMessage,
}

fn update(client: &TrackingClient, request: Update) -> Result<Updated> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let update = RunUpdate {
        status: status(request.status)?,
        end_time: request.end_time.map(|time| time.0),
        run_name: request.run_name,
    };
    Ok(Updated {
        run_info: client.tracking.update_run(&id, &update)?.into(),
    })
}

/// A status by name, or by its number in the protocol.
fn status(value: Option<Value>) -> Result<Option<RunStatus>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some),
        Some(value) => {
            let index = value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok());
            let status = index.and_then(|i| RunStatus::ALL.get(i.wrapping_sub(1)));
            status
                .copied()
                .map(Some)
                .ok_or_else(|| Error::invalid(format!("unknown run status {value}")))
        }
    }
}

// The fields of a metric are repeated here: collecting them with `flatten`
// would make serde read each request twice.
#[derive(Deserialize)]
struct LogMetric {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: Option<String>,
    value: Option<Double>,
    timestamp: Option<Int64>,
    step: Option<Int64>,
    model_id: Option<String>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

fn log_metric(client: &TrackingClient, request: LogMetric) -> Result<Value> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let message = MetricMessage {
        key: request.key,
        value: request.value,
        timestamp: request.timestamp,
        step: request.step,
        model_id: request.model_id,
        dataset_name: request.dataset_name,
        dataset_digest: request.dataset_digest,
        run_id: None,
    };
    let metric = message.metric()?;
    let model_metrics = message.model_metric(&metric).into_iter().collect();
    let batch = Batch {
        metrics: vec![metric],
        model_metrics,
        ..Batch::default()
    };
    client.tracking.log_batch(&id, &batch)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct RunKeyValue {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

fn log_parameter(client: &TrackingClient, request: RunKeyValue) -> Result<Value> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let key = required_text("key", request.key)?;
    let params = vec![Param {
        key,
        value: request.value.unwrap_or_default(),
    }];
    client.tracking.log_batch(
        &id,
        &Batch {
            params,
            ..Batch::default()
        },
    )?;
    Ok(json!({}))
}

fn set_tag(client: &TrackingClient, request: RunKeyValue) -> Result<Value> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let key = required_text("key", request.key)?;
    let tags = vec![Tag {
        key,
        value: request.value.unwrap_or_default(),
    }];
    client.tracking.log_batch(
        &id,
        &Batch {
            tags,
            ..Batch::default()
        },
    )?;
    Ok(json!({}))
}

fn delete_tag(client: &TrackingClient, request: RunKeyValue) -> Result<Value> {
    let id = run_id(request.run_id, request.run_uuid)?;
    client
        .tracking
        .delete_run_tag(&id, &required_text("key", request.key)?)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct LogBatch {
    run_id: Option<String>,
    metrics: Option<Vec<MetricMessage>>,
    params: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

fn log_batch(client: &TrackingClient, request: LogBatch) -> Result<Value> {
    let id = required_text("run_id", request.run_id)?;
    let messages = request.metrics.unwrap_or_default();
    let params: Vec<Param> = all(request.params.unwrap_or_default());
    let tags: Vec<Tag> = all(request.tags.unwrap_or_default());
    let total = messages.len() + params.len() + tags.len();
    for (what, n, most) in [
        ("metrics", messages.len(), MAX_METRICS),
        ("params", params.len(), MAX_PARAMS),
        ("tags", tags.len(), MAX_TAGS),
        ("values", total, MAX_BATCH),
    ] {
        if n > most {
            return Err(Error::invalid(format!(
                "a batch has {n} {what}, at most {most} are allowed"
            )));
        }
    }
    let mut batch = Batch {
        params,
        tags,
        ..Batch::default()
    };
    for message in messages {
        let metric = message.metric()?;
        batch.model_metrics.extend(message.model_metric(&metric));
        batch.metrics.push(metric);
    }
    client.tracking.log_batch(&id, &batch)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct LogInputs {
    run_id: Option<String>,
    datasets: Option<Vec<DatasetInputMessage>>,
    models: Option<Vec<ModelInputMessage>>,
}

fn log_inputs(client: &TrackingClient, request: LogInputs) -> Result<Value> {
    let id = required_text("run_id", request.run_id)?;
    let inputs: Vec<DatasetInput> = all(request.datasets.unwrap_or_default());
    let models = request.models.unwrap_or_default().into_iter();
    let models: Vec<String> = models
        .map(|model| required_text("model_id", model.model_id))
        .collect::<Result<_>>()?;
    client.tracking.log_inputs(&id, &inputs, &models)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct LogOutputs {
    run_id: Option<String>,
    models: Option<Vec<ModelOutputMessage>>,
}

fn log_outputs(client: &TrackingClient, request: LogOutputs) -> Result<Value> {
    let id = required_text("run_id", request.run_id)?;
    let outputs: Vec<ModelOutput> = all(request.models.unwrap_or_default());
    client.tracking.log_outputs(&id, &outputs)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct LogModel {
    run_id: Option<String>,
    model_json: Option<String>,
}

/// Older clients record logged models in a tag of the run.
fn log_model(client: &TrackingClient, request: LogModel) -> Result<Value> {
    let id = required_text("run_id", request.run_id)?;
    let text = required_text("model_json", request.model_json)?;
    let model: Value = serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("model_json is not JSON: {error}")))?;
    for field in ["artifact_path", "flavors", "utc_time_created", "run_id"] {
        if model.get(field).is_none() {
            return Err(Error::invalid(format!("model_json has no {field:?}")));
        }
    }
    client.tracking.record_model(&id, &model)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct Search {
    experiment_ids: Option<Vec<String>>,
    filter: Option<String>,
    run_view_type: Option<Value>,
    max_results: Option<Int64>,
    order_by: Option<Vec<String>>,
    page_token: Option<String>,
}

#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn search(client: &TrackingClient, request: Search) -> Result<Found> {
    let page = client.tracking.search_runs(&RunQuery {
        experiment_ids: request.experiment_ids.unwrap_or_default(),
        filter: request.filter.unwrap_or_default(),
        order_by: request.order_by.unwrap_or_default(),
        view: view(request.run_view_type)?,
        max_results: max_results(request.max_results.unwrap_or(Int64(1000)))?,
        page_token: request.page_token.filter(|token| !token.is_empty()),
    })?;
    Ok(Found {
        runs: all(page.items),
        next_page_token: page.next_page_token,
    })
}

#[derive(Deserialize)]
struct History {
    run_id: Option<String>,
    run_uuid: Option<String>,
    metric_key: Option<String>,
    max_results: Option<Int64>,
    page_token: Option<String>,
}

#[derive(Serialize)]
struct HistoryPage {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn history(client: &TrackingClient, request: History) -> Result<HistoryPage> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let key = required_text("metric_key", request.metric_key)?;
    let token = request.page_token.filter(|token| !token.is_empty());
    // Without a page size the answer is everything, or everything that is left.
    let size = request
        .max_results
        .or(token.is_some().then_some(Int64(HISTORY_PAGE as i64)));
    let Some(size) = size else {
        let metrics = crate::client::all_pages(|token| {
            client
                .tracking
                .metric_history(&id, &key, HISTORY_PAGE, token.as_deref())
        })?;
        return Ok(HistoryPage {
            metrics: all(metrics),
            next_page_token: None,
        });
    };
    let size = max_results(size)?.min(MAX_PAGE);
    let page = client
        .tracking
        .metric_history(&id, &key, size, token.as_deref())?;
    Ok(HistoryPage {
        metrics: all(page.items),
        next_page_token: page.next_page_token,
    })
}

#[derive(Deserialize)]
struct BulkHistory {
    run_ids: Option<Vec<String>>,
    metric_key: Option<String>,
    start_step: Option<Int64>,
    end_step: Option<Int64>,
    max_results: Option<Int64>,
}

/// Histories of several runs with as many evenly spread values each as were
/// asked for, the first and the last among them and, unless they are few, both
/// extremes.
fn bulk_history(client: &TrackingClient, request: BulkHistory) -> Result<HistoryPage> {
    let key = required_text("metric_key", request.metric_key)?;
    let ids = required("run_ids", request.run_ids)?;
    if ids.len() > 100 {
        return Err(Error::invalid(format!(
            "{} run_ids, at most 100 are allowed",
            ids.len()
        )));
    }
    let steps = match (request.start_step, request.end_step) {
        (None, None) => None,
        (Some(start), Some(end)) if start.0 <= end.0 => Some(start.0..=end.0),
        (Some(start), Some(end)) => {
            return Err(Error::invalid(format!(
                "end_step {} is before start_step {}",
                end.0, start.0
            )));
        }
        _ => {
            return Err(Error::invalid(
                "start_step and end_step are given together or not at all",
            ));
        }
    };
    let points = max_results(request.max_results.unwrap_or(Int64(320)))?.min(MAX_PAGE);
    let mut metrics = Vec::new();
    for id in ids {
        // The last value is one more, and so are the extremes if there is room.
        let extremes = MIN_WITH_EXTREMES <= points;
        let reserved = if extremes { 3 } else { 1 };
        let count = points.saturating_sub(reserved).max(1);
        let buckets = match &steps {
            None => client.tracking.metric_buckets(&id, &key, count)?,
            Some(steps) => {
                let mut history = client.metric_history(&id, &key)?;
                history.retain(|metric| steps.contains(&metric.step));
                downsample(&key, history, count)?
            }
        };
        metrics.extend(
            representatives(&buckets, extremes)
                .into_iter()
                .map(|metric| MetricMessage {
                    run_id: Some(id.clone()),
                    ..metric.into()
                }),
        );
    }
    Ok(HistoryPage {
        metrics,
        next_page_token: None,
    })
}

/// The first value of each bucket, the last of all and, if wished, the extremes
/// of all, by step.
fn representatives(buckets: &[MetricBucket], extremes: bool) -> Vec<Metric> {
    let by_value = |a: &&Metric, b: &&Metric| a.value.total_cmp(&b.value);
    let wanted = |metric: &&Metric| extremes && !metric.value.is_nan();
    let min = buckets
        .iter()
        .map(|b| &b.min)
        .filter(wanted)
        .min_by(by_value);
    let max = buckets
        .iter()
        .map(|b| &b.max)
        .filter(wanted)
        .max_by(by_value);
    let last = buckets.last().map(|b| &b.last);
    let first = buckets.iter().map(|b| &b.first);
    let mut values: Vec<Metric> = first.chain(last).chain(min).chain(max).cloned().collect();
    values.sort_by_key(|metric| (metric.step, metric.timestamp));
    // NaN is no equal of itself, so values are compared by their bits.
    values.dedup_by_key(|metric| (metric.step, metric.timestamp, metric.value.to_bits()));
    values
}

#[derive(Deserialize)]
struct ListArtifacts {
    run_id: Option<String>,
    run_uuid: Option<String>,
    path: Option<String>,
}

#[derive(Serialize)]
struct ArtifactList {
    root_uri: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileInfoMessage>,
}

fn list_artifacts(client: &TrackingClient, request: ListArtifacts) -> Result<ArtifactList> {
    let id = run_id(request.run_id, request.run_uuid)?;
    let root_uri = client.tracking.run(&id)?.info.artifact_uri;
    let files = client
        .artifacts
        .list(&root_uri, &request.path.unwrap_or_default())?;
    Ok(ArtifactList {
        root_uri,
        files: all(files),
    })
}
