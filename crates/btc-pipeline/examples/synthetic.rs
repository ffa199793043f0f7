//! The whole workflow on a synthetic market, in a temporary folder.
//!
//! `cargo run -p btc-pipeline --example synthetic`

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use btc_models::{ModelType, Target};
use btc_pipeline::{
    METRIC, PredictConfig, Project, RegisterConfig, SERVICE, SearchConfig, SearchSpace,
    StudyConfig, feature_store, frame, open_study, predict, register_best, retrieve_sample, search,
    training_table,
};
use btc_track::TrackingClient;

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let project = Project::new(folder.path());
    retrieve_sample(&project)?;

    let runtime = tokio::runtime::Runtime::new()?;
    let store = feature_store(&project)?;
    let table = runtime.block_on(training_table(&project, &store, SERVICE, None))?;
    let frame = frame(&table, 70)?;
    println!("{} days of {} features", frame.rows(), frame.names().len());

    let client = TrackingClient::open(&project.tracking(), &project.artifacts())?;
    let experiment = client.get_or_create_experiment("example")?;
    let study = open_study(
        Arc::new(btc_tune::InMemoryStorage::new()),
        "example",
        &StudyConfig::default(),
    )?;
    let data_hash = btc_ingest::data_hash(&project.data_dir())?;
    let config = SearchConfig {
        space: SearchSpace {
            model_types: vec![ModelType::Cnn],
            timesteps: Some(10),
        },
        n_trials: NonZeroUsize::MIN,
        jobs: NonZeroUsize::MIN,
        prediction_length: 10,
        holdout: 60,
        target: Target::LogReturn,
        seed: 0,
        data_hash: data_hash.clone(),
        stop: Arc::default(),
    };
    let found = search(
        &study,
        &client,
        &experiment.experiment_id,
        &frame,
        &config,
        &(),
    )?;
    println!(
        "MAPE {:.3} %, naive {:.3} %",
        found.best_mape, found.naive_mape
    );

    let registration = register_best(
        &client,
        &RegisterConfig {
            experiment: "example".into(),
            metric: METRIC.into(),
            maximize: false,
            model_name: "example".into(),
            allow_worse_than_naive: true,
        },
        &table,
    )?;
    let prediction = predict(
        &client,
        &PredictConfig {
            model_name: registration.model,
            version: None,
            date_end: None,
            timesteps: None,
            data_hash,
        },
        &table,
    )?;
    println!("{:.2} at {}", prediction.forecast, prediction.target_time);
    Ok(())
}
