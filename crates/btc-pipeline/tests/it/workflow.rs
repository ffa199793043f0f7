//! The stages one after the other: search, registration, forecast.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use btc_pipeline::{
    CHAMPION, Error, ErrorKind, LeftOut, PredictConfig, RegisterConfig, StudyConfig, TrainingFrame,
    Verdict, forecast_experiment, predict, register_best,
};
use btc_track::{RunQuery, TrackingClient};
use btc_tune::{InMemoryStorage, PrunerKind, SamplerKind, TrialState};

use crate::{config, project, register_config, run_search, series, table};

const SEVEN: StudyConfig = StudyConfig {
    seed: 7,
    sampler: SamplerKind::Auto,
    pruner: PrunerKind::Median,
};

fn predict_config() -> PredictConfig {
    PredictConfig {
        data_hash: "abc".into(),
        ..PredictConfig::new("model")
    }
}

/// Runs two trials and registers the better; returns the client and the table.
fn registered(folder: &std::path::Path) -> (TrackingClient, RecordBatch) {
    let project = project(folder);
    let table = table(&project);
    let client = TrackingClient::open(&project.tracking(), &project.artifacts()).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    run_search(&client, storage, &series(&table), &config(2)).unwrap();
    register_best(&client, &register_config(), &table).unwrap();
    (client, table)
}

#[test]
fn every_trial_is_a_run_with_its_parameters_losses_and_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series = series(&table(&project));
    let client = TrackingClient::open(&project.tracking(), &project.artifacts()).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    let outcome = run_search(&client, storage.clone(), &series, &config(3)).unwrap();
    assert_eq!(outcome.trials, 3);

    let experiment = client.experiment("search").unwrap();
    let query = RunQuery::new([experiment.experiment_id]);
    let runs = client.tracking.search_runs(&query).unwrap().items;
    assert_eq!(runs.len(), 3);
    for run in &runs {
        let number: usize = run.info.run_name.parse().unwrap();
        assert_eq!(run.tag("number"), Some(run.info.run_name.as_str()));
        assert_eq!(run.tag("state"), Some("COMPLETE"));
        assert_eq!(
            run.tag("adam_lr_distribution"),
            Some("FloatDistribution(high=0.1, log=True, low=1e-05, step=None)")
        );
        assert_eq!(
            run.tag("optimizer_distribution"),
            Some("CategoricalDistribution(choices=('adam',))")
        );
        assert_eq!(run.param("model_type"), Some("CNN"));
        assert_eq!(run.param("timesteps"), Some("5"));
        let epochs: usize = run.param("epochs").unwrap().parse().unwrap();
        let losses = client.metric_history(&run.info.run_id, "val_loss").unwrap();
        assert_eq!(losses.len(), epochs, "run {number}");
        let files = client
            .artifacts
            .list(&run.info.artifact_uri, "model")
            .unwrap();
        assert!(
            files
                .iter()
                .any(|file| file.path.ends_with("weights.safetensors"))
        );
    }
    let best = runs
        .iter()
        .min_by(|a, b| {
            let relative = |run: &btc_track::Run| run.metric("relative_MAE").unwrap();
            relative(a).total_cmp(&relative(b))
        })
        .unwrap();
    assert_eq!(outcome.best_trial.to_string(), best.info.run_name);
    assert_eq!(Some(outcome.best_mape), best.metric("MAPE"));
    assert_eq!(Some(outcome.naive_mape), best.metric("naive_MAPE"));
    assert_eq!(Some(outcome.relative_mae), best.metric("relative_MAE"));
    assert_eq!((outcome.left_out, outcome.judged_anew), (0, 0));
}

#[test]
fn the_trial_knows_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series = series(&table(&project));
    let client = TrackingClient::open(&project.tracking(), &project.artifacts()).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    run_search(&client, storage.clone(), &series, &config(1)).unwrap();
    let study = btc_pipeline::open_study(storage, "search", &SEVEN).unwrap();
    let trial = &study.trials().unwrap()[0];
    let id = trial.system_attrs["mlflow_run_id"].as_str().unwrap();
    assert_eq!(client.run(id).unwrap().info.run_name, "0");
    assert_eq!(trial.state, TrialState::Complete);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_same_forecast() {
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let (client, table) = registered(folder.path());
        let version = client.latest_version("model").unwrap();
        let bundle = client.model_path(&version).unwrap().unwrap();
        let weights = std::fs::read(bundle.join("weights.safetensors")).unwrap();
        let prediction = predict(&client, &predict_config(), &table).unwrap();
        (weights, prediction.forecast.to_bits())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_search_goes_on_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series = series(&table(&project));
    let values = |steps: &[usize]| {
        let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
        let storage = Arc::new(InMemoryStorage::new());
        for step in steps {
            run_search(&client, storage.clone(), &series, &config(*step)).unwrap();
        }
        let study = btc_pipeline::open_study(storage, "search", &SEVEN).unwrap();
        let trials = study.trials().unwrap();
        trials
            .iter()
            .map(|trial| trial.value().map(f64::to_bits))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&[3]), values(&[1, 2]));
}

#[test]
fn a_search_that_is_stopped_leaves_no_trial_running() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series = series(&table(&project));
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    run_search(&client, storage.clone(), &series, &config(1)).unwrap();
    let stopped = config(5);
    stopped.stop.store(true, Ordering::Relaxed);
    let outcome = run_search(&client, storage.clone(), &series, &stopped).unwrap();
    assert!(outcome.stopped);
    let study = btc_pipeline::open_study(storage, "search", &SEVEN).unwrap();
    assert!(
        study
            .trials()
            .unwrap()
            .iter()
            .all(|trial| trial.state.is_finished())
    );
}

#[test]
fn a_forecast_is_recorded_apart_from_the_trials() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let prediction = predict(&client, &predict_config(), &table).unwrap();
    let run = client.run(&prediction.run_id).unwrap();
    assert_eq!(run.metric("forecast"), Some(prediction.forecast));
    assert_eq!(run.metric("naive"), Some(prediction.naive));
    let experiment = client.experiment(&forecast_experiment("model")).unwrap();
    assert_eq!(run.info.experiment_id, experiment.experiment_id);
    assert_eq!(
        prediction.target_time - prediction.known_until,
        chrono::TimeDelta::days(1)
    );
    let interval = prediction.interval.unwrap();
    assert!(interval.low < prediction.forecast && prediction.forecast < interval.high);
}

#[test]
fn only_a_model_that_beats_naive_becomes_champion_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let again = register_best(&client, &register_config(), &table).unwrap();
    let version = client.latest_version("model").unwrap();
    assert_eq!(version.tag("verdict"), Some(again.verdict.name()));
    let relative: f64 = version
        .tag("holdout_relative_MAE")
        .unwrap()
        .parse()
        .unwrap();
    let worse = relative >= 1.0;
    assert_eq!(version.tag("worse_than_naive") == Some("true"), worse);
    assert_eq!(
        version.aliases.iter().any(|alias| alias == CHAMPION),
        again.verdict == Verdict::Beats
    );
    // One run is one version, and one bundle on one set of days is one look.
    assert!(again.already_registered);
    assert_eq!((again.version, again.looks), (1, 1));

    let strict = RegisterConfig {
        allow_worse_than_naive: false,
        model_name: "strict".into(),
        ..register_config()
    };
    let outcome = register_best(&client, &strict, &table);
    assert_eq!(outcome.is_err(), again.verdict == Verdict::Worse);
    if let Err(error) = outcome {
        assert!(matches!(error, Error::WorseThanNaive { .. }), "{error}");
        let models = client.registered_models().unwrap();
        assert!(
            models.iter().all(|model| model.name != "strict"),
            "an empty model is left behind"
        );
    }

    let by_hand = RegisterConfig {
        champion: true,
        ..register_config()
    };
    let crowned = register_best(&client, &by_hand, &table).unwrap();
    assert!(crowned.champion);
    let version = client.latest_version("model").unwrap();
    assert_eq!(
        version.tag("champion_by") == Some("hand"),
        again.verdict != Verdict::Beats
    );
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let unknown = PredictConfig {
        model_name: "modle".into(),
        ..predict_config()
    };
    let error = predict(&client, &unknown, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("there are: model"), "{error}");

    let unknown = RegisterConfig {
        experiment: "serach".into(),
        ..register_config()
    };
    let error = register_best(&client, &unknown, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("search"), "{error}");

    let unknown = RegisterConfig {
        metric: "accuracy".into(),
        ..register_config()
    };
    let error = register_best(&client, &unknown, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn a_window_other_than_the_models_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let wrong = PredictConfig {
        timesteps: Some(6),
        ..predict_config()
    };
    let error = predict(&client, &wrong, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let right = PredictConfig {
        timesteps: Some(5),
        ..predict_config()
    };
    predict(&client, &right, &table).unwrap();
}

#[test]
fn a_model_of_another_horizon_or_column_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let seven = std::num::NonZeroUsize::new(7);
    let other = PredictConfig {
        horizon: seven,
        ..predict_config()
    };
    let error = predict(&client, &other, &table).unwrap_err();
    assert!(
        matches!(
            error,
            Error::OtherHorizon {
                trained: 1,
                asked: 7,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Usage);
    let other = PredictConfig {
        target_column: Some("volume".into()),
        ..predict_config()
    };
    let error = predict(&client, &other, &table).unwrap_err();
    assert!(matches!(error, Error::OtherColumn { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let same = PredictConfig {
        horizon: std::num::NonZeroUsize::new(1),
        target_column: Some("close".into()),
        ..predict_config()
    };
    assert_eq!(
        predict(&client, &same, &table).unwrap().target_column,
        "close"
    );

    // Nothing is registered as what it is not.
    let other = RegisterConfig {
        horizon: seven,
        ..register_config()
    };
    let Err(Error::NothingToRegister { left_out, .. }) = register_best(&client, &other, &table)
    else {
        panic!("a model of the next day was registered for the next week")
    };
    let all_other = |one: &LeftOut| {
        matches!(
            one.reason,
            btc_pipeline::Exclusion::OtherHorizon { horizon: 1 }
        )
    };
    assert!(left_out.len() == 2 && left_out.iter().all(all_other));
}

#[test]
fn a_bundle_that_was_tampered_with_is_passed_over_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (client, table) = registered(folder.path());
    let version = client.latest_version("model").unwrap();
    let bundle = client.model_path(&version).unwrap().unwrap();
    std::fs::write(bundle.join("weights.safetensors"), b"broken").unwrap();
    assert!(matches!(
        predict(&client, &predict_config(), &table),
        Err(Error::Track(btc_track::Error::ContentChanged { .. }))
    ));
    let next = register_best(&client, &register_config(), &table).unwrap();
    assert_ne!(Some(next.run_id), version.run_id);
}

#[test]
fn data_that_is_too_short_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series: TrainingFrame = series(&table(&project)).series.slice(0..80).unwrap().into();
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let error = run_search(
        &client,
        Arc::new(InMemoryStorage::new()),
        &series,
        &config(1),
    );
    assert!(matches!(error, Err(Error::TooShort { .. })));
}

#[test]
fn two_who_register_one_run_at_once_get_one_version() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let open = || TrackingClient::open(&project.tracking(), &project.artifacts()).unwrap();
    let client = open();
    let storage = Arc::new(InMemoryStorage::new());
    run_search(&client, storage, &series(&table), &config(1)).unwrap();
    let start = std::sync::Barrier::new(3);
    let registered = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..3)
            .map(|_| {
                // Each as a process of its own would.
                let (client, start, table) = (open(), &start, &table);
                scope.spawn(move || {
                    start.wait();
                    register_best(&client, &register_config(), table).unwrap()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(client.model_versions("model").unwrap().len(), 1);
    assert!(registered.iter().all(|one| one.version == 1));
    let first = registered.iter().filter(|one| !one.already_registered);
    assert_eq!(first.count(), 1);
}
