//! Numbers stand beside numbers of the same days only.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use btc_models::candle_core::Device;
use btc_models::{Forecaster, ModelType, Unused, metrics};
use btc_pipeline::{
    BUNDLE, Error, ErrorKind, Event, Exclusion, FOLDS, Observer, PredictConfig, RegisterConfig,
    SearchConfig, SearchSpace, StudyConfig, frame, open_study, predict, register_best,
};
use btc_track::{RunQuery, TrackingClient};
use btc_tune::{InMemoryStorage, Storage, TrialState};

use crate::{config, project, register_config, run_search, series, table};

/// The MAPE, in percent, of repeating the last close over the last `days` targets before the
/// hold-out of 60 days.
fn naive_mape(table: &RecordBatch, days: usize) -> f64 {
    let close = series(table).series.target().to_vec();
    let end = close.len() - 60;
    metrics::mape(&close[end - days..end], &close[end - days - 1..end - 1])
}

fn bundle(client: &TrackingClient, name: &str, path: &str) -> Forecaster {
    let experiment = client.experiment("search").unwrap();
    let query = RunQuery::new([experiment.experiment_id])
        .with_filter(format!("attributes.run_name = '{name}'"));
    let run = client.tracking.search_runs(&query).unwrap().items.remove(0);
    let folder = btc_track::open_artifacts(client, &run, path)
        .unwrap()
        .unwrap();
    Forecaster::load(folder.path(), &Device::Cpu).unwrap()
}

fn data(hash: &str, n_trials: usize) -> SearchConfig {
    SearchConfig {
        data_hash: hash.into(),
        ..config(n_trials)
    }
}

#[test]
fn trials_of_other_days_are_judged_anew_on_todays() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let whole = table(&project);
    let earlier = whole.slice(0, 1000);
    assert!(1090 < whole.num_rows());
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
    let first = run_search(&client, storage.clone(), &series(&earlier), &data("a", 2)).unwrap();
    assert_eq!(
        (first.judged_anew, first.window.data_hash.as_str()),
        (0, "a")
    );
    assert_eq!(first.naive_mape, naive_mape(&earlier, 10));
    let study = open_study(storage.clone(), "search", &StudyConfig::default()).unwrap();
    let values = |n: usize| -> Vec<u64> {
        let trials = study.trials().unwrap();
        trials[..n]
            .iter()
            .map(|trial| trial.value().unwrap().to_bits())
            .collect()
    };
    let recorded = values(2);

    let second = run_search(&client, storage, &series(&whole), &data("b", 2)).unwrap();
    // Both numbers stand on the second day's window, whichever trial is the best.
    assert_eq!(
        (second.trials, second.judged_anew, second.left_out),
        (4, 2, 0)
    );
    assert_eq!(second.naive_mape, naive_mape(&whole, 10));
    assert_ne!(second.naive_mape, first.naive_mape);
    assert!(first.window.last_target < second.window.first_target);
    // What the trials were given then is theirs for ever.
    assert_eq!(values(2), recorded);
    // The best is the least of what the four bundles make of that window.
    let frame = series(&whole).series;
    let origins = frame.rows() - 71..frame.rows() - 61;
    let close = frame.target();
    let actual = &close[origins.start + 1..origins.end + 1];
    let errors: Vec<f64> = (0..4)
        .map(|number| {
            let forecaster = bundle(&client, &number.to_string(), BUNDLE);
            let forecasts = forecaster.forecast_at(&frame, origins.clone()).unwrap();
            let points: Vec<f64> = forecasts.iter().map(|forecast| forecast.point()).collect();
            metrics::mae(actual, &points)
        })
        .collect();
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(errors[second.best_trial], least);
    let naive = metrics::mae(actual, &close[origins]);
    assert!((second.relative_mae - least / naive).abs() < 1e-12);

    // Registration chooses by the same days and the same rule.
    let config = RegisterConfig {
        metric: "relative_MAE".into(),
        data_hash: "b".into(),
        ..register_config()
    };
    let registered = register_best(&client, &config, &whole).unwrap();
    assert_eq!(registered.run_name, second.best_trial.to_string());
    assert_eq!(registered.window, second.window);
    assert_eq!(registered.value, second.relative_mae);
    assert_eq!(registered.selection.unwrap().naive_mape, second.naive_mape);
}

#[test]
fn what_cannot_be_compared_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let whole = table(&project);
    let earlier = whole.slice(0, 1000);
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
    run_search(&client, storage.clone(), &series(&whole), &data("b", 1)).unwrap();
    // The first trial was trained on days that the earlier window judges.
    let outcome = run_search(&client, storage, &series(&earlier), &data("a", 1)).unwrap();
    assert_eq!((outcome.left_out, outcome.best_trial), (1, 1));
    assert!(matches!(
        outcome.left_out_trials[0].reason,
        Exclusion::TrainedInWindow { .. }
    ));
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["left_out"], 1);
    assert_eq!(json["window"]["data_hash"], "a");
    assert_eq!(json["window"]["horizon"], 1);
    assert!(
        json["window"]["first_target"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );

    // A metric that only runs carry is compared among runs of one window.
    let config = RegisterConfig {
        metric: "val_loss".into(),
        data_hash: "a".into(),
        ..register_config()
    };
    let registered = register_best(&client, &config, &earlier).unwrap();
    assert_eq!(
        (registered.run_name.as_str(), registered.left_out),
        ("1", 1)
    );
    assert_eq!(registered.left_out_runs[0].reason, Exclusion::OtherDays);
    let none = RegisterConfig {
        data_hash: "c".into(),
        ..config
    };
    assert!(matches!(
        register_best(&client, &none, &earlier).unwrap_err(),
        Error::NothingToRegister { left_out, .. } if left_out.len() == 2
    ));
}

#[test]
fn a_study_that_was_measured_otherwise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let series = series(&table(&project));
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
    let study = open_study(storage.clone(), "search", &StudyConfig::default()).unwrap();
    let trial = study.ask().unwrap();
    study.tell(&trial, 2.5).unwrap();
    let error = run_search(&client, storage, &series, &config(1)).unwrap_err();
    assert!(
        matches!(error, Error::OtherMeasure { found: None, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.hint().unwrap().contains("experiment"));
}

/// Keeps the warnings.
#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push((*text).to_owned());
        }
    }
}

#[test]
fn no_column_vanishes() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let rows = table.num_rows() as i64;
    let more: [(&str, ArrayRef); 3] = [
        (
            "weekday",
            Arc::new((0..rows).map(|row| Some(row % 7)).collect::<Int64Array>()),
        ),
        (
            "monday",
            Arc::new(
                (0..rows)
                    .map(|row| Some(row % 7 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "note",
            Arc::new(
                (0..rows)
                    .map(|row| Some(row.to_string()))
                    .collect::<StringArray>(),
            ),
        ),
    ];
    let schema = table.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .zip(table.columns().to_vec());
    let wide = RecordBatch::try_from_iter(
        columns.chain(
            more.into_iter()
                .map(|(name, array)| (name.to_owned(), array)),
        ),
    )
    .unwrap();
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let experiment = client.get_or_create_experiment("search").unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    let study = open_study(storage, "search", &StudyConfig::default()).unwrap();
    let heard = Warnings::default();
    btc_pipeline::search(
        &study,
        &client,
        &experiment.experiment_id,
        &frame(&wide, 70).unwrap(),
        &config(1),
        &heard,
    )
    .unwrap();
    let warnings = heard.0.into_inner().unwrap();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("\"note\"") && text.contains("Utf8")),
        "{warnings:?}"
    );
    let forecaster = bundle(&client, "0", BUNDLE);
    let features = forecaster.feature_names();
    assert!(
        features.contains(&"weekday") && features.contains(&"monday"),
        "{features:?}"
    );
    assert_eq!(
        forecaster.unused_features()["note"],
        Unused::NotNumeric {
            data_type: "Utf8".into()
        }
    );
    // The forecast of a registered model takes the same columns.
    register_best(&client, &register_config(), &wide).unwrap();
    predict(&client, &PredictConfig::new("model"), &wide).unwrap();
}

/// The MAE relative to naive of ten origins, of which those before `split` have the older fit.
fn relative(
    [older, newer]: [Forecaster; 2],
    frame: &btc_models::SeriesFrame,
    first: usize,
    split: usize,
) -> f64 {
    let end = first + 10;
    let mut made = older.forecast_at(frame, first..split).unwrap();
    made.extend(newer.forecast_at(frame, split..end).unwrap());
    let points: Vec<f64> = made.iter().map(|forecast| forecast.point()).collect();
    let close = frame.target();
    metrics::relative_mae(&close[first + 1..=end], &points, &close[first..end])
}

#[test]
fn each_block_is_forecast_by_a_fit_on_the_rows_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let frame = series(&table);
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    let folds = SearchConfig {
        folds: 2.try_into().unwrap(),
        ..config(1)
    };
    let storage: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
    let outcome = run_search(&client, storage.clone(), &frame, &folds).unwrap();
    let (older, newer) = (
        bundle(&client, "0", &format!("{FOLDS}/0")),
        bundle(&client, "0", BUNDLE),
    );
    let first = frame.series.rows() - 71;
    let known = |row: usize| frame.series.known_at()[row];
    assert_eq!(older.training_range().end, known(first));
    assert_eq!(newer.training_range().end, known(first + 5));
    assert_eq!(
        outcome.relative_mae,
        relative([older, newer], &frame.series, first, first + 5)
    );

    // Of a trial that is judged anew three days later, each origin has the newest fit of its time.
    let shorter = series(&table.slice(0, table.num_rows() - 3));
    let early: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    run_search(&client, early.clone(), &shorter, &folds).unwrap();
    let later = SearchConfig {
        data_hash: "later".into(),
        ..folds
    };
    let outcome = run_search(&client, early, &frame, &later).unwrap();
    assert_eq!(outcome.judged_anew, 1);
    let fits = |trial: &str| {
        [format!("{FOLDS}/0"), BUNDLE.to_owned()].map(|path| bundle(&client, trial, &path))
    };
    let ends = |trial: &str| fits(trial).map(|fit| fit.training_range().end);
    assert_eq!(ends("0"), [known(first - 3), known(first + 2)]);
    assert_eq!(ends("1"), [known(first), known(first + 5)]);
    let error = |trial: &str, split: usize| relative(fits(trial), &frame.series, first, split);
    let errors = [error("0", first + 2), error("1", first + 5)];
    assert_eq!(outcome.relative_mae, errors[outcome.best_trial]);
    assert!(outcome.relative_mae <= errors[1 - outcome.best_trial]);
}

/// The table without some rows.
fn without(table: &RecordBatch, missing: &[usize]) -> RecordBatch {
    let keep: BooleanArray = (0..table.num_rows())
        .map(|row| Some(!missing.contains(&row)))
        .collect();
    arrow::compute::filter_record_batch(table, &keep).unwrap()
}

#[test]
fn a_forecast_across_a_hole_says_so_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
    run_search(
        &client,
        Arc::new(InMemoryStorage::new()),
        &series(&table),
        &config(1),
    )
    .unwrap();
    register_best(&client, &register_config(), &table).unwrap();
    let whole = predict(&client, &PredictConfig::new("model"), &table).unwrap();
    assert!(whole.missing.is_empty() && whole.warnings().is_empty());
    let rows = table.num_rows();
    let gap = without(&table, &[rows - 3, rows - 2]);
    let across = predict(&client, &PredictConfig::new("model"), &gap).unwrap();
    // The closes of the 29th and the 30th.
    let closes = [(2024, 12, 30), (2024, 12, 31)].map(|(year, month, day)| {
        let day = chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap();
        day.and_time(chrono::NaiveTime::MIN).and_utc()
    });
    assert_eq!(across.missing, closes);
    assert!(across.warnings()[0].contains("2024-12-29, 2024-12-30"));
    let strict = PredictConfig {
        refuse_holes: true,
        ..PredictConfig::new("model")
    };
    assert!(matches!(
        predict(&client, &strict, &gap).unwrap_err(),
        Error::Holes { missing } if missing == closes
    ));
    // A hole that the window does not reach is none of the forecast's.
    let far = without(&table, &[rows - 100]);
    assert!(predict(&client, &strict, &far).unwrap().missing.is_empty());
}

#[test]
fn a_day_that_is_not_there_is_told_with_the_days_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let store = btc_pipeline::feature_store(&project).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let long_ago = chrono::NaiveDate::from_ymd_opt(1999, 1, 1);
    let error = runtime
        .block_on(btc_pipeline::training_table(
            &project,
            &store,
            btc_pipeline::SERVICE,
            long_ago,
        ))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("1999-01-01") && text.contains("2024-12-31"),
        "{text}"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn every_network_reports_its_error_relative_to_naive_to_the_pruner() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let frame = series(&table(&project));
    for model_type in [ModelType::Lstm, ModelType::NLinear] {
        let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
        let storage: Arc<dyn Storage> = Arc::new(InMemoryStorage::new());
        let one = SearchConfig {
            space: Arc::new(SearchSpace {
                model_types: vec![model_type],
                timesteps: Some(5),
            }),
            ..config(1)
        };
        run_search(&client, storage.clone(), &frame, &one).unwrap();
        let study = open_study(storage, "search", &StudyConfig::default()).unwrap();
        let trial = &study.trials().unwrap()[0];
        assert_eq!(trial.state, TrialState::Complete);
        let forecaster = bundle(&client, "0", BUNDLE);
        let best = forecaster.metrics()["best_epoch"] as u64;
        let measured = forecaster.metrics()["val_relative_mae"];
        let reported = trial.intermediate_values[&best];
        assert!(
            // The one is of batches, the other of single windows: sums of f32 in another order.
            (reported - measured).abs() < 1e-6,
            "{model_type}: {reported} {measured}"
        );
        // The network's own loss is another number.
        let run = trial.system_attrs["mlflow_run_id"].as_str().unwrap();
        let losses = client.metric_history(run, "val_loss").unwrap();
        let loss = losses.iter().find(|loss| loss.step == best as i64).unwrap();
        assert!((reported - loss.value).abs() > 1e-3, "{model_type}");
    }
}

#[test]
fn columns_of_the_sample_are_all_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&project(folder.path()));
    let numbers = table
        .columns()
        .iter()
        .filter(|column| column.as_any().is::<Float64Array>());
    assert_eq!(numbers.count() + 1, table.num_columns());
    assert!(series(&table).remarks().is_empty());
}
