//! `POST /get-online-features` and `POST /push`: the newest values of features,
//! read and written in the shapes of Feast's feature server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use btc_features::{Error, FeatureStore, OnlineFeatures, OnlineRequest, PushReport, PushRequest};
use btc_track::server::Failure;
use chrono::Utc;
use serde_json::json;

/// The route, for the feature store in `features_dir`, which may not exist
/// yet.
pub(crate) fn router(features_dir: &Path) -> Router {
    Router::new()
        .route("/get-online-features", post(get_online_features))
        .route("/push", post(push))
        .with_state(Arc::new(Online {
            dir: features_dir.to_path_buf(),
            open: Mutex::default(),
        }))
}

/// The store as it was last opened.
#[derive(Debug)]
struct Online {
    dir: PathBuf,
    open: Mutex<Option<Opened>>,
}

#[derive(Debug, Clone)]
struct Opened {
    registry_written: Option<SystemTime>,
    store: Arc<FeatureStore>,
}

impl Online {
    /// The store, opened again if something was applied since.
    fn store(&self) -> Result<Arc<FeatureStore>, Error> {
        let written = std::fs::metadata(self.dir.join("registry.toml"))
            .and_then(|metadata| metadata.modified())
            .ok();
        // What a panicking request left behind is only a store to reopen.
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match open.as_ref() {
            Some(opened) if opened.registry_written == written => Ok(Arc::clone(&opened.store)),
            _ => {
                let store = Arc::new(FeatureStore::open(&self.dir)?);
                *open = Some(Opened {
                    registry_written: written,
                    store: Arc::clone(&store),
                });
                Ok(store)
            }
        }
    }
}

async fn get_online_features(
    State(online): State<Arc<Online>>,
    request: Result<Json<OnlineRequest>, JsonRejection>,
) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return failure(rejection.status(), &rejection.body_text()),
    };
    let answer = tokio::task::spawn_blocking(move || -> Result<OnlineFeatures, Error> {
        online.store()?.get_online_features(&request, Utc::now())
    })
    .await;
    match answer {
        Ok(answer) => respond(answer),
        Err(panic) => {
            let mut response = failure(StatusCode::INTERNAL_SERVER_ERROR, "the request failed");
            response.extensions_mut().insert(Failure::of(&panic));
            response
        }
    }
}

/// Writes rows to the files of a view's source, the online store, or both.
async fn push(
    State(online): State<Arc<Online>>,
    request: Result<Json<PushRequest>, JsonRejection>,
) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return failure(rejection.status(), &rejection.body_text()),
    };
    let store = tokio::task::spawn_blocking(move || online.store()).await;
    let report: Result<PushReport, Error> = match store {
        Ok(Ok(store)) => store.push_json(&request, Utc::now()).await,
        Ok(Err(error)) => Err(error),
        Err(panic) => {
            let mut response = failure(StatusCode::INTERNAL_SERVER_ERROR, "the request failed");
            response.extensions_mut().insert(Failure::of(&panic));
            return response;
        }
    };
    respond(report)
}

fn respond<T>(answer: Result<T, Error>) -> Response
where
    Json<T>: IntoResponse,
{
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let mut response = failure(status(&error), &error.to_string());
            if response.status().is_server_error() {
                response.extensions_mut().insert(Failure::of(&error));
            }
            response
        }
    }
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::UnknownObject { .. } => StatusCode::NOT_FOUND,
        Error::InvalidRequest(_)
        | Error::Collision { .. }
        | Error::InvalidValue { .. }
        | Error::SchemaMismatch { .. } => StatusCode::BAD_REQUEST,
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StatusCode::NOT_FOUND
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn failure(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, header};
    use btc_features::{Definitions, Entity, FeatureView, Field, FileSource, ValueType};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, body: &str) -> (StatusCode, String) {
        post_to(router, "/get-online-features", body).await
    }

    async fn post_to(router: &Router, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_route_answers_as_a_feature_server_does() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(dir.path());
        let body = r#"{"features": ["stats:trips"], "entities": {"driver_id": [1]}}"#;
        assert_eq!(ask(&router, body).await.0, StatusCode::NOT_FOUND);
        let mut store = FeatureStore::init(dir.path(), "taxi").unwrap();
        store
            .apply(
                &Definitions::new()
                    .with_entity(
                        Entity::new("driver")
                            .with_join_key("driver_id")
                            .with_value_type(ValueType::Int64),
                    )
                    .with_source(FileSource::new("stats", "stats.parquet", "event_timestamp"))
                    .with_feature_view(
                        FeatureView::new("stats", "stats")
                            .with_entities(["driver"])
                            .with_features([Field::new("trips", ValueType::Int64)]),
                    ),
            )
            .unwrap();
        let (status, text) = ask(&router, body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(
            text.contains(r#""feature_names":["driver_id","trips"]"#),
            "{text}"
        );
        assert!(text.contains(r#""statuses":["NOT_FOUND"]"#), "{text}");
        let push = |trips: &str| {
            format!(
                r#"{{"push_source_name": "stats", "to": "online_and_offline", "df": {{
                    "driver_id": [1], "event_timestamp": ["2023-01-11T12:00:00Z"],
                    "trips": [{trips}]}}}}"#
            )
        };
        let (status, text) = post_to(&router, "/push", &push("\"many\"")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert!(text.contains("column \\\"trips\\\", row 0"), "{text}");
        assert!(!dir.path().join("stats.parquet").exists());
        let (status, text) = post_to(&router, "/push", &push("7")).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(dir.path().join("stats.parquet").exists());
        let (_, text) = ask(&router, body).await;
        assert!(
            text.contains(r#"{"values":[7],"statuses":["PRESENT"]"#),
            "{text}"
        );
        let (status, text) = ask(&router, r#"{"features": ["stats:tripps"]}"#).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(text.contains("did you mean"), "{text}");
        assert_eq!(
            ask(&router, r#"{"features": []}"#).await.0,
            StatusCode::BAD_REQUEST
        );
        assert!(ask(&router, "{").await.0.is_client_error());
    }
}
