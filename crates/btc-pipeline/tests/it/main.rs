//! The workflow on the synthetic market.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backtest;
mod compare;
mod frequency;
mod interrupt;
mod leaks;
mod martingale;
mod python;
mod workflow;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use btc_models::ModelType;
use btc_pipeline::{
    Project, RegisterConfig, SERVICE, SearchConfig, SearchOutcome, SearchSpace, StudyConfig,
    TrainingFrame, feature_store, frame, open_study, retrieve_sample, search, training_table,
};
use btc_track::TrackingClient;
use btc_tune::Storage;

/// A project on the synthetic market in a folder.
fn project(folder: &Path) -> Project {
    let project = Project::new(folder);
    retrieve_sample(&project).unwrap();
    project
}

fn table(project: &Project) -> arrow::array::RecordBatch {
    let store = feature_store(project).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(training_table(project, &store, SERVICE, None))
        .unwrap()
}

fn config(n_trials: usize) -> SearchConfig {
    SearchConfig {
        space: Arc::new(SearchSpace {
            model_types: vec![ModelType::Cnn],
            timesteps: Some(5),
        }),
        n_trials: NonZeroUsize::new(n_trials).unwrap(),
        prediction_length: 10,
        seed: 7,
        data_hash: "abc".into(),
        ..SearchConfig::default()
    }
}

fn run_search(
    client: &TrackingClient,
    storage: Arc<dyn Storage>,
    frame: &TrainingFrame,
    config: &SearchConfig,
) -> btc_pipeline::Result<SearchOutcome> {
    let experiment = client.get_or_create_experiment("search").unwrap();
    let study_config = StudyConfig {
        seed: config.seed,
        ..StudyConfig::default()
    };
    let study = open_study(storage, "search", &study_config).unwrap();
    search(
        &study,
        client,
        &experiment.experiment_id,
        frame,
        config,
        &(),
    )
}

fn register_config() -> RegisterConfig {
    RegisterConfig {
        experiment: "search".into(),
        model_name: "model".into(),
        allow_worse_than_naive: true,
        data_hash: "abc".into(),
        ..RegisterConfig::default()
    }
}

fn series(table: &arrow::array::RecordBatch) -> TrainingFrame {
    frame(table, 70).unwrap()
}
