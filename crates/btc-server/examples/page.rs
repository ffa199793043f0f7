//! Renders the page of an empty project without opening a port.
//!
//! `cargo run -p btc-server --example page`

use std::error::Error;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use btc_server::{Guard, State, router};
use tower::ServiceExt;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let client = btc_track::TrackingClient::in_memory(folder.path())?;
    let studies = Arc::new(btc_tune::InMemoryStorage::new());
    let app = router(State::new(client, studies, folder.path()), Guard::new());
    let request = Request::get("/")
        .header("host", "localhost")
        .body(Body::empty())?;
    let response = app.oneshot(request).await?;
    println!("{}", response.status());
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
