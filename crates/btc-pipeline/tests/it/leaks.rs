//! Nothing that became known later changes what was forecast before.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use btc_models::candle_core::Device;
use btc_pipeline::{PredictConfig, frame, predict, register_best};
use btc_track::TrackingClient;
use btc_tune::InMemoryStorage;
use proptest::prelude::*;

use crate::{config, project, register_config, run_search, series, table};

/// `table` with every number from row `from` on replaced: by `value` and the row.
fn corrupted(table: &RecordBatch, from: usize, value: f64) -> RecordBatch {
    let columns = table.columns().iter().map(|column| -> ArrayRef {
        match column.as_any().downcast_ref::<Float64Array>() {
            Some(numbers) => {
                let changed = numbers.iter().enumerate();
                let changed = changed.map(|(row, old)| match row < from {
                    true => old,
                    false => Some(value + row as f64),
                });
                Arc::new(changed.collect::<Float64Array>())
            }
            None => column.clone(),
        }
    });
    RecordBatch::try_new(table.schema(), columns.collect()).unwrap()
}

#[test]
fn a_search_does_not_look_at_the_hold_out() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let found = |table: &RecordBatch| {
        let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
        let storage = Arc::new(InMemoryStorage::new());
        let outcome = run_search(&client, storage, &series(table), &config(2)).unwrap();
        (outcome.best_trial, outcome.best_mape.to_bits())
    };
    let first_unseen = table.num_rows() - 60;
    let seen = found(&table);
    assert_eq!(seen, found(&corrupted(&table, first_unseen, 123.0)));
    // The row before is the last target that selects.
    assert_ne!(seen, found(&corrupted(&table, first_unseen - 1, 123.0)));
}

#[test]
fn selection_does_not_look_beyond_its_own_targets() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let first_selected = table.num_rows() - 70;
    // The fit sees rows before the selection set only: a change after the first
    // origin changes the score, not the weights.
    let fitted = |table: &RecordBatch| {
        let artifacts = tempfile::tempdir().unwrap();
        let client = TrackingClient::in_memory(artifacts.path()).unwrap();
        run_search(
            &client,
            Arc::new(InMemoryStorage::new()),
            &series(table),
            &config(1),
        )
        .unwrap();
        let experiment = client.experiment("search").unwrap();
        let query = btc_track::RunQuery::new([experiment.experiment_id]);
        let run = client.tracking.search_runs(&query).unwrap().items.remove(0);
        let bundle = client
            .artifacts
            .local_path(&format!("{}/model", run.info.artifact_uri));
        std::fs::read(bundle.unwrap().join("weights.safetensors")).unwrap()
    };
    let weights = fitted(&table);
    assert_eq!(weights, fitted(&corrupted(&table, first_selected, 321.0)));
    // Rows well before it are trained on.
    assert_ne!(
        weights,
        fitted(&corrupted(&table, first_selected - 400, 321.0))
    );
}

proptest! {
    #![proptest_config(btc_testing::cases(12))]
    #[test]
    fn a_forecast_is_the_same_without_the_rows_after_it(cut in 1usize..200, junk in 1.0f64..1e6) {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let table = table(&project);
        let client = TrackingClient::in_memory(&project.artifacts()).unwrap();
        let storage = Arc::new(InMemoryStorage::new());
        run_search(&client, storage, &series(&table), &config(1)).unwrap();
        register_best(&client, &register_config(), &table).unwrap();
        let forecaster = btc_pipeline::load_version(&client, "model", None, &Device::Cpu).unwrap().1;

        let rows = table.num_rows() - cut;
        let truncated = btc_pipeline::frame_of(&table.slice(0, rows), &forecaster.feature_names());
        let whole = corrupted(&table, rows, junk);
        let whole = btc_pipeline::frame_of(&whole, &forecaster.feature_names()).unwrap();
        let alone = forecaster.forecast(&truncated.unwrap()).unwrap();
        let among = forecaster.forecast_at(&whole, rows - 1..rows).unwrap().remove(0);
        prop_assert_eq!(alone.point().to_bits(), among.point().to_bits());
        prop_assert_eq!(alone.intervals(), among.intervals());
    }

    #[test]
    fn the_columns_of_a_frame_do_not_depend_on_unseen_rows(unseen in 0usize..300, junk in 1.0f64..1e6) {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&project(folder.path()));
        let from = table.num_rows() - unseen;
        let (seen, changed) = (frame(&table, unseen).unwrap(), frame(&corrupted(&table, from, junk), unseen).unwrap());
        let (seen, changed) = (seen.series, changed.series);
        prop_assert_eq!(seen.names(), changed.names());
        prop_assert_eq!(seen.rows(), changed.rows());
        let rows = 0..seen.rows() - unseen;
        prop_assert_eq!(&seen.target()[rows.clone()], &changed.target()[rows]);
    }
}

#[test]
fn a_registered_forecast_of_an_earlier_day_uses_that_days_rows_only() {
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
    let earlier = table.slice(0, table.num_rows() - 30);
    let config = PredictConfig::new("model");
    let prediction = predict(&client, &config, &earlier).unwrap();
    let naive = series(&earlier).series.target().last().copied();
    assert_eq!(Some(prediction.naive), naive);
}
