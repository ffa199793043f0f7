//! The web application, asked without a network.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use btc_server::{CONTENT_SECURITY_POLICY, Guard, State, router};
use btc_track::{ActiveRun, RunSpec, RunStatus, TrackingClient};
use btc_tune::InMemoryStorage;
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

fn app(folder: &Path, guard: Guard) -> (Router, TrackingClient) {
    let client = TrackingClient::in_memory(folder).unwrap();
    let state = State::new(client.clone(), Arc::new(InMemoryStorage::new()), folder);
    (router(state, guard), client)
}

async fn ask(app: &Router, request: axum::http::request::Builder) -> Answer {
    let response = app
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn get(path: &str) -> axum::http::request::Builder {
    Request::get(path).header("host", "127.0.0.1:5000")
}

#[tokio::test]
async fn an_empty_project_shows_what_to_run_first() {
    let folder = tempfile::tempdir().unwrap();
    let (app, _) = app(folder.path(), Guard::new());
    let page = ask(&app, get("/")).await;
    assert_eq!(page.status, StatusCode::OK);
    for command in [
        "btc predict",
        "btc model register-best",
        "btc tune run",
        "btc features apply",
    ] {
        assert!(page.body.contains(command), "{command}");
    }
    assert_eq!(page.body.matches("<h1>").count(), 1);
}

#[tokio::test]
async fn the_page_lists_runs_and_escapes_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let (app, client) = app(folder.path(), Guard::new());
    let experiment = client
        .get_or_create_experiment("<script>alert(1)</script>")
        .unwrap();
    let spec = RunSpec::named("\"><img src=x>");
    let run = ActiveRun::start(&client, &experiment.experiment_id, spec).unwrap();
    run.log_metric("MAPE", 1.827_3, 0).unwrap();
    run.log_param("adam_lr", 2.03e-5).unwrap();
    run.end(RunStatus::Finished).unwrap();
    let page = ask(&app, get("/")).await;
    assert!(page.body.contains("1.8273"));
    assert!(
        page.body.contains("2.0300e-5"),
        "a small number keeps its exponent"
    );
    assert!(!page.body.contains("<script>") && !page.body.contains("<img"));
    // The policy forbids inline code and style, so a page must not need any.
    assert!(!page.body.contains("style=") && !page.body.contains("onclick"));
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let (app, _) = app(folder.path(), Guard::new());
    for path in [
        "/",
        "/health",
        "/assets/style.css",
        "/nothing",
        "/api/2.0/mlflow/nothing",
    ] {
        let answer = ask(&app, get(path)).await;
        assert_eq!(
            answer.headers["content-security-policy"], CONTENT_SECURITY_POLICY,
            "{path}"
        );
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_mlflow_client_is_answered_beside_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (app, client) = app(folder.path(), Guard::new());
    client.get_or_create_experiment("price").unwrap();
    assert_eq!(ask(&app, get("/health")).await.body, "OK");
    let path = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=price";
    let answer = ask(&app, get(path)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["experiment"]["name"], "price");
}

#[tokio::test]
async fn other_hosts_and_origins_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (app, _) = app(folder.path(), Guard::new());
    let rebound = Request::get("/").header("host", "evil.example");
    assert_eq!(ask(&app, rebound).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        ask(&app, Request::get("/")).await.status,
        StatusCode::FORBIDDEN
    );
    let post = |origin: &str| {
        Request::post("/api/2.0/mlflow/experiments/create")
            .header("host", "127.0.0.1:5000")
            .header("content-type", "application/json")
            .header("origin", origin)
    };
    assert_eq!(
        ask(&app, post("https://evil.example")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(ask(&app, post("null")).await.status, StatusCode::FORBIDDEN);
    // The same origin gets past the guard: the empty body is then the API's to refuse.
    assert_eq!(
        ask(&app, post("http://127.0.0.1:5000")).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_taken_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (app, _) = app(folder.path(), Guard::new().with_token("s3cret"));
    let without = ask(&app, get("/")).await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    assert!(without.headers.contains_key("www-authenticate"));
    assert_eq!(ask(&app, get("/health")).await.status, StatusCode::OK);
    for (value, expected) in [
        ("Bearer s3cret", StatusCode::OK),
        // user:s3cret
        ("Basic dXNlcjpzM2NyZXQ=", StatusCode::OK),
        ("Bearer s3cre", StatusCode::UNAUTHORIZED),
        ("Bearer ", StatusCode::UNAUTHORIZED),
        ("Basic !!!", StatusCode::UNAUTHORIZED),
        ("s3cret", StatusCode::UNAUTHORIZED),
    ] {
        let answer = ask(&app, get("/").header("authorization", value)).await;
        assert_eq!(answer.status, expected, "{value}");
    }
}

#[tokio::test]
async fn a_stopped_server_ends_although_a_client_stays_connected() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let state = State::new(client, Arc::new(InMemoryStorage::new()), folder.path());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(btc_server::serve(listener, state, Guard::new(), async {
        let _ = stopped.await;
    }));
    let _idle = tokio::net::TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(600), server).await;
    ended.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn the_cause_of_a_failure_is_logged_and_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let state = State::new(
        client.clone(),
        Arc::new(InMemoryStorage::new()),
        folder.path(),
    )
    .with_failure_log(move |line| log.lock().unwrap().push(line.to_owned()));
    let app = router(state, Guard::new());
    let run = ActiveRun::start(&client, "0", RunSpec::default()).unwrap();
    // A file where the run's folder should be.
    std::fs::create_dir_all(folder.path().join("artifacts/0")).unwrap();
    std::fs::write(folder.path().join("artifacts/0").join(run.id()), "x").unwrap();

    let path = format!(
        "/api/2.0/mlflow-artifacts/artifacts/0/{}/artifacts/a.txt",
        run.id()
    );
    let put = Request::put(&path).header("host", "127.0.0.1:5000");
    let answer = ask(&app, put).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.contains("os error"), "{}", answer.body);
    // What the client did wrong is not the operator's concern.
    let missing = ask(&app, get("/api/2.0/mlflow/runs/get?run_id=none")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let lines = lines.lock().unwrap();
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(line.starts_with(&format!("PUT {path}: cannot ")), "{line}");
    assert!(line.contains("os error"), "{line}");
}

/// An application over `client`, and the lines of its log.
fn logged(client: TrackingClient, features: &Path) -> (Router, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let state = State::new(client, Arc::new(InMemoryStorage::new()), features)
        .with_failure_log(move |line| log.lock().unwrap().push(line.to_owned()));
    (router(state, Guard::new()), lines)
}

#[tokio::test]
async fn a_page_that_cannot_be_shown_is_logged_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("track.db");
    let client = TrackingClient::open(&database, &folder.path().join("artifacts")).unwrap();
    for beside in ["track.db-wal", "track.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(beside));
    }
    std::fs::remove_file(&database).unwrap();
    std::fs::write(&database, "no database ".repeat(1000)).unwrap();
    let (app, lines) = logged(client, folder.path());
    let answer = ask(&app, get("/")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.contains("not a database"), "{}", answer.body);
    let line = lines.lock().unwrap().pop().expect("a line");
    assert!(
        line.starts_with("GET /: ") && line.contains("not a database"),
        "{line}"
    );
}

#[tokio::test]
async fn a_page_without_its_features_is_shown_and_says_why_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("feature_store.toml"), "project = 1").unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    let (app, lines) = logged(client, folder.path());
    let answer = ask(&app, get("/")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("The features cannot be read."));
    let line = lines.lock().unwrap().pop().expect("a line");
    assert!(
        line.starts_with("GET /: ") && line.contains("feature_store.toml"),
        "{line}"
    );
}
