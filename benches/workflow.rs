//! Times each stage of the workflow on the synthetic market.
//!
//! `cargo bench -p btc-benches`; four CNN trials, one at a time, as
//! `btc pipeline run --sample` makes them. Each figure is the best of five.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use btc_models::ModelType;
use btc_pipeline::{
    PredictConfig, Project, RegisterConfig, SERVICE, SearchConfig, SearchSpace, StudyConfig,
    feature_store, frame, open_study, predict, register_best, retrieve_sample, search,
    training_table,
};
use btc_track::TrackingClient;
use tokio::runtime::Runtime;

const STAGES: [&str; 5] = ["retrieve", "features", "tune", "register", "predict"];
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let mut best = [Duration::MAX; STAGES.len()];
    for _ in 0..RUNS {
        for (best, time) in best.iter_mut().zip(run(&runtime)?) {
            *best = time.min(*best);
        }
    }
    for (stage, time) in STAGES.iter().zip(best) {
        println!("{stage:9} {:8.1} ms", 1e3 * time.as_secs_f64());
    }
    let total: Duration = best.iter().sum();
    println!("together  {:8.1} ms", 1e3 * total.as_secs_f64());
    Ok(())
}

fn run(runtime: &Runtime) -> Result<[Duration; STAGES.len()], Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let project = Project::new(folder.path());
    let mut times = Vec::new();
    let mut start = Instant::now();
    let mut lap =
        |start: &mut Instant| times.push(std::mem::replace(start, Instant::now()).elapsed());

    retrieve_sample(&project)?;
    lap(&mut start);

    let store = feature_store(&project)?;
    let table = runtime.block_on(training_table(&project, &store, SERVICE, None))?;
    let series = frame(&table, 70)?;
    lap(&mut start);

    let client = TrackingClient::open(&project.tracking(), &project.artifacts())?;
    let experiment = client.get_or_create_experiment("bench")?;
    let studies = format!("sqlite:///{}", project.studies().display());
    let study = open_study(
        btc_tune::storage_from_url(&studies)?,
        "bench",
        &StudyConfig::default(),
    )?;
    let config = SearchConfig {
        space: Arc::new(SearchSpace {
            model_types: vec![ModelType::Cnn],
            timesteps: Some(10),
        }),
        n_trials: NonZeroUsize::new(4).ok_or("a search needs trials")?,
        prediction_length: 10,
        ..SearchConfig::default()
    };
    search(
        &study,
        &client,
        &experiment.experiment_id,
        &series,
        &config,
        &(),
    )?;
    lap(&mut start);

    let register = RegisterConfig {
        experiment: "bench".into(),
        model_name: "bench".into(),
        allow_worse_than_naive: true,
        ..RegisterConfig::default()
    };
    register_best(&client, &register, &table)?;
    lap(&mut start);

    let forecast = PredictConfig::new("bench");
    predict(&client, &forecast, &table)?;
    lap(&mut start);
    times
        .try_into()
        .map_err(|_| "every stage has a time".into())
}
