//! MLflow's REST surface, for its unmodified clients.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = btc_track::TrackingClient::open("track.db".as_ref(), "artifacts".as_ref())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! axum::serve(listener, btc_track::server::router(client)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The router answers whoever reaches it; checks of the `Host` header, of
//! origins and of tokens belong in a layer around it.

mod artifacts;
mod endpoint;
mod experiments;
mod logged_models;
mod registry;
mod runs;
mod serve;

pub use endpoint::Failure;
pub use serve::{Limits, serve, serve_with};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;

use crate::client::TrackingClient;

/// The largest JSON body; a data set's profile may have 16 MiB.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Everything an MLflow client asks for, with `/health` and `/version`.
pub fn router(client: TrackingClient) -> Router {
    api_router(client)
        .route("/health", get(|| async { "OK" }))
        .route("/version", get(|| async { env!("CARGO_PKG_VERSION") }))
}

/// Only the paths below `/api` and `/ajax-api`, for servers that have a
/// `/health` of their own.
pub fn api_router(client: TrackingClient) -> Router {
    let mut router = Router::new();
    for base in ["/api", "/ajax-api"] {
        let v2 = Router::new()
            .merge(experiments::routes())
            .merge(runs::routes())
            .merge(logged_models::routes())
            .merge(registry::routes());
        router = router
            .nest(&format!("{base}/2.0/mlflow"), v2.layer(from_fn(bounded)))
            .nest(&format!("{base}/2.0/mlflow-artifacts"), artifacts::routes())
            .route(&format!("{base}/3.0/mlflow/server-info"), get(server_info))
            .route(&format!("{base}/{{*rest}}"), any(unknown));
    }
    router
        // A wrong method is an unknown endpoint for MLflow's clients.
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(client)
}

/// Refuses long bodies before they are sent.
async fn bounded(request: Request, next: Next) -> Response {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if length
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > MAX_BODY as u64)
    {
        let message = format!("the body is longer than {MAX_BODY} bytes");
        return endpoint::refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "INVALID_PARAMETER_VALUE",
            &message,
        );
    }
    next.run(request).await
}

async fn server_info() -> Response {
    axum::Json(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": false,
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": { "gateway": false },
    }))
    .into_response()
}

async fn unknown() -> Response {
    endpoint::refuse(
        StatusCode::NOT_FOUND,
        "ENDPOINT_NOT_FOUND",
        "there is no such endpoint",
    )
}
