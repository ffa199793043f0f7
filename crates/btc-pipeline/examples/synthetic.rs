//! The whole workflow on a synthetic market, in a temporary folder.
//!
//! `cargo run -p btc-pipeline --example synthetic`

use std::error::Error;
use std::sync::Arc;

use btc_models::ModelType;
use btc_pipeline::{
    PredictConfig, Project, RegisterConfig, SERVICE, SearchConfig, SearchSpace, StudyConfig,
    feature_store, frame, open_study, predict, register_best, retrieve_sample, search,
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
    println!(
        "{} days of {} features",
        frame.series.rows(),
        frame.series.names().len()
    );

    let client = TrackingClient::open(&project.tracking(), &project.artifacts())?;
    let experiment = client.get_or_create_experiment("example")?;
    let study = open_study(
        Arc::new(btc_tune::InMemoryStorage::new()),
        "example",
        &StudyConfig::default(),
    )?;
    let data_hash = btc_ingest::data_hash(project.data_dir())?;
    let config = SearchConfig {
        space: Arc::new(SearchSpace {
            model_types: vec![ModelType::Cnn],
            timesteps: Some(10),
        }),
        prediction_length: 10,
        data_hash: data_hash.clone(),
        ..SearchConfig::default()
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
            model_name: "example".into(),
            allow_worse_than_naive: true,
            data_hash: data_hash.clone(),
            ..RegisterConfig::default()
        },
        &table,
    )?;
    let prediction = predict(
        &client,
        &PredictConfig {
            data_hash,
            ..PredictConfig::new(registration.model)
        },
        &table,
    )?;
    println!("{:.2} at {}", prediction.forecast, prediction.target_time);
    Ok(())
}
