//! The unmodified MLflow client against our server.

use std::path::Path;

use btc_testing::python_with;
use btc_track::TrackingClient;

use crate::http::Server;

fn check(section: &str) {
    let Some(mut python) = python_with("mlflow") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("track.db");
    let client = TrackingClient::open(&database, &folder.path().join("artifacts")).unwrap();
    let server = Server::start(client);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mlflow_client.py");
    let output = python
        .arg(script)
        .arg(format!("http://{}", server.address))
        .arg(section)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{section}: {text}");
}

#[test]
fn the_client_handles_experiments() {
    check("experiments");
}

#[test]
fn the_client_handles_runs() {
    check("runs");
}

#[test]
fn the_client_searches() {
    check("search");
}

#[test]
fn the_client_stores_artifacts() {
    check("artifacts");
}

#[test]
fn the_client_logs_and_loads_models() {
    check("models");
}

#[test]
fn the_client_handles_the_registry() {
    check("registry");
}
