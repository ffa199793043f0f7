//! The endpoints of logged models.

use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::routing::MethodRouter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{on, on_path, required, required_text};
use super::experiments::max_results;
use crate::client::TrackingClient;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::proto::*;
use crate::store::*;

type Routes = Router<TrackingClient>;

pub(super) fn routes() -> Routes {
    let one: MethodRouter<TrackingClient> = on_path(Method::GET, get)
        .merge(on_path(Method::PATCH, finalize))
        .merge(on_path(
            Method::DELETE,
            |client, Path(id): Path<String>, _: Empty| {
                change(client, &id, LoggedModelChange::Delete)
            },
        ));
    Router::new()
        .route("/logged-models", on(&[Method::POST], create))
        .route("/logged-models/search", on(&[Method::POST], search))
        .route("/logged-models/{id}", one)
        .route("/logged-models/{id}/tags", on_path(Method::PATCH, set_tags))
        .route(
            "/logged-models/{id}/tags/{key}",
            on_path(Method::DELETE, delete_tag),
        )
        .route(
            "/logged-models/{id}/params",
            on_path(Method::POST, log_params),
        )
        .route(
            "/logged-models/{id}/artifacts/directories",
            on_path(Method::GET, list),
        )
}

#[derive(Deserialize)]
struct Empty {}

#[derive(Serialize)]
struct One {
    model: LoggedModelMessage,
}

fn get(client: &TrackingClient, Path(id): Path<String>, _: Empty) -> Result<One> {
    Ok(One {
        model: client.tracking.logged_model(&id)?.into(),
    })
}

#[derive(Deserialize)]
struct Create {
    experiment_id: Option<String>,
    name: Option<String>,
    model_type: Option<String>,
    source_run_id: Option<String>,
    params: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

fn create(client: &TrackingClient, request: Create) -> Result<One> {
    let model = client.tracking.create_logged_model(&NewLoggedModel {
        experiment_id: required_text("experiment_id", request.experiment_id)?,
        name: request.name.unwrap_or_default(),
        model_type: request.model_type.unwrap_or_default(),
        source_run_id: request.source_run_id.filter(|id| !id.is_empty()),
        params: all(request.params.unwrap_or_default()),
        tags: all(request.tags.unwrap_or_default()),
    })?;
    Ok(One {
        model: model.into(),
    })
}

fn change(client: &TrackingClient, id: &str, change: LoggedModelChange) -> Result<Value> {
    client.tracking.change_logged_model(id, &change)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct Finalize {
    status: Option<Value>,
}

fn finalize(client: &TrackingClient, Path(id): Path<String>, request: Finalize) -> Result<One> {
    let status = match required("status", request.status)? {
        Value::String(text) => text.parse()?,
        value => {
            let index = value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok());
            *index
                .and_then(|i| LoggedModelStatus::ALL.get(i.wrapping_sub(1)))
                .ok_or_else(|| Error::invalid(format!("unknown logged model status {value}")))?
        }
    };
    client
        .tracking
        .change_logged_model(&id, &LoggedModelChange::Status(status))?;
    Ok(One {
        model: client.tracking.logged_model(&id)?.into(),
    })
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<KeyValue>>,
}

fn set_tags(client: &TrackingClient, Path(id): Path<String>, request: Tags) -> Result<One> {
    let tags = all(request.tags.unwrap_or_default());
    client
        .tracking
        .change_logged_model(&id, &LoggedModelChange::SetTags(tags))?;
    Ok(One {
        model: client.tracking.logged_model(&id)?.into(),
    })
}

fn delete_tag(
    client: &TrackingClient,
    Path((id, key)): Path<(String, String)>,
    _: Empty,
) -> Result<Value> {
    change(client, &id, LoggedModelChange::DeleteTag(key))
}

#[derive(Deserialize)]
struct Params {
    params: Option<Vec<KeyValue>>,
}

fn log_params(client: &TrackingClient, Path(id): Path<String>, request: Params) -> Result<Value> {
    change(
        client,
        &id,
        LoggedModelChange::LogParams(all(request.params.unwrap_or_default())),
    )
}

#[derive(Deserialize)]
struct OrderField {
    field_name: Option<String>,
    ascending: Option<bool>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

#[derive(Deserialize)]
struct DatasetField {
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

#[derive(Deserialize)]
struct Search {
    experiment_ids: Option<Vec<String>>,
    filter: Option<String>,
    datasets: Option<Vec<DatasetField>>,
    max_results: Option<Int64>,
    order_by: Option<Vec<OrderField>>,
    page_token: Option<String>,
}

#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<LoggedModelMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn search(client: &TrackingClient, request: Search) -> Result<Found> {
    let mut order_by = Vec::new();
    for field in request.order_by.unwrap_or_default() {
        let name = required_text("field_name", field.field_name)?;
        if field.dataset_name.or(field.dataset_digest).is_some() {
            return Err(Error::invalid(
                "an ordering by a metric on one data set is not supported; \
                 name the data set in \"datasets\"",
            ));
        }
        let direction = if field.ascending.unwrap_or(true) {
            "ASC"
        } else {
            "DESC"
        };
        order_by.push(format!("{name} {direction}"));
    }
    let mut datasets = Vec::new();
    for dataset in request.datasets.unwrap_or_default() {
        datasets.push(DatasetFilter {
            name: required_text("dataset_name", dataset.dataset_name)?,
            digest: dataset.dataset_digest,
        });
    }
    let query = SearchQuery {
        filter: request.filter.unwrap_or_default(),
        order_by,
        datasets,
        view: ViewType::ActiveOnly,
        max_results: max_results(request.max_results.unwrap_or(Int64(50)))?,
        page_token: request.page_token.filter(|token| !token.is_empty()),
    };
    let ids = request.experiment_ids.unwrap_or_default();
    let page = client.tracking.search_logged_models(&ids, &query)?;
    Ok(Found {
        models: all(page.items),
        next_page_token: page.next_page_token,
    })
}

#[derive(Deserialize)]
struct List {
    artifact_directory_path: Option<String>,
}

fn list(client: &TrackingClient, Path(id): Path<String>, request: List) -> Result<Value> {
    let root_uri = client.tracking.logged_model(&id)?.artifact_uri;
    let path = request.artifact_directory_path.unwrap_or_default();
    let files: Vec<FileInfoMessage> = all(client.artifacts.list(&root_uri, &path)?);
    Ok(json!({ "root_uri": root_uri, "files": files }))
}
