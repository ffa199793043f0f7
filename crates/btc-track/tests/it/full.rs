//! What happens when nothing more can be written.

use std::process::Command;

use btc_track::TrackingClient;
use serde_json::json;

use crate::durability::{open, start_by};
use crate::http::Connection;

/// No file may grow beyond this many KiB: to the server the disk is full.
const LIMIT: usize = 3000;

#[test]
fn a_full_disk_gives_errors_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut limited = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT}; exec \"$0\" \"$@\"");
    limited
        .arg("-c")
        .arg(script)
        .arg(std::env::current_exe().unwrap());
    let (mut child, address, _output) = start_by(&mut limited, folder.path());
    let mut c = Connection::open(address).unwrap();
    let run = c.post("runs/create", r#"{"experiment_id":"0"}"#).json()["run"]["info"]["run_id"]
        .as_str()
        .unwrap()
        .to_owned();

    let mut acknowledged = 0;
    let mut refused = 0;
    for batch in 0..2000i64 {
        let metrics: Vec<_> = (0..500)
            .map(|i| json!({"key": "m", "value": 0.5, "timestamp": batch, "step": batch * 500 + i}))
            .collect();
        let answer = c.post(
            "runs/log-batch",
            &json!({"run_id": run, "metrics": metrics}).to_string(),
        );
        match answer.status {
            200 => acknowledged = batch + 1,
            500 => {
                assert_eq!(answer.json()["error_code"], "INTERNAL_ERROR");
                refused += 1;
            }
            status => panic!("{status}: {}", answer.json()),
        }
        if refused == 3 {
            break;
        }
    }
    assert!(
        acknowledged > 0 && refused == 3,
        "{acknowledged} batches, {refused} refused"
    );
    // Reading goes on.
    assert_eq!(
        c.get(&format!("/api/2.0/mlflow/runs/get?run_id={run}"))
            .status,
        200
    );

    let path = format!("/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts");
    let small = c
        .request("PUT", &format!("{path}/small"), "", &vec![1; 1000])
        .unwrap();
    assert_eq!(small.status, 200);
    let large = vec![1; (LIMIT + 100) * 1024];
    let answer =
        Connection::open(address)
            .unwrap()
            .request("PUT", &format!("{path}/large"), "", &large);
    assert!(answer.is_err() || answer.unwrap().status == 500);
    let mut c = Connection::open(address).unwrap();
    assert_eq!(c.get(&format!("{path}/large")).status, 404);
    child.kill().unwrap();
    child.wait().unwrap();

    let client = open(folder.path());
    let stored = client.metric_history(&run, "m").unwrap().len() as i64;
    assert!(
        stored >= acknowledged * 500,
        "{stored} of {}",
        acknowledged * 500
    );
    assert_eq!(stored % 500, 0, "no batch is torn");
    let uri = client.run(&run).unwrap().info.artifact_uri;
    let names: Vec<_> = client
        .artifacts
        .list(&uri, "")
        .unwrap()
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(names, ["small"]);
    // With room again, everything goes on.
    client
        .tracking
        .log_batch(
            &run,
            &btc_track::Batch {
                metrics: vec![btc_track::Metric::new("m", 1.0, 0, -1)],
                ..Default::default()
            },
        )
        .unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = TrackingClient::open(&file.join("track.db"), folder.path()).unwrap_err();
    assert!(error.to_string().contains("track.db"), "{error}");

    let client = TrackingClient::in_memory(&file).unwrap();
    let error = client
        .artifacts
        .write("mlflow-artifacts:/0", "x", &mut &b"x"[..])
        .unwrap_err();
    assert_eq!(error.code(), "INTERNAL_ERROR");
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)")
        .unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    let error = TrackingClient::open(&path, folder.path()).unwrap_err();
    assert_eq!(error.code(), "INVALID_PARAMETER_VALUE", "{error}");
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, it is only a text that is long enough",
    )
    .unwrap();
    assert!(TrackingClient::open(&text, folder.path()).is_err());
    let other = rusqlite::Connection::open(&path).unwrap();
    let rows: i64 = other
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
    assert_eq!(before.len(), std::fs::read(&path).unwrap().len());
}
