//! The REST surface as it is on the wire.

use btc_track::TrackingClient;
use serde_json::{Value, json};

use crate::http::{Connection, Server};

fn server() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(&folder.path().join("artifacts")).unwrap();
    (folder, Server::start(client))
}

fn create_run(connection: &mut Connection) -> String {
    let answer = connection.post("runs/create", r#"{"experiment_id":"0","start_time":"7"}"#);
    answer.json()["run"]["info"]["run_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn both_prefixes_and_the_small_endpoints_answer() {
    let (_folder, server) = server();
    let mut c = server.connect();
    assert_eq!(c.get("/health").body, b"OK");
    assert_eq!(c.get("/version").status, 200);
    assert_eq!(
        c.get("/api/3.0/mlflow/server-info").json()["workspaces_enabled"],
        json!(false)
    );
    for base in ["api", "ajax-api"] {
        let answer = c.get(&format!(
            "/{base}/2.0/mlflow/experiments/get?experiment_id=0"
        ));
        let experiment = &answer.json()["experiment"];
        assert_eq!(experiment["name"], "Default");
        assert_eq!(experiment["workspace"], "default");
        assert_eq!(experiment.get("tags"), None, "empty lists are left out");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        for path in [
            "2.0/mlflow/nothing",
            "2.0/mlflow/runs/create",
            "9.0/x",
            "2.0/mlflow/runs/x/y",
        ] {
            let answer = c.get(&format!("/{base}/{path}"));
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.json()["error_code"], "ENDPOINT_NOT_FOUND", "{path}");
        }
    }
}

#[test]
fn numbers_and_times_have_the_forms_of_the_protocol() {
    let (_folder, server) = server();
    let mut c = server.connect();
    let run = create_run(&mut c);
    for (value, expected) in [
        (json!("NaN"), json!("NaN")),
        (json!("Infinity"), json!(f64::MAX)),
        (json!("-Infinity"), json!(f64::MIN)),
        (json!(1), json!(1.0)),
        (json!("2.5"), json!(2.5)),
        (json!(0.1), json!(0.1)),
    ] {
        let body = json!({"run_id": run, "key": "m", "value": value, "timestamp": "9", "step": 1});
        // Each value is the latest: the step grows with the loop.
        let mut body = body;
        body["step"] = json!(value.to_string().len());
        let answer = c.post("runs/log-metric", &body.to_string());
        assert_eq!((answer.status, answer.json()), (200, json!({})));
        let path = format!("/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=m");
        let history = c.get(&path).json();
        let values: Vec<_> = history["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["value"].clone())
            .collect();
        assert!(values.contains(&expected), "{expected} in {values:?}");
        assert_eq!(
            history["metrics"][0]["timestamp"],
            json!(9),
            "numbers, not texts"
        );
    }
    let run = c
        .get(&format!("/api/2.0/mlflow/runs/get?run_uuid={run}"))
        .json();
    assert_eq!(run["run"]["info"]["start_time"], json!(7));
    assert_eq!(run["run"]["info"]["run_uuid"], run["run"]["info"]["run_id"]);
    assert_eq!(run["run"]["info"].get("end_time"), None);
}

#[test]
fn a_metric_that_is_not_there_has_an_empty_history() {
    let (_folder, server) = server();
    let mut c = server.connect();
    let run = create_run(&mut c);
    let path = format!("/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=none");
    assert_eq!(c.get(&path).json(), json!({}));
    let path = "/api/2.0/mlflow/metrics/get-history?run_id=none&metric_key=none";
    assert_eq!(c.get(path).status, 404);
}

#[test]
fn histories_are_downsampled_over_several_runs() {
    let (_folder, server) = server();
    let mut c = server.connect();
    let runs = [create_run(&mut c), create_run(&mut c)];
    for run in &runs {
        let metrics: Vec<Value> = (0..1000)
            .map(|i| json!({"key": "m", "value": if i == 333 { -9.0 } else { 1.0 }, "timestamp": i, "step": i}))
            .collect();
        let body = json!({"run_id": run, "metrics": metrics}).to_string();
        assert_eq!(c.post("runs/log-batch", &body).status, 200);
    }
    let path = format!(
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={}&run_ids={}&metric_key=m&max_results=40",
        runs[0], runs[1]
    );
    let metrics = c.get(&path).json()["metrics"].as_array().unwrap().clone();
    assert!(metrics.len() <= 80, "{}", metrics.len());
    for run in &runs {
        let lowest = metrics
            .iter()
            .any(|m| m["run_id"] == json!(run) && m["value"] == json!(-9.0));
        assert!(lowest, "the extreme of {run} is kept");
    }
}

#[test]
fn deleting_takes_parameters_in_the_body_and_in_the_query() {
    let (_folder, server) = server();
    let mut c = server.connect();
    for (name, in_body) in [("a", true), ("b", false)] {
        let body = json!({ "name": name }).to_string();
        assert_eq!(c.post("registered-models/create", &body).status, 200);
        let path = "/api/2.0/mlflow/registered-models/delete";
        let answer = match in_body {
            true => c.request("DELETE", path, "application/json", body.as_bytes()),
            false => c.request("DELETE", &format!("{path}?name={name}"), "", b""),
        };
        assert_eq!(answer.unwrap().status, 200);
        let answer = c.get(&format!(
            "/api/2.0/mlflow/registered-models/get?name={name}"
        ));
        assert_eq!(answer.status, 404);
    }
}

#[test]
fn active_content_is_served_as_an_attachment() {
    let (_folder, server) = server();
    let mut c = server.connect();
    for name in ["page.html", "image.svg", "data.bin"] {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/0/{name}");
        assert_eq!(
            c.request("PUT", &path, "text/html", b"<script>1</script>")
                .unwrap()
                .status,
            200
        );
        let answer = c.get(&path);
        assert_eq!(answer.body, b"<script>1</script>");
        assert_eq!(answer.header("content-disposition"), Some("attachment"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/octet-stream")
        );
    }
    let listed = c.get("/api/2.0/mlflow-artifacts/artifacts?path=0").json();
    let paths: Vec<_> = listed["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["path"].clone())
        .collect();
    assert_eq!(paths, ["data.bin", "image.svg", "page.html"]);
    for path in ["0/data.bin", "0/missing"] {
        let answer = c.get(&format!("/api/2.0/mlflow-artifacts/artifacts?path={path}"));
        assert_eq!(answer.json(), json!({}));
    }
}
