//! Answers that agree with MLflow's where a client names no wish of its own.

use btc_track::TrackingClient;
use serde_json::{Value, json};

use crate::http::{Connection, Server};

fn servers(folder: &std::path::Path) -> [Server; 2] {
    [
        Server::start(TrackingClient::in_memory(&folder.join("memory")).unwrap()),
        Server::start(
            TrackingClient::open(&folder.join("track.db"), &folder.join("files")).unwrap(),
        ),
    ]
}

fn ok(c: &mut Connection, path: &str, body: Value) -> Value {
    let answer = c.post(path, &body.to_string());
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.json());
    answer.json()
}

fn refused(c: &mut Connection, path: &str, body: Value) -> String {
    let answer = c.post(path, &body.to_string());
    assert_eq!(answer.status, 400, "{path} {body}: {}", answer.json());
    answer.json()["message"].as_str().unwrap().to_owned()
}

fn get(c: &mut Connection, path: &str) -> Value {
    let answer = c.get(&format!("/api/2.0/mlflow/{path}"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    answer.json()
}

fn run(c: &mut Connection, body: Value) -> String {
    let answer = ok(c, "runs/create", body);
    answer["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

fn names(found: &Value, list: &str, name: &str) -> Vec<String> {
    let empty = Vec::new();
    let items = found[list].as_array().unwrap_or(&empty);
    let text = |item: &Value| item[name].as_str().unwrap().to_owned();
    items.iter().map(text).collect()
}

#[test]
fn a_get_may_send_its_parameters_as_a_body() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        for content_type in ["application/json", "application/x-www-form-urlencoded", ""] {
            let path = "/api/2.0/mlflow/experiments/get";
            let answer = c.request("GET", path, content_type, br#"{"experiment_id": "0"}"#);
            assert_eq!(answer.unwrap().json()["experiment"]["name"], "Default");
        }
        let answer = c.request("GET", "/api/2.0/mlflow/experiments/get", "", b"[1]");
        assert_eq!(answer.unwrap().status, 400);
    }
}

#[test]
fn a_run_has_one_name() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        let tags = json!([{"key": "mlflow.runName", "value": "b"}]);
        refused(
            &mut c,
            "runs/create",
            json!({"run_name": "a", "tags": tags}),
        );
        let id = run(&mut c, json!({"run_name": "b", "tags": tags}));
        let tag = |value: &str| json!({"run_id": id, "key": "mlflow.runName", "value": value});
        ok(&mut c, "runs/set-tag", tag(""));
        refused(&mut c, "runs/set-tag", tag(&"x".repeat(501)));
        let info = get(&mut c, &format!("runs/get?run_id={id}"))["run"].clone();
        assert_eq!(info["info"]["run_name"], "b");
        assert_eq!(info["data"]["tags"][0]["value"], "b");
        ok(&mut c, "runs/set-tag", tag("c"));
        let info = get(&mut c, &format!("runs/get?run_id={id}"))["run"].clone();
        assert_eq!(info["info"]["run_name"], "c");
        let unnamed = json!({"tags": [{"key": "mlflow.runName", "value": ""}]});
        let id = run(&mut c, unnamed);
        let name = get(&mut c, &format!("runs/get?run_id={id}"))["run"]["info"]["run_name"].clone();
        assert!(name.as_str().unwrap().starts_with("run-"));
    }
}

#[test]
fn limits_are_those_of_mlflow() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        let id = run(&mut c, json!({}));
        let tag = |n: usize| json!({"experiment_id": "0", "key": "k", "value": "x".repeat(n)});
        ok(&mut c, "experiments/set-experiment-tag", tag(20_000));
        refused(&mut c, "experiments/set-experiment-tag", tag(20_001));
        let param = |key: &str, value: &str| json!({"run_id": id, "key": key, "value": value});
        ok(&mut c, "runs/log-parameter", param(&"é".repeat(250), "1"));
        refused(&mut c, "runs/log-parameter", param(&"é".repeat(251), "1"));
        refused(&mut c, "runs/log-parameter", param("p", "a\0b"));
        refused(&mut c, "runs/set-tag", param("t", "a\0b"));
        refused(
            &mut c,
            "runs/create",
            json!({"user_id": "u".repeat(1_000_000)}),
        );
        let metric = json!([{"key": "m", "value": "1e999", "timestamp": 1, "step": 0}]);
        refused(
            &mut c,
            "runs/log-batch",
            json!({"run_id": id, "metrics": metric}),
        );
        let filter = format!("run_name LIKE '{}'", "a%".repeat(30_000));
        let search = json!({"experiment_ids": ["0"], "filter": filter});
        refused(&mut c, "runs/search", search);
        let filter = format!("run_name ILIKE '{}'", "[%".repeat(5_000));
        ok(
            &mut c,
            "runs/search",
            json!({"experiment_ids": ["0"], "filter": filter}),
        );
    }
}

#[test]
fn pages_go_on_when_the_row_they_ended_with_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        for name in ["pa", "pb", "pc", "pd"] {
            ok(&mut c, "registered-models/create", json!({ "name": name }));
            ok(&mut c, "experiments/create", json!({ "name": name }));
        }
        let first = get(&mut c, "registered-models/search?max_results=2");
        let token = first["next_page_token"].as_str().unwrap();
        let path = "/api/2.0/mlflow/registered-models/delete?name=pb";
        assert_eq!(c.request("DELETE", path, "", b"").unwrap().status, 200);
        let next = get(
            &mut c,
            &format!("registered-models/search?max_results=2&page_token={token}"),
        );
        assert_eq!(names(&next, "registered_models", "name"), ["pc", "pd"]);

        let search = "experiments/search?max_results=2&order_by=name";
        let first = get(&mut c, search);
        assert_eq!(names(&first, "experiments", "name"), ["Default", "pa"]);
        let id = first["experiments"][1]["experiment_id"].clone();
        ok(&mut c, "experiments/delete", json!({ "experiment_id": id }));
        let token = first["next_page_token"].as_str().unwrap();
        let next = get(&mut c, &format!("{search}&page_token={token}"));
        assert_eq!(names(&next, "experiments", "name"), ["pb", "pc"]);
        let foreign = c.get(&format!(
            "/api/2.0/mlflow/registered-models/search?page_token={token}"
        ));
        assert_eq!(foreign.status, 400);
    }
}

#[test]
fn experiments_come_in_the_order_of_mlflow() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(btc_track::ManualClock::new(1_000));
    let client = TrackingClient::in_memory_with(folder.path(), clock);
    let server = Server::start(client);
    let mut c = server.connect();
    for i in 1..=11 {
        ok(
            &mut c,
            "experiments/create",
            json!({ "name": format!("e{i}") }),
        );
    }
    // An update does not move an experiment to the top.
    ok(
        &mut c,
        "experiments/update",
        json!({"experiment_id": "3", "new_name": "x"}),
    );
    let ids = |c: &mut Connection, more: &str| {
        let found = get(c, &format!("experiments/search?max_results=100{more}"));
        names(&found, "experiments", "experiment_id")
    };
    let ascending: Vec<String> = (0..=11).map(|i| i.to_string()).collect();
    let descending: Vec<String> = ascending.iter().rev().cloned().collect();
    assert_eq!(ids(&mut c, ""), ascending, "all at one time: by id");
    assert_eq!(ids(&mut c, "&order_by=creation_time"), descending);
    assert_eq!(
        ids(&mut c, "&order_by=experiment_id"),
        ascending,
        "as numbers"
    );
}

#[test]
fn prompts_are_kept_apart_from_models() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        let mark = json!([{"key": "mlflow.prompt.is_prompt", "value": "true"}]);
        ok(
            &mut c,
            "registered-models/create",
            json!({"name": "prompt", "tags": mark}),
        );
        ok(&mut c, "registered-models/create", json!({"name": "model"}));
        let version = json!({"name": "prompt", "source": "dummy-source", "tags": mark});
        let made = ok(&mut c, "model-versions/create", version);
        assert_eq!(made["model_version"]["source"], "dummy-source");
        refused(
            &mut c,
            "model-versions/create",
            json!({"name": "model", "source": "dummy-source"}),
        );
        let source = json!({"name": "model", "source": "mlflow-artifacts:/0/x"});
        ok(&mut c, "model-versions/create", source);
        for (filter, expected) in [
            ("", "model"),
            ("tags.`mlflow.prompt.is_prompt` != 'true'", "model"),
            ("tags.`mlflow.prompt.is_prompt` = 'true'", "prompt"),
            ("tags.`mlflow.prompt.is_prompt` != 'false'", "prompt"),
        ] {
            let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let query = format!("search?filter={filter}");
            let models = get(&mut c, &format!("registered-models/{query}"));
            assert_eq!(names(&models, "registered_models", "name"), [expected]);
            let versions = get(&mut c, &format!("model-versions/{query}"));
            assert_eq!(names(&versions, "model_versions", "name"), [expected]);
        }
    }
}

#[test]
fn histories_are_sampled_evenly_and_within_their_steps() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        let id = run(&mut c, json!({}));
        let metrics: Vec<Value> = (0..20)
            .map(|i| json!({"key": "m", "value": i, "timestamp": i, "step": i * 10}))
            .collect();
        ok(
            &mut c,
            "runs/log-batch",
            json!({"run_id": id, "metrics": metrics}),
        );
        let path = format!("metrics/get-history-bulk-interval?run_ids={id}&metric_key=m");
        let mut steps = |more: &str| {
            let found = get(&mut c, &format!("{path}{more}"));
            let metrics = found["metrics"].as_array().cloned().unwrap_or_default();
            let step = |metric: &Value| metric["step"].as_i64().unwrap();
            metrics.iter().map(step).collect::<Vec<i64>>()
        };
        assert_eq!(steps("&max_results=5"), [0, 50, 100, 150, 190]);
        assert_eq!(steps("&start_step=50&end_step=60"), [50, 60]);
        assert!(steps("&start_step=51&end_step=59").is_empty());
        assert_eq!(steps("").len(), 20);
        for bad in ["&start_step=1", "&end_step=1", "&start_step=2&end_step=1"] {
            let answer = c.get(&format!("/api/2.0/mlflow/{path}{bad}"));
            assert_eq!(answer.status, 400, "{bad}");
        }
        // A token without a page size goes on where it ended.
        let path = format!("metrics/get-history?run_id={id}&metric_key=m");
        let first = get(&mut c, &format!("{path}&max_results=15"));
        let token = first["next_page_token"].as_str().unwrap();
        let rest = get(&mut c, &format!("{path}&page_token={token}"));
        assert_eq!(rest["metrics"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn searches_of_logged_models_heed_the_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    for server in servers(folder.path()) {
        let mut c = server.connect();
        let id = run(&mut c, json!({}));
        let mut models = Vec::new();
        for (name, dataset, value) in [("a", "train", 1.0), ("b", "test", 2.0), ("c", "", 3.0)] {
            let made = ok(
                &mut c,
                "logged-models",
                json!({"experiment_id": "0", "name": name}),
            );
            let model = made["model"]["info"]["model_id"].clone();
            let mut metric = json!({"run_id": id, "key": "m", "value": value, "timestamp": 1,
                "step": 0, "model_id": model});
            if !dataset.is_empty() {
                metric["dataset_name"] = json!(dataset);
                metric["dataset_digest"] = json!("1");
            }
            ok(&mut c, "runs/log-metric", metric);
            models.push(model);
        }
        let mut found = |more: Value| {
            let mut body = json!({"experiment_ids": ["0"]});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let found = ok(&mut c, "logged-models/search", body);
            let empty = Vec::new();
            let items = found["models"].as_array().unwrap_or(&empty);
            let name = |model: &Value| model["info"]["name"].as_str().unwrap().to_owned();
            let mut names: Vec<String> = items.iter().map(name).collect();
            names.sort();
            names
        };
        assert_eq!(found(json!({})), ["a", "b", "c"]);
        let train = json!([{"dataset_name": "train"}]);
        assert_eq!(found(json!({ "datasets": train })), ["a"]);
        assert_eq!(
            found(json!({"datasets": train, "filter": "metrics.m > 1.5"})),
            [""; 0]
        );
        let both =
            json!([{"dataset_name": "train", "dataset_digest": "1"}, {"dataset_name": "test"}]);
        assert_eq!(
            found(json!({"datasets": both, "filter": "metrics.m > 0"})),
            ["a", "b"]
        );
        let other = json!([{"dataset_name": "train", "dataset_digest": "2"}]);
        assert_eq!(found(json!({ "datasets": other })), [""; 0]);
    }
}
