//! The endpoints of experiments.

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{on, required, required_text};
use crate::client::TrackingClient;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::proto::*;
use crate::store::*;

type Routes = Router<TrackingClient>;

pub(super) fn routes() -> Routes {
    let get = [Method::GET];
    let post = [Method::POST];
    Router::new()
        .route("/experiments/get-by-name", on(&get, get_by_name))
        .route("/experiments/get", on(&get, get_experiment))
        .route("/experiments/create", on(&post, create))
        .route(
            "/experiments/search",
            on(&[Method::GET, Method::POST], search),
        )
        .route(
            "/experiments/update",
            change(|r| {
                Ok(ExperimentChange::Rename(required_text(
                    "new_name", r.new_name,
                )?))
            }),
        )
        .route(
            "/experiments/delete",
            change(|_| Ok(ExperimentChange::Delete)),
        )
        .route(
            "/experiments/restore",
            change(|_| Ok(ExperimentChange::Restore)),
        )
        .route(
            "/experiments/set-experiment-tag",
            change(|r| {
                let key = required_text("key", r.key)?;
                Ok(ExperimentChange::SetTag(Tag {
                    key,
                    value: required("value", r.value)?,
                }))
            }),
        )
        .route(
            "/experiments/delete-experiment-tag",
            change(|r| Ok(ExperimentChange::DeleteTag(required_text("key", r.key)?))),
        )
}

#[derive(Deserialize)]
struct ByName {
    experiment_name: Option<String>,
}

#[derive(Deserialize)]
struct ById {
    experiment_id: Option<String>,
}

#[derive(Serialize)]
struct One {
    experiment: ExperimentMessage,
}

fn get_by_name(client: &TrackingClient, request: ByName) -> Result<One> {
    let name = required_text("experiment_name", request.experiment_name)?;
    Ok(One {
        experiment: client.tracking.experiment_by_name(&name)?.into(),
    })
}

fn get_experiment(client: &TrackingClient, request: ById) -> Result<One> {
    let id = required_text("experiment_id", request.experiment_id)?;
    Ok(One {
        experiment: client.tracking.experiment(&id)?.into(),
    })
}

#[derive(Deserialize)]
struct Create {
    name: Option<String>,
    artifact_location: Option<String>,
    tags: Option<Vec<KeyValue>>,
}

fn create(client: &TrackingClient, request: Create) -> Result<Value> {
    let experiment = client.tracking.create_experiment(&NewExperiment {
        name: required_text("name", request.name)?,
        artifact_location: request
            .artifact_location
            .filter(|location| !location.is_empty()),
        tags: all(request.tags.unwrap_or_default()),
    })?;
    Ok(json!({ "experiment_id": experiment.experiment_id }))
}

#[derive(Deserialize)]
struct Search {
    max_results: Option<Int64>,
    page_token: Option<String>,
    filter: Option<String>,
    order_by: Option<Vec<String>>,
    view_type: Option<Value>,
}

#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<ExperimentMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn search(client: &TrackingClient, request: Search) -> Result<Found> {
    let page = client.tracking.search_experiments(&SearchQuery {
        filter: request.filter.unwrap_or_default(),
        order_by: request.order_by.unwrap_or_default(),
        datasets: Vec::new(),
        view: view(request.view_type)?,
        max_results: max_results(required("max_results", request.max_results)?)?,
        page_token: request.page_token.filter(|token| !token.is_empty()),
    })?;
    Ok(Found {
        experiments: all(page.items),
        next_page_token: page.next_page_token,
    })
}

pub(super) fn max_results(value: Int64) -> Result<usize> {
    usize::try_from(value.0)
        .ok()
        .filter(|max_results| *max_results > 0)
        .ok_or_else(|| Error::invalid(format!("max_results is {}, expected 1 or more", value.0)))
}

/// A view type by name or number.
pub(super) fn view(value: Option<Value>) -> Result<ViewType> {
    let text = match &value {
        None | Some(Value::Null) => return Ok(ViewType::ActiveOnly),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    match text.as_str() {
        "ACTIVE_ONLY" | "1" => Ok(ViewType::ActiveOnly),
        "DELETED_ONLY" | "2" => Ok(ViewType::DeletedOnly),
        "ALL" | "3" => Ok(ViewType::All),
        _ => Err(Error::invalid(format!(
            "unknown view type {text}, expected ACTIVE_ONLY, DELETED_ONLY or ALL"
        ))),
    }
}

#[derive(Deserialize)]
struct Change {
    experiment_id: Option<String>,
    new_name: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

/// A route that makes one kind of change.
fn change<F>(what: F) -> MethodRouter<TrackingClient>
where
    F: Fn(Change) -> Result<ExperimentChange> + Copy + Send + Sync + 'static,
{
    on(
        &[Method::POST],
        move |client: &TrackingClient, mut request: Change| {
            let id = required_text("experiment_id", request.experiment_id.take())?;
            client.tracking.change_experiment(&id, &what(request)?)?;
            Ok(json!({}))
        },
    )
}
