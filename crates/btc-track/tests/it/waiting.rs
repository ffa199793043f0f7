//! Writers that wait for another process, and updates of many at once.

use std::sync::Arc;
use std::time::Duration;

use btc_track::{
    Batch, Durability, Error, LocalArtifacts, Metric, NewRun, SqliteStore, SystemClock,
    TrackingClient, TrackingStore,
};

fn new_run(store: &dyn TrackingStore) -> String {
    let new = NewRun {
        experiment_id: "0".into(),
        ..Default::default()
    };
    store.create_run(&new).unwrap().info.run_id
}

fn metric(key: &str) -> Batch {
    Batch {
        metrics: vec![Metric::new(key, 1.0, 0, 0)],
        ..Default::default()
    }
}

fn store(path: &std::path::Path, patience: Duration) -> SqliteStore {
    SqliteStore::open_with(path, Durability::default(), Arc::new(SystemClock))
        .unwrap()
        .with_patience(patience)
}

/// Each writer waits for its own time, not for those before it as well, and
/// what it was refused is not stored later.
#[test]
fn a_refused_write_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.db");
    let store = store(&path, Duration::from_millis(200));
    let run = new_run(&store);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|i| {
                let (store, run) = (&store, &run);
                scope.spawn(move || store.log_batch(run, &metric(&format!("m{i}"))))
            })
            .collect();
        for writer in writers {
            let error = writer.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Busy { .. }), "{error}");
            assert_eq!(error.code(), "TEMPORARILY_UNAVAILABLE");
        }
    });
    other.execute_batch("COMMIT").unwrap();
    store.log_batch(&run, &metric("after")).unwrap();
    let stored = store.run(&run).unwrap().data.metrics;
    let keys: Vec<_> = stored.iter().map(|metric| metric.key.as_str()).collect();
    assert_eq!(keys, ["after"]);
}

#[test]
fn writers_that_waited_long_enough_are_all_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.db");
    let store = store(&path, Duration::from_secs(60));
    let run = new_run(&store);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        for i in 0..4 {
            let (store, run) = (&store, &run);
            scope.spawn(move || store.log_batch(run, &metric(&format!("m{i}"))).unwrap());
        }
        std::thread::sleep(Duration::from_millis(100));
        other.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(store.run(&run).unwrap().data.metrics.len(), 4);
}

/// Writers that give up while others have a transaction open leave nobody waiting.
#[test]
fn impatient_writers_leave_nobody_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.db");
    let patient = store(&path, Duration::from_secs(60));
    let run = new_run(&patient);
    let hasty = patient.with_patience(Duration::from_micros(300));
    let stored: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (hasty, run) = (&hasty, &run);
                let write = move |i| {
                    let result = hasty.log_batch(run, &metric(&format!("m{writer}/{i}")));
                    assert!(
                        matches!(result, Ok(()) | Err(Error::Busy { .. })),
                        "{result:?}"
                    );
                    usize::from(result.is_ok())
                };
                scope.spawn(move || (0..50).map(write).sum::<usize>())
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(hasty.run(&run).unwrap().data.metrics.len(), stored);
}

#[test]
fn every_logged_model_is_recorded_and_copies_take_the_list_over() {
    let folder = tempfile::tempdir().unwrap();
    let tracking = Arc::new(store(
        &folder.path().join("track.db"),
        Duration::from_secs(60),
    ));
    let run = new_run(&*tracking);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (tracking, run) = (&tracking, &run);
            scope.spawn(move || {
                for i in 0..25 {
                    let model = serde_json::json!({
                        "run_id": run, "artifact_path": format!("model-{thread}-{i}"),
                        "flavors": {"python_function": {"env": "x".repeat(100)}},
                    });
                    tracking.record_model(run, &model).unwrap();
                }
            });
        }
    });
    let found = tracking.run(&run).unwrap();
    let list = found.tag("mlflow.log-model.history").unwrap();
    let models: Vec<serde_json::Value> = serde_json::from_str(list).unwrap();
    let paths: std::collections::BTreeSet<_> = models
        .iter()
        .map(|model| model["artifact_path"].as_str().unwrap())
        .collect();
    assert_eq!((models.len(), paths.len()), (200, 200));
    assert!(list.len() > 8000, "longer than any other tag may be");

    let from = TrackingClient {
        tracking: tracking.clone(),
        registry: tracking,
        artifacts: Arc::new(LocalArtifacts::new(folder.path().join("files"))),
        clock: Arc::new(SystemClock),
    };
    let to = TrackingClient::in_memory(&folder.path().join("copy")).unwrap();
    let copied = btc_track::copy(&from, &to, &Default::default()).unwrap();
    let copy = to.run(&copied.runs[&run]).unwrap();
    assert_eq!(copy.tag("mlflow.log-model.history"), Some(list));
}
