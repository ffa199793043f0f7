//! The client on a file: what is written is there when it is opened again.

use std::path::Path;

use btc_track::*;

fn open(folder: &Path) -> TrackingClient {
    TrackingClient::open(&folder.join("track.db"), &folder.join("artifacts")).unwrap()
}

#[test]
fn a_run_survives_reopening_and_the_database_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let id = {
        let client = open(folder.path());
        let experiment = client.get_or_create_experiment("price").unwrap();
        let run =
            ActiveRun::start(&client, &experiment.experiment_id, RunSpec::named("0")).unwrap();
        run.log_param("units", 64).unwrap();
        for step in 0..10 {
            run.log_metric("loss", 1.0 / (step + 1) as f64, step)
                .unwrap();
        }
        run.set_tag("state", "COMPLETE").unwrap();
        let id = run.id().to_owned();
        run.end(RunStatus::Finished).unwrap();
        id
    };
    assert!(!folder.path().join("track.db-wal").exists());
    let client = open(folder.path());
    let run = client.run(&id).unwrap();
    assert_eq!(run.metric("loss"), Some(0.1));
    assert_eq!(run.param("units"), Some("64"));
    assert_eq!(run.info.status, RunStatus::Finished);
    assert_eq!(client.metric_history(&id, "loss").unwrap().len(), 10);
    let found = client
        .search_runs(
            &[&run.info.experiment_id],
            "metrics.loss < 0.2 AND tags.state = 'COMPLETE' AND params.units LIKE '6%'",
            &["metrics.loss ASC"],
            10,
            None,
        )
        .unwrap();
    assert_eq!(found.items, [run]);
}

#[test]
fn a_dropped_run_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let run = ActiveRun::start(&client, "0", RunSpec::default())
        .unwrap()
        .with_buffer(100);
    run.log_metric("loss", 1.0, 0).unwrap();
    let id = run.id().to_owned();
    drop(run);
    let run = client.run(&id).unwrap();
    assert_eq!(run.info.status, RunStatus::Failed);
    assert_eq!(run.metric("loss"), Some(1.0));
}

#[test]
fn register_best_takes_the_best_complete_run_with_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(folder.path());
    let bundle = folder.path().join("bundle");
    std::fs::create_dir_all(bundle.join("deep")).unwrap();
    std::fs::write(bundle.join("deep/weights"), b"w").unwrap();
    let experiment = client.get_or_create_experiment("price").unwrap();
    let mut ids = Vec::new();
    for (mape, state, with_bundle) in [
        (3.0, "COMPLETE", true),
        (1.0, "PRUNED", true),
        (2.0, "COMPLETE", false),
        (f64::NAN, "COMPLETE", true),
    ] {
        let spec = RunSpec::default().with_tag("state", state);
        let run = ActiveRun::start(&client, &experiment.experiment_id, spec).unwrap();
        run.log_metrics([("MAPE", mape), ("relative_mae", mape / 2.5)], 0)
            .unwrap();
        if with_bundle {
            run.log_artifacts(&bundle, "model").unwrap();
        }
        ids.push(run.id().to_owned());
        run.end(RunStatus::Finished).unwrap();
    }
    let request = RegisterBest::new("price", "MAPE", "btc").with_alias("champion");
    let best = register_best(&client, &request, &|_, path| {
        path.join("deep/weights")
            .exists()
            .then(|| vec![Tag::new("sound", "true")])
            .ok_or("missing".into())
    })
    .unwrap();
    assert_eq!(best.run.info.run_id, ids[0]);
    assert_eq!(best.version.version, 1);
    assert_eq!(best.version.aliases, ["champion"]);
    assert_eq!(best.version.tag("sound"), Some("true"));
    assert_eq!(best.skipped.len(), 1);
    assert!(!best.already_registered);
    // One run is one version, with the tags of the last time.
    let again = register_best(&client, &request, &|_, _| {
        Ok(vec![Tag::new("sound", "again")])
    })
    .unwrap();
    assert!(again.already_registered);
    assert_eq!(again.version.tag("sound"), Some("again"));
    assert_eq!(client.latest_version("btc").unwrap().version, 1);
    assert!(
        client
            .model_path(&again.version)
            .unwrap()
            .unwrap()
            .join("deep/weights")
            .exists()
    );
}

#[test]
fn pages_cover_everything_once_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    for i in 0..25 {
        let run = ActiveRun::start(&client, "0", RunSpec::default()).unwrap();
        match i % 5 {
            0 => {}
            1 => run.log_metric("m", f64::NAN, 0).unwrap(),
            _ => run.log_metric("m", f64::from(i % 3), 0).unwrap(),
        }
        if i % 2 == 0 {
            run.log_param("p", i % 4).unwrap();
        }
        run.end(RunStatus::Finished).unwrap();
    }
    for order in [
        &["metrics.m ASC"][..],
        &["metrics.m DESC"],
        &["params.p DESC", "metrics.m"],
        &["metrics.m DESC", "params.p"],
        &["end_time"],
        &[],
    ] {
        let whole = client
            .search_runs(&["0"], "", order, 1000, None)
            .unwrap()
            .items;
        assert_eq!(whole.len(), 25);
        let mut paged = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = client
                .search_runs(&["0"], "", order, 4, token.as_deref())
                .unwrap();
            paged.extend(page.items.into_iter().map(|run| run.info.run_id));
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        let whole: Vec<_> = whole.into_iter().map(|run| run.info.run_id).collect();
        assert_eq!(paged, whole, "{order:?}");
    }
}
