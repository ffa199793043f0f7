//! What a server must refuse.

use std::fs;
use std::path::{Path, PathBuf};

use btc_testing::wait_until;
use btc_track::TrackingClient;
use serde_json::json;

use crate::http::{Connection, Server};

/// A server whose artifact root lies beside a canary file.
struct Site {
    folder: tempfile::TempDir,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("artifacts");
        fs::create_dir_all(root.join("0")).unwrap();
        fs::write(root.join("0/kept.txt"), "kept").unwrap();
        fs::write(folder.path().join("canary.txt"), "SECRET").unwrap();
        let client = TrackingClient::in_memory(&root).unwrap();
        Self {
            folder,
            server: Server::start(client),
        }
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.folder.path(), &mut files);
        files.sort();
        files
    }

    fn run(&self, c: &mut Connection) -> String {
        let answer = c.post("runs/create", r#"{"experiment_id":"0"}"#).json();
        answer["run"]["info"]["run_id"].as_str().unwrap().to_owned()
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            // A file that an upload has just taken away is not there.
            files.extend(fs::read(&path).ok().map(|bytes| (path, bytes)));
        }
    }
}

const ESCAPES: &[&str] = &[
    "../canary.txt",
    "0/../../canary.txt",
    "..%2fcanary.txt",
    "%2e%2e/canary.txt",
    "%2e%2e%2fcanary.txt",
    "%252e%252e%252fcanary.txt",
    "%25252e%25252e%25252fcanary.txt",
    "..%5ccanary.txt",
    "..\\canary.txt",
    "....//canary.txt",
    "..;/canary.txt",
    "0/..;/..;/canary.txt",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "%2Fetc/passwd",
    "0//kept.txt",
    "0/./kept.txt",
    "0/%00kept.txt",
    "0/kept.txt%00",
    "%23/../canary.txt",
    "%c0%ae%c0%ae/canary.txt",
    "%c0%ae%c0%ae%c0%afcanary.txt",
    "%e0%80%ae%e0%80%ae/canary.txt",
    "file:///etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "C:%5cwindows",
    "0/%0d%0aname",
    ".uploads/x",
    ".sha256/0/kept.txt",
    "%2e",
    "%2e%2e",
    "0/..",
    "0/%2e%2e",
];

#[test]
fn no_spelling_of_a_path_leads_out_of_the_artifact_root() {
    let site = Site::new();
    let before = site.files();
    for escape in ESCAPES {
        for method in ["GET", "PUT", "DELETE"] {
            // Each on its own connection: a refused upload may close it.
            let mut c = site.server.connect();
            let path = format!("/api/2.0/mlflow-artifacts/artifacts/{escape}");
            let body: &[u8] = if method == "PUT" { b"overwritten" } else { b"" };
            let answer = c
                .request(method, &path, "application/octet-stream", body)
                .unwrap();
            assert!(
                matches!(answer.status, 400 | 404),
                "{method} {escape}: {}",
                answer.status
            );
            assert!(
                !answer.body.windows(6).any(|w| w == b"SECRET"),
                "{method} {escape}"
            );
        }
        let mut c = site.server.connect();
        let answer = c.get(&format!(
            "/api/2.0/mlflow-artifacts/artifacts?path={escape}"
        ));
        assert!(
            matches!(answer.status, 400 | 404) || answer.json() == json!({}),
            "list {escape}: {} {}",
            answer.status,
            answer.json()
        );
    }
    assert_eq!(site.files(), before);
}

#[test]
fn the_artifact_root_itself_cannot_be_deleted_or_written() {
    let site = Site::new();
    let before = site.files();
    for path in ["", "/", "/.", "/%2e", "/./", "/%2e/", "//", "/%2f"] {
        for method in ["DELETE", "PUT"] {
            let mut c = site.server.connect();
            let full = format!("/api/2.0/mlflow-artifacts/artifacts{path}");
            let answer = c.request(method, &full, "", b"").unwrap();
            assert!(
                matches!(answer.status, 400 | 404),
                "{method} {path:?}: {}",
                answer.status
            );
        }
    }
    assert_eq!(site.files(), before);
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_not_followed() {
    let site = Site::new();
    let root = site.folder.path().join("artifacts");
    std::os::unix::fs::symlink(site.folder.path(), root.join("0/out")).unwrap();
    let mut c = site.server.connect();
    let base = "/api/2.0/mlflow-artifacts/artifacts";
    assert_eq!(c.get(&format!("{base}/0/out/canary.txt")).status, 400);
    let answer = c
        .request("PUT", &format!("{base}/0/out/new.txt"), "", b"x")
        .unwrap();
    assert_eq!(answer.status, 400);
    let answer = c
        .request("DELETE", &format!("{base}/0/out"), "", b"")
        .unwrap();
    assert_eq!(answer.status, 400);
    let listed = c.get(&format!("{base}?path=0")).json();
    assert_eq!(listed["files"].as_array().unwrap().len(), 1);
    assert!(site.folder.path().join("canary.txt").exists());
}

#[test]
fn a_truncated_upload_leaves_no_file() {
    let site = Site::new();
    let before = site.files();
    let mut c = site.server.connect();
    c.send(
        b"PUT /api/2.0/mlflow-artifacts/artifacts/0/new.bin HTTP/1.1\r\nHost: localhost\r\n\
          Content-Length: 1000000\r\n\r\nonly the beginning",
    )
    .unwrap();
    wait_until("the upload to begin", || site.files() != before);
    drop(c);
    let mut c = site.server.connect();
    wait_until("the upload to leave nothing", || site.files() == before);
    assert_eq!(
        c.get("/api/2.0/mlflow-artifacts/artifacts/0/new.bin")
            .status,
        404
    );
}

#[test]
fn broken_requests_store_nothing() {
    let site = Site::new();
    let mut c = site.server.connect();
    let run = site.run(&mut c);
    let metric = |value: &str, timestamp: &str, step: &str| {
        format!(
            r#"{{"run_id":"{run}","key":"m","value":{value},"timestamp":{timestamp},"step":{step}}}"#
        )
    };
    let deep = "[".repeat(200_000);
    let cases: Vec<(&str, String)> = vec![
        ("log-metric", metric("\"x\"", "1", "0")),
        ("log-metric", metric("\"inf\"", "1", "0")),
        ("log-metric", metric("true", "1", "0")),
        ("log-metric", metric("null", "1", "0")),
        ("log-metric", metric("[1]", "1", "0")),
        ("log-metric", metric("NaN", "1", "0")),
        ("log-metric", metric("1", "1.5", "0")),
        ("log-metric", metric("1", "9223372036854775808", "0")),
        ("log-metric", metric("1", "1e300", "0")),
        ("log-metric", metric("1", "\"x\"", "0")),
        ("log-metric", metric("1", "null", "0")),
        ("log-metric", metric("1", "1", "0.5")),
        ("log-metric", metric("1", "1", "\"1.0\"")),
        (
            "log-metric",
            format!(r#"{{"run_id":"{run}","value":1,"timestamp":1}}"#),
        ),
        (
            "log-metric",
            format!(r#"{{"run_id":"{run}","key":"m","value":1,"timestamp":1"#),
        ),
        ("log-metric", format!(r#"[{}]"#, metric("1", "1", "0"))),
        ("log-metric", "null".into()),
        ("log-metric", "1".into()),
        ("log-metric", "\"text\"".into()),
        ("log-metric", "{\"run_id\":".into()),
        ("log-metric", "\u{0}".into()),
        ("log-metric", deep.clone()),
        ("log-metric", format!("{{\"other\":{deep}")),
        (
            "log-metric",
            format!("{{\"other\":{deep}{}}}", "]".repeat(200_000)),
        ),
        (
            "log-parameter",
            format!(r#"{{"run_id":"{run}","key":"p","value":5}}"#),
        ),
        (
            "log-parameter",
            format!(r#"{{"run_id":"{run}","key":"","value":"5"}}"#),
        ),
        (
            "log-parameter",
            format!(r#"{{"run_id":"{run}","key":"../p","value":"5"}}"#),
        ),
        (
            "log-parameter",
            format!(
                r#"{{"run_id":"{run}","key":"p","value":"{}"}}"#,
                "x".repeat(6001)
            ),
        ),
        (
            "set-tag",
            format!(
                r#"{{"run_id":"{run}","key":"t","value":"{}"}}"#,
                "x".repeat(8001)
            ),
        ),
        (
            "set-tag",
            format!(
                r#"{{"run_id":"{run}","key":"{}","value":"x"}}"#,
                "k".repeat(251)
            ),
        ),
        (
            "update",
            format!(r#"{{"run_id":"{run}","status":"UNKNOWN"}}"#),
        ),
        ("update", format!(r#"{{"run_id":"{run}","status":0}}"#)),
        ("update", format!(r#"{{"run_id":"{run}","status":9}}"#)),
        ("update", format!(r#"{{"run_id":"{run}","end_time":0.5}}"#)),
        ("create", r#"{"experiment_id":0}"#.into()),
        (
            "create",
            r#"{"experiment_id":"0","start_time":"soon"}"#.into(),
        ),
        ("create", r#"{"experiment_id":"0","tags":"x"}"#.into()),
        ("log-batch", {
            let metrics: Vec<_> = (0..1001)
                .map(|i| json!({"key": "m", "value": i, "timestamp": i}))
                .collect();
            json!({"run_id": run, "metrics": metrics}).to_string()
        }),
        ("log-batch", {
            let params: Vec<_> = (0..101)
                .map(|i| json!({"key": format!("p{i}"), "value": "x"}))
                .collect();
            json!({"run_id": run, "params": params}).to_string()
        }),
        (
            "log-batch",
            format!(
                r#"{{"run_id":"{run}","metrics":[{{"key":"m","value":1,"timestamp":1}},{{"key":"m"}}]}}"#
            ),
        ),
    ];
    let before = c
        .get(&format!("/api/2.0/mlflow/runs/get?run_id={run}"))
        .json();
    for (endpoint, body) in cases {
        let answer = c.post(&format!("runs/{endpoint}"), &body);
        let shown: String = body.chars().take(100).collect();
        assert_eq!(answer.status, 400, "{endpoint} {shown}");
        assert_eq!(
            answer.json()["error_code"],
            "INVALID_PARAMETER_VALUE",
            "{endpoint} {shown}"
        );
    }
    let after = c
        .get(&format!("/api/2.0/mlflow/runs/get?run_id={run}"))
        .json();
    assert_eq!(after, before);
    let search = c.post("runs/search", r#"{"experiment_ids":["0"]}"#).json();
    assert_eq!(
        search["runs"].as_array().unwrap().len(),
        1,
        "no run was created"
    );
}

#[test]
fn a_body_of_another_type_is_refused() {
    let site = Site::new();
    let mut c = site.server.connect();
    let body = br#"{"name":"x"}"#;
    for content_type in [
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let path = "/api/2.0/mlflow/experiments/create";
        let answer = c.request("POST", path, content_type, body).unwrap();
        assert_eq!(answer.status, 400, "{content_type:?}");
    }
    let path = "/api/2.0/mlflow/experiments/create";
    let answer = c
        .request("POST", path, "application/json; charset=utf-8", body)
        .unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let site = Site::new();
    let mut c = site.server.connect();
    c.send(
        b"POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\n\
          Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{",
    )
    .unwrap();
    assert_eq!(c.receive().unwrap().status, 413);
}

#[test]
fn filters_cannot_reach_the_database() {
    let site = Site::new();
    let mut c = site.server.connect();
    site.run(&mut c);
    for filter in [
        "metrics.m = 1; DROP TABLE run",
        "params.p = '1' OR '1' = '1'",
        "params.p = '1' UNION SELECT * FROM run",
        "tags.`x' OR 1=1 --` = 1",
        "attributes.start_time = (SELECT 1)",
        "metrics.m BETWEEN 0 AND 1",
        "params.p = 'unclosed",
        "params.p =",
        "NOT params.p = '1'",
        "((((((",
        "metrics.m = nan",
        "metrics.m == 1",
        "params.p <> '1'",
        "`",
    ] {
        let body = json!({"experiment_ids": ["0"], "filter": filter}).to_string();
        let answer = c.post("runs/search", &body);
        assert_eq!(answer.status, 400, "{filter}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("position"), "{filter}: {message}");
        assert!(
            !message.contains("SELECT") && !message.contains("latest_metric"),
            "{message}"
        );
    }
    for order in [
        "metrics.m; DROP TABLE run",
        "(SELECT 1)",
        "metrics.m ASC, run_id",
        "x.y DESC",
    ] {
        let body = json!({"experiment_ids": ["0"], "order_by": [order]}).to_string();
        assert_eq!(c.post("runs/search", &body).status, 400, "{order}");
    }
    let inert =
        json!({"experiment_ids": ["0"], "filter": "tags.`a\"; --` = \"'; DROP TABLE run; --\""});
    assert_eq!(c.post("runs/search", &inert.to_string()).json(), json!({}));
    let search = c.post("runs/search", r#"{"experiment_ids":["0"]}"#).json();
    assert_eq!(search["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn sources_outside_the_artifact_store_are_refused() {
    let site = Site::new();
    let mut c = site.server.connect();
    c.post("registered-models/create", r#"{"name":"btc"}"#);
    for source in [
        "file:///etc/passwd",
        "file:/etc/passwd",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "etc/passwd",
        "runs:/../../etc/passwd",
        "runs:/x/%2e%2e/%2e%2e/y",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/x?y=1",
        "mlflow-artifacts:/x#../..",
        "models:/a/../b",
        "http://user@host/x",
        "s3://bucket/../x",
        "",
    ] {
        let body = json!({"name": "btc", "source": source}).to_string();
        assert_eq!(
            c.post("model-versions/create", &body).status,
            400,
            "{source}"
        );
        let body = json!({"name": format!("at {source}"), "artifact_location": source}).to_string();
        let expected = if source.is_empty() { 200 } else { 400 };
        assert_eq!(
            c.post("experiments/create", &body).status,
            expected,
            "{source}"
        );
    }
    assert_eq!(
        c.get("/api/2.0/mlflow/model-versions/search").json(),
        json!({})
    );
}
