//! JSON bodies: whatever is sent, the server answers with success or with an
//! error that blames the request.
#![no_main]

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::Request;
use btc_track::TrackingClient;
use libfuzzer_sys::fuzz_target;
use tower::ServiceExt;

const ENDPOINTS: [(&str, &str); 16] = [
    ("POST", "experiments/create"),
    ("POST", "experiments/search"),
    ("POST", "runs/create"),
    ("POST", "runs/update"),
    ("POST", "runs/log-metric"),
    ("POST", "runs/log-batch"),
    ("POST", "runs/log-inputs"),
    ("POST", "runs/search"),
    ("POST", "runs/set-tag"),
    ("POST", "logged-models"),
    ("POST", "logged-models/search"),
    ("POST", "registered-models/create"),
    ("POST", "registered-models/alias"),
    ("POST", "model-versions/create"),
    ("POST", "model-versions/transition-stage"),
    ("DELETE", "registered-models/delete"),
];

static SERVER: LazyLock<(tempfile::TempDir, tokio::runtime::Runtime, axum::Router)> =
    LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let client = TrackingClient::in_memory(folder.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (folder, runtime, btc_track::server::router(client))
    });

fuzz_target!(|data: &[u8]| {
    let Some((endpoint, body)) = data.split_first() else { return };
    let (method, path) = ENDPOINTS[usize::from(*endpoint) % ENDPOINTS.len()];
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/2.0/mlflow/{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .unwrap();
    let (_, runtime, router) = &*SERVER;
    let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
    assert!(response.status().as_u16() < 500, "{method} {path}: {}", response.status());
});
