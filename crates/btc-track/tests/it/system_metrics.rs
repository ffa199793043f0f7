//! What the machine does is logged beside a run's own metrics.

use std::time::Duration;

use btc_track::{ActiveRun, Run, RunSpec, RunStatus, TrackingClient};

const ALWAYS: [&str; 3] = [
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
    "process_memory_usage_megabytes",
];

fn client() -> (tempfile::TempDir, TrackingClient) {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    (folder, client)
}

fn value(run: &Run, name: &str) -> f64 {
    run.metric(&format!("system/{name}"))
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn samples_come_while_a_run_goes_on_and_at_its_end() {
    let (_folder, client) = client();
    let run = ActiveRun::start(&client, "0", RunSpec::named("busy"))
        .unwrap()
        .with_system_metrics(Duration::from_millis(200));
    let id = run.id().to_owned();
    let sampled = "system/system_memory_usage_megabytes";
    btc_testing::wait_until("the third sample", || {
        let run = client.run(&id).unwrap();
        let metrics = &run.data.metrics;
        metrics
            .iter()
            .any(|metric| metric.key == sampled && 2 <= metric.step)
    });
    run.log_metric("loss", 1.0, 0).unwrap();
    run.end(RunStatus::Finished).unwrap();

    let run = client.run(&id).unwrap();
    assert_eq!(run.metric("loss"), Some(1.0));
    let steps = |run: &Run, name: &str| {
        let metric = run.data.metrics.iter().find(|metric| metric.key == name);
        metric.unwrap().step
    };
    assert!(steps(&run, "system/system_memory_usage_megabytes") >= 2);
    for name in ALWAYS {
        assert!(value(&run, name) > 0.0, "{name}");
    }
    assert!(value(&run, "system_memory_usage_percentage") <= 100.0);
    let cpu = value(&run, "cpu_utilization_percentage");
    assert!((0.0..=100.0).contains(&cpu), "{cpu}");
    assert!(value(&run, "process_cpu_utilization_percentage") >= 0.0);

    // A resumed run goes on where it stopped.
    let before = steps(&run, "system/system_memory_usage_megabytes");
    let resumed = ActiveRun::resume(&client, &id)
        .unwrap()
        .with_system_metrics(Duration::from_secs(60));
    resumed.end(RunStatus::Finished).unwrap();
    let run = client.run(&id).unwrap();
    assert_eq!(
        steps(&run, "system/system_memory_usage_megabytes"),
        before + 1
    );
}

#[test]
fn a_short_run_has_one_sample_and_a_dropped_one_fails_with_it() {
    let (_folder, client) = client();
    let run = ActiveRun::start(&client, "0", RunSpec::default())
        .unwrap()
        .with_system_metrics(Duration::from_secs(60));
    let id = run.id().to_owned();
    drop(run);
    let run = client.run(&id).unwrap();
    assert_eq!(run.info.status, RunStatus::Failed);
    for name in ALWAYS {
        assert!(value(&run, name) > 0.0, "{name}");
    }
    // There was no time to measure a share of.
    assert_eq!(run.metric("system/cpu_utilization_percentage"), None);
}
