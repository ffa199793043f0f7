//! Searches the minimum of a function and records every trial as a run.
//!
//! `cargo run -p btc-examples --example tracked_search`

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use btc_track::{ActiveRun, RunSpec, RunStatus, TrackingClient};
use btc_tune::{FloatDistribution, InMemoryStorage, Study, TpeSampler};

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let client = TrackingClient::open(
        &folder.path().join("track.db"),
        &folder.path().join("artifacts"),
    )?;
    let experiment = client.get_or_create_experiment("rosenbrock")?;
    let study = Study::builder("rosenbrock", Arc::new(InMemoryStorage::new()))
        .sampler(TpeSampler::new(1))
        .create()?;
    let trials = NonZeroUsize::new(60).ok_or("a search needs trials")?;
    study.optimize(trials, |trial| {
        let x = trial.suggest_float("x", FloatDistribution::new(-2.0, 2.0)?)?;
        let y = trial.suggest_float("y", FloatDistribution::new(-1.0, 3.0)?)?;
        let value = (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
        // A run that is dropped before its end counts as failed.
        let spec = RunSpec::named(trial.number().to_string());
        let run = ActiveRun::start(&client, &experiment.experiment_id, spec)?;
        run.log_params([("x", x), ("y", y)])?;
        run.log_metric("value", value, 0)?;
        run.end(RunStatus::Finished)?;
        Ok(value)
    })?;
    let best = study.best_trial()?;
    println!(
        "best of {trials}: {:.4} at trial {}",
        best.value().unwrap_or(f64::NAN),
        best.number
    );
    let found = client.search_runs(
        &[&experiment.experiment_id],
        "metrics.value < 1",
        &["metrics.value ASC"],
        5,
        None,
    )?;
    for run in found.items {
        println!(
            "run {}: {:.4}",
            run.info.run_name,
            run.metric("value").unwrap_or(f64::NAN)
        );
    }
    Ok(())
}
