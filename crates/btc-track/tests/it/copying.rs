//! What is copied from server to server arrives whole.

use btc_track::*;

use crate::http::Server;

fn filled(folder: &std::path::Path) -> TrackingClient {
    let client = TrackingClient::in_memory(&folder.join("original")).unwrap();
    let experiment = client
        .get_or_create_experiment("price")
        .unwrap()
        .experiment_id;
    let bundle = folder.join("bundle");
    std::fs::create_dir_all(bundle.join("deep")).unwrap();
    std::fs::write(bundle.join("forecaster.json"), "{}").unwrap();
    std::fs::write(bundle.join("deep/weights"), vec![7; 300_000]).unwrap();
    let parent = ActiveRun::start(&client, &experiment, RunSpec::named("parent")).unwrap();
    for i in 0..3 {
        let spec = RunSpec::named(format!("child {i}")).with_parent(parent.id());
        let run = ActiveRun::start(&client, &experiment, spec)
            .unwrap()
            .with_buffer(500);
        for step in 0..2500 {
            run.log_metric("loss", f64::from(i) + 1.0 / (step + 1) as f64, step)
                .unwrap();
        }
        run.log_metric("mape", if i == 1 { f64::NAN } else { f64::from(i) }, 0)
            .unwrap();
        run.log_params((0..150).map(|p| (format!("p{p}"), p)))
            .unwrap();
        run.log_artifacts(&bundle, "model").unwrap();
        let dataset = Dataset {
            name: "prices".into(),
            digest: "abc".into(),
            source_type: "local".into(),
            source: "{}".into(),
            ..Default::default()
        };
        run.log_input(dataset, "training").unwrap();
        run.end(RunStatus::Finished).unwrap();
    }
    parent.end(RunStatus::Finished).unwrap();
    let request = RegisterBest::new("price", "mape", "btc").with_alias("champion");
    register_best(&client, &request, &|_, _| Ok(Vec::new())).unwrap();
    client
}

/// Everything of the runs that a copy has to keep.
fn summary(client: &TrackingClient) -> Vec<String> {
    let experiment = client.experiment("price").unwrap().experiment_id;
    let runs = client
        .search_runs::<_, &str>(&[&experiment], "", &[], 100, None)
        .unwrap()
        .items;
    let mut lines = Vec::new();
    for run in runs {
        let files = client
            .artifacts
            .list(&run.info.artifact_uri, "model/deep")
            .unwrap();
        let history = client.metric_history(&run.info.run_id, "loss").unwrap();
        let parent = run.tag("mlflow.parentRunId");
        let parent = parent.map(|id| client.run(id).unwrap().info.run_name);
        let metrics: Vec<_> = run.data.metrics.iter().map(|m| format!("{m:?}")).collect();
        lines.push(format!(
            "{} {} {:?} {:?} {metrics:?} {:?} {:?} {parent:?} {files:?} {history:?}",
            run.info.run_name,
            run.info.start_time,
            run.info.end_time,
            run.info.status,
            run.data.params,
            run.inputs,
        ));
    }
    lines.sort();
    lines
}

#[test]
fn a_copy_over_the_network_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let from = filled(folder.path());
    let inner = TrackingClient::in_memory(&folder.path().join("copy")).unwrap();
    let server = Server::start(inner.clone());
    let uri = format!("http://{}", server.address);
    let to = TrackingClient::rest(&uri, &RestConfig::default()).unwrap();

    let copied = copy(&from, &to, &CopySelection::default()).unwrap();
    assert_eq!(
        (copied.runs.len(), copied.known_runs, copied.files),
        (4, 0, 6)
    );
    assert_eq!(copied.versions, [("btc".to_owned(), 1)]);
    assert_eq!(summary(&to), summary(&from));
    let champion = inner.model_version_by_alias("btc", "champion").unwrap();
    let bundle = inner.model_path(&champion).unwrap().unwrap();
    assert_eq!(
        std::fs::read(bundle.join("deep/weights")).unwrap(),
        vec![7; 300_000]
    );

    let again = copy(&from, &to, &CopySelection::default()).unwrap();
    assert_eq!(
        (again.known_runs, again.files, again.versions.len()),
        (4, 0, 0)
    );

    // A run that goes on is copied into the same copy next time.
    let experiment = from.experiment("price").unwrap().experiment_id;
    let going = ActiveRun::start(&from, &experiment, RunSpec::named("going")).unwrap();
    going.log_metric("loss", 1.0, 0).unwrap();
    copy(&from, &to, &CopySelection::default()).unwrap();
    going.log_metric("loss", 0.5, 1).unwrap();
    going.end(RunStatus::Finished).unwrap();
    let more = copy(&from, &to, &CopySelection::default()).unwrap();
    assert_eq!((more.runs.len(), more.known_runs), (5, 4));
    assert_eq!(summary(&to), summary(&from));

    // And back, into an empty store.
    let back = TrackingClient::in_memory(&folder.path().join("back")).unwrap();
    let selection = CopySelection {
        experiments: Some(vec!["price".into()]),
        models: Some(Vec::new()),
    };
    copy(&to, &back, &selection).unwrap();
    assert_eq!(summary(&back), summary(&from));
    assert!(back.registered_models().unwrap().is_empty());
}

#[test]
fn the_best_of_a_server_is_registered_from_here() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(filled(folder.path()));
    let uri = format!("http://{}", server.address);
    let client = TrackingClient::rest(&uri, &RestConfig::default()).unwrap();
    let request = RegisterBest::new("price", "mape", "btc").with_alias("champion");
    let best = register_best(&client, &request, &|_, bundle| {
        let size = std::fs::metadata(bundle.join("deep/weights"))
            .map_err(|e| e.to_string())?
            .len();
        assert_eq!(size, 300_000);
        Ok(Vec::new())
    })
    .unwrap();
    // The run was registered before: one run is one version.
    assert_eq!((best.version.version, best.value), (1, 0.0));
    assert!(best.already_registered);
    assert_eq!(
        client
            .model_version_by_alias("btc", "champion")
            .unwrap()
            .version,
        1
    );
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let client = TrackingClient::rest(btc_testing::NO_SERVER, &RestConfig::default()).unwrap();
    let error = client.get_or_create_experiment("price").unwrap_err();
    assert_eq!(error.code(), "INTERNAL_ERROR");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(TrackingClient::rest("ftp://x", &RestConfig::default()).is_err());
}

#[test]
fn a_copy_keeps_logged_models_inputs_and_odd_names() {
    let folder = tempfile::tempdir().unwrap();
    let from = TrackingClient::in_memory(&folder.path().join("original")).unwrap();
    let experiment = from
        .get_or_create_experiment("price")
        .unwrap()
        .experiment_id;
    let new_run = NewRun {
        experiment_id: experiment.clone(),
        ..Default::default()
    };
    let runs: Vec<RunInfo> = (0..3)
        .map(|_| from.tracking.create_run(&new_run).unwrap().info)
        .collect();
    for name in ["r_10:00.txt", "100%+#1 ü.txt"] {
        let uri = &runs[1].artifact_uri;
        from.artifacts.write(uri, name, &mut &b"x"[..]).unwrap();
    }
    let new = NewLoggedModel {
        experiment_id: experiment,
        name: "lm".into(),
        source_run_id: Some(runs[0].run_id.clone()),
        params: vec![Param::new("p", "1")],
        ..Default::default()
    };
    let model = from.tracking.create_logged_model(&new).unwrap();
    from.artifacts
        .write(&model.artifact_uri, "weights", &mut &b"w"[..])
        .unwrap();
    let batch = Batch {
        model_metrics: vec![ModelMetric {
            model_id: model.model_id.clone(),
            metric: Metric::new("m", 0.5, 1, 0),
            dataset_name: "d".into(),
            dataset_digest: "1".into(),
            run_id: None,
        }],
        ..Default::default()
    };
    from.tracking.log_batch(&runs[0].run_id, &batch).unwrap();
    let ready = LoggedModelChange::Status(LoggedModelStatus::Ready);
    from.tracking
        .change_logged_model(&model.model_id, &ready)
        .unwrap();
    let ids = [model.model_id.clone()];
    from.tracking
        .log_inputs(&runs[1].run_id, &[], &ids)
        .unwrap();
    let output = ModelOutput {
        model_id: model.model_id.clone(),
        step: 1,
    };
    from.tracking
        .log_outputs(&runs[0].run_id, &[output])
        .unwrap();
    let version = NewModelVersion {
        name: "btc".into(),
        create_model: true,
        source: format!("models:/{}", model.model_id),
        run_id: Some(runs[0].run_id.clone()),
        model_id: Some(model.model_id.clone()),
        ..Default::default()
    };
    from.create_model_version(&version).unwrap();
    for run in &runs {
        let end = RunUpdate {
            status: Some(RunStatus::Finished),
            ..Default::default()
        };
        from.tracking.update_run(&run.run_id, &end).unwrap();
    }

    let inner = TrackingClient::in_memory(&folder.path().join("copy")).unwrap();
    let server = Server::start(inner.clone());
    let uri = format!("http://{}", server.address);
    let to = TrackingClient::rest(&uri, &RestConfig::default()).unwrap();
    for _ in 0..2 {
        let copied = copy(&from, &to, &CopySelection::default()).unwrap();
        assert_eq!(copied.skipped_files, [""; 0]);
        assert_eq!(copied.runs.len(), 3);
        let id = &copied.logged_models[&model.model_id];
        let found = inner.tracking.logged_model(id).unwrap();
        assert_eq!(
            (found.name.as_str(), found.status),
            ("lm", LoggedModelStatus::Ready)
        );
        assert_eq!(found.params, [Param::new("p", "1")]);
        assert_eq!(
            found.source_run_id,
            Some(copied.runs[&runs[0].run_id].clone())
        );
        assert_eq!(found.metrics.len(), 1);
        assert_eq!(found.metrics[0].dataset_name, "d");
        let copies: Vec<Run> = runs
            .iter()
            .map(|run| inner.run(&copied.runs[&run.run_id]).unwrap())
            .collect();
        assert_eq!(copies[1].model_inputs, [id.clone()]);
        assert_eq!(copies[0].outputs[0].model_id, *id);
        let files = inner
            .artifacts
            .list(&copies[1].info.artifact_uri, "")
            .unwrap();
        let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["100%+#1 ü.txt", "r_10:00.txt"]);
        assert!(
            copies
                .iter()
                .all(|run| run.info.status == RunStatus::Finished)
        );
        let versions = inner.model_versions("btc").unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0].model_id.as_ref(), Some(id));
        inner.verify_version(&versions[0]).unwrap();
        assert!(versions[0].content.is_some());
    }
}
