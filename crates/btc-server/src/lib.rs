//! One web page over runs, models, studies, features and forecasts.
//!
//! [`router`] is a plain axum router over the public traits of the libraries
//! below; [`serve`] runs it until it is told to stop.
//!
//! ```no_run
//! use std::sync::Arc;
//! use btc_server::{Guard, State, serve};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = btc_track::TrackingClient::open("track.db".as_ref(), "artifacts".as_ref())?;
//! let storage = btc_tune::storage_from_url("sqlite:///studies.db")?;
//! let state = State::new(client, storage, "features");
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! serve(listener, state, Guard::new(), std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod assets;
mod guard;
mod online;
mod pages;
mod state;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Extracted};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use btc_track::server::Failure;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

pub use guard::{CONTENT_SECURITY_POLICY, Guard};
use state::FailureLog;
pub use state::State;

/// How long one page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections that may be open at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// The web application behind `guard`: the page, its assets, and what an
/// MLflow client asks for, `/health` included.
pub fn router(state: State, guard: Guard) -> Router {
    let api = btc_track::server::router(state.client.clone());
    let online = online::router(state.features_dir());
    let failures = state.failures.clone();
    let pages = Router::new()
        .route("/", get(pages::overview))
        .route("/assets/{name}", get(assets::serve))
        .fallback(pages::not_found)
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            PAGE_TIMEOUT,
        ))
        .with_state(state);
    pages
        .merge(api)
        .merge(online)
        .layer(from_fn_with_state(failures, report))
        .layer(from_fn_with_state(Arc::new(guard), guard::guard))
}

/// Logs what an answer of status 500 or above does not tell, and what a page left out.
async fn report(
    Extracted(FailureLog(log)): Extracted<FailureLog>,
    request: Request,
    next: Next,
) -> Response {
    let Some(log) = log else {
        return next.run(request).await;
    };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    let path = uri.path();
    match response.extensions().get::<Failure>() {
        Some(failure) => log(&format!("{method} {path}: {failure}")),
        // The cause is not known; that it failed is.
        None if response.status().is_server_error() => {
            log(&format!("{method} {path}: {}", response.status()));
        }
        None => {}
    }
    response
}

/// Serves until `stop` ends, then finishes what is being answered.
///
/// # Errors
///
/// The listener's error if it cannot be served from.
pub async fn serve(
    listener: TcpListener,
    state: State,
    guard: Guard,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    btc_track::server::serve(listener, router(state, guard), MAX_CONNECTIONS, stop).await
}
