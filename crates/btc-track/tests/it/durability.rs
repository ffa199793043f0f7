//! What was acknowledged survives the death of the server.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use btc_testing::wait_until;
use btc_track::TrackingClient;
use serde_json::json;

use crate::http::Connection;

const FOLDER: &str = "BTC_TRACK_TEST_SERVE";
const KILLS: usize = 50;
const WRITERS: usize = 8;

pub(crate) fn open(folder: &Path) -> TrackingClient {
    TrackingClient::open(&folder.join("track.db"), &folder.join("artifacts")).unwrap()
}

/// Not a test: the server process that the tests below start and kill.
#[test]
#[ignore = "started by other tests"]
fn serve() {
    let Some(folder) = btc_testing::variable(FOLDER) else {
        return;
    };
    let client = open(Path::new(&folder));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let stop = async move {
            terminated.recv().await;
        };
        let router = btc_track::server::router(client);
        btc_track::server::serve(listener, router, 64, stop)
            .await
            .unwrap();
    });
}

/// A server process; its output is kept open so that it can write to it.
fn start(folder: &Path) -> (Child, SocketAddr, BufReader<ChildStdout>) {
    start_by(&mut Command::new(std::env::current_exe().unwrap()), folder)
}

/// As [`start`], by a command that ends up running this program.
pub(crate) fn start_by(
    command: &mut Command,
    folder: &Path,
) -> (Child, SocketAddr, BufReader<ChildStdout>) {
    let mut child = command
        .args(["--exact", "durability::serve", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let address = output
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            line.strip_prefix("listening ")
                .map(|text| text.parse().unwrap())
        })
        .unwrap();
    (child, address, output)
}

/// Writes until the server dies; what it has acknowledged goes into `seen`.
fn write(
    address: SocketAddr,
    run: &str,
    writer: usize,
    round: usize,
    seen: &Mutex<HashSet<(String, i64)>>,
) -> std::io::Result<()> {
    let mut c = Connection::open(address)?;
    for i in 0.. {
        let step = (round * 1_000_000 + i) as i64;
        let key = format!("m{writer}");
        if i % 20 == 7 {
            let path =
                format!("/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{key}-{step}");
            let body = vec![writer as u8; 100_000];
            let answer = c.request("PUT", &path, "application/octet-stream", &body)?;
            assert_eq!(answer.status, 200, "{}", answer.json());
            seen.lock().unwrap().insert((format!("file {key}"), step));
        }
        let body = json!({"run_id": run, "key": key, "value": 0.5, "timestamp": 1, "step": step});
        let path = "/api/2.0/mlflow/runs/log-metric";
        let answer = c.request(
            "POST",
            path,
            "application/json",
            body.to_string().as_bytes(),
        )?;
        assert_eq!(answer.status, 200, "{}", answer.json());
        seen.lock().unwrap().insert((key, step));
    }
    Ok(())
}

#[test]
fn every_acknowledged_write_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let run = {
        let client = open(folder.path());
        let new = btc_track::NewRun {
            experiment_id: "0".into(),
            ..Default::default()
        };
        client.tracking.create_run(&new).unwrap().info.run_id
    };
    let seen = Mutex::new(HashSet::new());
    for round in 0..KILLS {
        let (mut child, address, _output) = start(folder.path());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (run, seen) = (&run, &seen);
                // The connection breaks in the middle: that is the point.
                scope.spawn(move || {
                    let _ = write(address, run, writer, round, seen);
                });
            }
            let before = seen.lock().unwrap().len();
            wait_until("acknowledged writes", || {
                before + 2 * WRITERS < seen.lock().unwrap().len()
            });
            std::thread::sleep(Duration::from_millis((round as u64 * 7) % 60));
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }
    let seen = seen.into_inner().unwrap();
    assert!(
        seen.len() > KILLS * WRITERS,
        "only {} acknowledged",
        seen.len()
    );
    println!("{} writes acknowledged over {KILLS} kills", seen.len());

    let client = open(folder.path());
    let mut stored = HashSet::new();
    for writer in 0..WRITERS {
        let key = format!("m{writer}");
        for metric in client.metric_history(&run, &key).unwrap() {
            stored.insert((key.clone(), metric.step));
        }
    }
    let uri = client.run(&run).unwrap().info.artifact_uri;
    for file in client.artifacts.list(&uri, "").unwrap() {
        let (key, step) = file.path.split_once('-').unwrap();
        let place = client
            .artifacts
            .local_path(&format!("{uri}/{}", file.path))
            .unwrap();
        let content = std::fs::read(place).unwrap();
        assert_eq!(content.len(), 100_000, "{} is torn", file.path);
        let writer: u8 = key[1..].parse().unwrap();
        assert!(
            content.iter().all(|byte| *byte == writer),
            "{} is another file",
            file.path
        );
        stored.insert((format!("file {key}"), step.parse().unwrap()));
    }
    let lost: Vec<_> = seen.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        seen.len()
    );
    drop(client);
    let connection = rusqlite::Connection::open(folder.path().join("track.db")).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn a_terminated_server_ends_cleanly_and_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address, _output) = start(folder.path());
    let mut c = Connection::open(address).unwrap();
    let run = c.post("runs/create", r#"{"experiment_id":"0"}"#).json()["run"]["info"]["run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let stop = AtomicBool::new(false);
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let n = acknowledged.load(Ordering::Relaxed);
                let body =
                    json!({"run_id": run, "key": "m", "value": 1, "timestamp": n, "step": n});
                let path = "/api/2.0/mlflow/runs/log-metric";
                match c.request(
                    "POST",
                    path,
                    "application/json",
                    body.to_string().as_bytes(),
                ) {
                    Ok(answer) if answer.status == 200 => {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => break,
                }
            }
        });
        wait_until("acknowledged writes", || {
            20 < acknowledged.load(Ordering::Relaxed)
        });
        let terminated = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(terminated.unwrap().success());
        let status = child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(status.success(), "{status}");
        writer.join().unwrap();
    });
    let acknowledged = acknowledged.into_inner();
    assert!(!folder.path().join("track.db-wal").exists());
    let stored = open(folder.path()).metric_history(&run, "m").unwrap().len();
    assert!(stored >= acknowledged, "{stored} of {acknowledged}");
}
