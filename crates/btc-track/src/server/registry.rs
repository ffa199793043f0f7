//! The endpoints of registered models and their versions.

use axum::Router;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{on, required, required_text};
use super::experiments::max_results;
use crate::artifact::ArtifactUri;
use crate::client::TrackingClient;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::proto::*;
use crate::store::*;

pub(super) fn routes() -> Router<TrackingClient> {
    let get = [Method::GET];
    let post = [Method::POST];
    let patch = [Method::PATCH];
    let delete = [Method::DELETE];
    Router::new()
        .route("/registered-models/create", on(&post, create_model))
        .route("/registered-models/rename", on(&post, rename))
        .route("/registered-models/update", on(&patch, update_model))
        .route("/registered-models/delete", on(&delete, delete_model))
        .route("/registered-models/get", on(&get, get_model))
        .route(
            "/registered-models/search",
            on(&[Method::GET, Method::POST], search_models),
        )
        .route(
            "/registered-models/get-latest-versions",
            on(&[Method::GET, Method::POST], latest_versions),
        )
        .route("/registered-models/set-tag", on(&post, set_model_tag))
        .route(
            "/registered-models/delete-tag",
            on(&delete, delete_model_tag),
        )
        .route(
            "/registered-models/alias",
            on(&post, set_alias)
                .merge(on_alias_get())
                .merge(on(&delete, delete_alias)),
        )
        .route("/model-versions/create", on(&post, create_version))
        .route("/model-versions/get", on(&get, get_version))
        .route(
            "/model-versions/search",
            on(&[Method::GET, Method::POST], search_versions),
        )
        .route("/model-versions/get-download-uri", on(&get, download_uri))
        .route("/model-versions/update", on(&patch, update_version))
        .route("/model-versions/delete", on(&delete, delete_version))
        .route(
            "/model-versions/transition-stage",
            on(&post, transition_stage),
        )
        .route("/model-versions/set-tag", on(&post, set_version_tag))
        .route(
            "/model-versions/delete-tag",
            on(&delete, delete_version_tag),
        )
}

fn on_alias_get() -> axum::routing::MethodRouter<TrackingClient> {
    on(&[Method::GET], |client: &TrackingClient, request: Named| {
        let alias = required_text("alias", request.alias.clone())?;
        let version = client
            .registry
            .model_version_by_alias(&request.name()?, &alias)?;
        Ok(OneVersion {
            model_version: version.into(),
        })
    })
}

/// The fields that the small requests are made of.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
    new_name: Option<String>,
    description: Option<String>,
    key: Option<String>,
    value: Option<String>,
    alias: Option<String>,
    version: Option<String>,
    stage: Option<String>,
    archive_existing_versions: Option<Value>,
}

impl Named {
    fn name(&self) -> Result<String> {
        required_text("name", self.name.clone())
    }

    fn version(&self) -> Result<u64> {
        let version = required_text("version", self.version.clone())?;
        version.parse().map_err(|_| {
            Error::invalid(format!(
                "the version {version:?} is not a positive whole number"
            ))
        })
    }

    fn tag(&self) -> Result<Tag> {
        let key = required_text("key", self.key.clone())?;
        Ok(Tag {
            key,
            value: self.value.clone().unwrap_or_default(),
        })
    }
}

#[derive(Serialize)]
struct OneModel {
    registered_model: RegisteredModelMessage,
}

#[derive(Serialize)]
struct OneVersion {
    model_version: ModelVersionMessage,
}

#[derive(Deserialize)]
struct CreateModel {
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<KeyValue>>,
}

fn create_model(client: &TrackingClient, request: CreateModel) -> Result<OneModel> {
    let model = client
        .registry
        .create_registered_model(&NewRegisteredModel {
            name: required_text("name", request.name)?,
            description: request.description.unwrap_or_default(),
            tags: all(request.tags.unwrap_or_default()),
        })?;
    Ok(OneModel {
        registered_model: model.into(),
    })
}

fn change_model(
    client: &TrackingClient,
    name: &str,
    change: RegisteredModelChange,
) -> Result<OneModel> {
    let model = client.registry.change_registered_model(name, &change)?;
    Ok(OneModel {
        registered_model: model.into(),
    })
}

fn rename(client: &TrackingClient, request: Named) -> Result<OneModel> {
    let new_name = required_text("new_name", request.new_name.clone())?;
    change_model(
        client,
        &request.name()?,
        RegisteredModelChange::Rename(new_name),
    )
}

fn update_model(client: &TrackingClient, request: Named) -> Result<OneModel> {
    let text = request.description.clone().unwrap_or_default();
    change_model(
        client,
        &request.name()?,
        RegisteredModelChange::Description(text),
    )
}

fn delete_model(client: &TrackingClient, request: Named) -> Result<Value> {
    client.registry.delete_registered_model(&request.name()?)?;
    Ok(json!({}))
}

fn get_model(client: &TrackingClient, request: Named) -> Result<OneModel> {
    let model = client.registry.registered_model(&request.name()?)?;
    Ok(OneModel {
        registered_model: model.into(),
    })
}

fn set_model_tag(client: &TrackingClient, request: Named) -> Result<Value> {
    change_model(
        client,
        &request.name()?,
        RegisteredModelChange::SetTag(request.tag()?),
    )?;
    Ok(json!({}))
}

fn delete_model_tag(client: &TrackingClient, request: Named) -> Result<Value> {
    let change = RegisteredModelChange::DeleteTag(request.tag()?.key);
    change_model(client, &request.name()?, change)?;
    Ok(json!({}))
}

fn set_alias(client: &TrackingClient, request: Named) -> Result<Value> {
    let alias = required_text("alias", request.alias.clone())?;
    let change = RegisteredModelChange::SetAlias(alias, request.version()?);
    change_model(client, &request.name()?, change)?;
    Ok(json!({}))
}

fn delete_alias(client: &TrackingClient, request: Named) -> Result<Value> {
    let alias = required_text("alias", request.alias.clone())?;
    change_model(
        client,
        &request.name()?,
        RegisteredModelChange::DeleteAlias(alias),
    )?;
    Ok(json!({}))
}

#[derive(Deserialize)]
struct Search {
    filter: Option<String>,
    max_results: Option<Int64>,
    order_by: Option<Vec<String>>,
    page_token: Option<String>,
}

impl Search {
    fn query(self, default: i64) -> Result<SearchQuery> {
        Ok(SearchQuery {
            filter: self.filter.unwrap_or_default(),
            order_by: self.order_by.unwrap_or_default(),
            datasets: Vec::new(),
            view: ViewType::ActiveOnly,
            // The client asks for more versions than a page here has.
            max_results: max_results(self.max_results.unwrap_or(Int64(default)))?.min(MAX_PAGE),
            page_token: self.page_token.filter(|token| !token.is_empty()),
        })
    }
}

#[derive(Serialize)]
struct Models {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registered_models: Vec<RegisteredModelMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn search_models(client: &TrackingClient, request: Search) -> Result<Models> {
    let page = client
        .registry
        .search_registered_models(&request.query(100)?)?;
    Ok(Models {
        registered_models: all(page.items),
        next_page_token: page.next_page_token,
    })
}

#[derive(Serialize)]
struct Versions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_versions: Vec<ModelVersionMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn search_versions(client: &TrackingClient, request: Search) -> Result<Versions> {
    let page = client
        .registry
        .search_model_versions(&request.query(200_000)?)?;
    Ok(Versions {
        model_versions: all(page.items),
        next_page_token: page.next_page_token,
    })
}

#[derive(Deserialize)]
struct Latest {
    name: Option<String>,
    stages: Option<Vec<String>>,
}

fn latest_versions(client: &TrackingClient, request: Latest) -> Result<Versions> {
    let model = client
        .registry
        .registered_model(&required_text("name", request.name)?)?;
    let stages = request.stages.unwrap_or_default();
    let stages: Vec<Stage> = stages
        .iter()
        .map(|text| stage(text))
        .collect::<Result<_>>()?;
    let wanted = |v: &ModelVersion| stages.is_empty() || stages.contains(&v.current_stage);
    let versions = model.latest_versions.into_iter().filter(wanted).collect();
    Ok(Versions {
        model_versions: all(versions),
        next_page_token: None,
    })
}

/// A stage in any case.
fn stage(text: &str) -> Result<Stage> {
    let known = Stage::ALL
        .iter()
        .find(|stage| stage.as_str().eq_ignore_ascii_case(text));
    known.copied().map_or_else(|| text.parse(), Ok)
}

#[derive(Deserialize)]
struct CreateVersion {
    name: Option<String>,
    source: Option<String>,
    run_id: Option<String>,
    model_id: Option<String>,
    run_link: Option<String>,
    description: Option<String>,
    tags: Option<Vec<KeyValue>>,
}

fn create_version(client: &TrackingClient, request: CreateVersion) -> Result<OneVersion> {
    let source = required_text("source", request.source)?;
    let tags: Vec<Tag> = all(request.tags.unwrap_or_default());
    let mut model_id = request.model_id.filter(|id| !id.is_empty());
    let mut run_id = request.run_id.filter(|id| !id.is_empty());
    // The source of a prompt is any text.
    if !is_prompt(&tags) {
        let parsed = ArtifactUri::parse(&source)?;
        let first = parsed.path.as_str().split('/').next().map(str::to_owned);
        let names_model = first.as_deref().is_some_and(|id| id.starts_with("m-"));
        if model_id.is_none() && parsed.scheme == "models" && names_model {
            model_id.clone_from(&first);
        }
        if let (None, Some(model_id)) = (&run_id, &model_id) {
            run_id = client.tracking.logged_model(model_id)?.source_run_id;
        }
        if run_id.is_none() && parsed.scheme == "runs" {
            run_id = first;
        }
    }
    let version = client.create_model_version(&NewModelVersion {
        name: required_text("name", request.name)?,
        create_model: false,
        source,
        run_id,
        model_id,
        run_link: request.run_link.unwrap_or_default(),
        content: None,
        description: request.description.unwrap_or_default(),
        tags,
        aliases: Vec::new(),
    })?;
    Ok(OneVersion {
        model_version: version.into(),
    })
}

fn get_version(client: &TrackingClient, request: Named) -> Result<OneVersion> {
    let version = client
        .registry
        .model_version(&request.name()?, request.version()?)?;
    Ok(OneVersion {
        model_version: version.into(),
    })
}

fn download_uri(client: &TrackingClient, request: Named) -> Result<Value> {
    let version = client
        .registry
        .model_version(&request.name()?, request.version()?)?;
    Ok(json!({ "artifact_uri": client.verify_version(&version)? }))
}

fn change_version(
    client: &TrackingClient,
    request: &Named,
    change: ModelVersionChange,
) -> Result<OneVersion> {
    let (name, version) = (request.name()?, request.version()?);
    let version = client
        .registry
        .change_model_version(&name, version, &change)?;
    Ok(OneVersion {
        model_version: version.into(),
    })
}

fn update_version(client: &TrackingClient, request: Named) -> Result<OneVersion> {
    let text = request.description.clone().unwrap_or_default();
    change_version(client, &request, ModelVersionChange::Description(text))
}

fn delete_version(client: &TrackingClient, request: Named) -> Result<Value> {
    client
        .registry
        .delete_model_version(&request.name()?, request.version()?)?;
    Ok(json!({}))
}

fn transition_stage(client: &TrackingClient, request: Named) -> Result<OneVersion> {
    let stage = stage(&required("stage", request.stage.clone())?)?;
    let archive_existing = match &request.archive_existing_versions {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(value) => {
            return Err(Error::invalid(format!(
                "archive_existing_versions is {value}, expected true or false"
            )));
        }
    };
    change_version(
        client,
        &request,
        ModelVersionChange::Stage {
            stage,
            archive_existing,
        },
    )
}

fn set_version_tag(client: &TrackingClient, request: Named) -> Result<Value> {
    change_version(client, &request, ModelVersionChange::SetTag(request.tag()?))?;
    Ok(json!({}))
}

fn delete_version_tag(client: &TrackingClient, request: Named) -> Result<Value> {
    change_version(
        client,
        &request,
        ModelVersionChange::DeleteTag(request.tag()?.key),
    )?;
    Ok(json!({}))
}
