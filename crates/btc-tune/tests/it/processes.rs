//! Many processes on one file, some of them killed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use btc_testing::wait_until;
use btc_tune::{
    HeartbeatConfig, ObjectiveError, OptimizeOptions, RandomSampler, SqliteStorage, Study, Trial,
    TrialState,
};

const WORKERS: usize = 8;
const TRIALS: usize = 100;
const QUEUED: usize = 50;
/// Tells the worker test below which folder to work in.
const FOLDER: &str = "BTC_TUNE_TEST_FOLDER";

/// A worker lives as long as the test; a machine may keep it waiting for any length of time.
const WORKING: Duration = Duration::from_secs(3600);

fn open(folder: &Path, grace: Duration) -> Study {
    let storage = Arc::new(SqliteStorage::open(folder.join("studies.db")).unwrap());
    Study::builder("shared", storage)
        .sampler(RandomSampler::new(1))
        .heartbeat(HeartbeatConfig {
            interval: Duration::from_secs(1),
            grace,
            max_retry: 3,
        })
        .load_if_exists(true)
        .create()
        .unwrap()
}

/// Notes which trial it evaluates, then takes its time.
fn objective(folder: &Path, trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("evaluations"))?;
    // One write, so that lines of several processes do not mix.
    log.write_all(format!("{}\n", trial.id().0).as_bytes())?;
    let x = trial.suggest_float("x", 0.0..=1.0)?;
    trial.report(0, x)?;
    std::thread::sleep(Duration::from_millis(8));
    Ok(x)
}

/// Not a test of its own: the body of a worker process.
#[test]
#[ignore = "run by the test of many processes"]
fn worker() {
    let Some(folder) = btc_testing::variable(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let options = OptimizeOptions {
        n_trials: Some(TRIALS),
        ..Default::default()
    };
    open(folder, WORKING)
        .optimize_with(options, |trial| objective(folder, trial))
        .unwrap();
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::worker", "--exact", "--ignored"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_workers_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let study = open(folder, WORKING);
    for i in 0..QUEUED {
        study.enqueue([("x", i as f64 / QUEUED as f64)]).unwrap();
    }
    let mut workers: Vec<Child> = (0..WORKERS).map(|_| spawn(folder)).collect();
    let seen = |count: usize| {
        let text = std::fs::read_to_string(folder.join("evaluations")).unwrap_or_default();
        text.lines().count() >= count
    };
    // One dies while the queue is being worked off, the other in the middle of the study.
    for (victim, after) in [(0, 20), (1, 250)] {
        wait_until("evaluations", || seen(after));
        // `kill` sends SIGKILL on Unix.
        workers[victim].kill().unwrap();
    }
    for (i, worker) in workers.iter_mut().enumerate() {
        let status = worker.wait().unwrap();
        assert_eq!(status.success(), i >= 2, "worker {i}: {status}");
    }

    // Nobody works any more: once a short grace period is over, the trials of the dead are failed,
    // queued again and run.
    drop(study);
    let study = open(folder, Duration::from_secs(1));
    let running = |study: &Study| {
        let trials = study.trials().unwrap();
        trials
            .iter()
            .filter(|t| t.state == TrialState::Running)
            .count()
    };
    wait_until("the trials of the dead to be failed", || {
        study.fail_stale_trials().unwrap();
        running(&study) == 0
    });
    // What is left is run by the test itself, which nothing takes for dead.
    drop(study);
    let study = open(folder, WORKING);
    let waiting = |study: &Study| {
        let trials = study.trials().unwrap();
        trials
            .iter()
            .filter(|t| t.state == TrialState::Waiting)
            .count()
    };
    let options = OptimizeOptions {
        n_trials: Some(waiting(&study)),
        ..Default::default()
    };
    study
        .optimize_with(options, |trial| objective(folder, trial))
        .unwrap();

    let trials = study.trials().unwrap();
    let numbers: Vec<usize> = trials.iter().map(|t| t.number).collect();
    assert_eq!(
        numbers,
        (0..trials.len()).collect::<Vec<_>>(),
        "numbers have no gap"
    );
    let mut evaluations: BTreeMap<i64, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("evaluations"))
        .unwrap()
        .lines()
    {
        *evaluations.entry(line.parse().unwrap()).or_default() += 1;
    }
    assert!(
        evaluations.values().all(|count| *count == 1),
        "no trial runs twice"
    );
    for i in 0..QUEUED {
        let x = i as f64 / QUEUED as f64;
        let complete = trials
            .iter()
            .filter(|t| t.state == TrialState::Complete)
            .filter(|t| {
                t.system_attrs
                    .get("fixed_params")
                    .is_some_and(|fixed| fixed["x"] == x)
            });
        let values: Vec<f64> = complete.filter_map(|t| t.value()).collect();
        assert_eq!(values, [x], "queued trial {i} completes once");
    }
    let failed: Vec<usize> = trials
        .iter()
        .filter(|t| t.state == TrialState::Fail)
        .map(|t| t.number)
        .collect();
    assert!(failed.len() <= 2, "{failed:?}");
    for number in &failed {
        let retried = trials.iter().find(|t| {
            t.system_attrs
                .get("failed_trial")
                .is_some_and(|first| first == number)
        });
        assert_eq!(
            retried.map(|t| t.state),
            Some(TrialState::Complete),
            "{number} is tried again"
        );
    }
    assert!(trials.iter().all(|t| t.state.is_finished()));
    let complete = trials.len() - failed.len();
    assert!(
        complete >= (WORKERS - 2) * TRIALS,
        "{complete} trials complete"
    );
    drop(study);

    let connection = rusqlite::Connection::open(folder.join("studies.db")).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}
