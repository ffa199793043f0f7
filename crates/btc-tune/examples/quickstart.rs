//! Tunes a small function in a SQLite file, resumes it, and draws what came out.
//!
//! `cargo run -p btc-tune --example quickstart`

use std::error::Error;
use std::num::NonZeroUsize;

use btc_tune::{
    AutoSampler, FloatDistribution, ImportanceEvaluator, ObjectiveError, Study, Trial, plot,
    storage_from_url,
};

/// A stand-in for a training run: the loss falls epoch by epoch.
fn train(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let rate = trial.suggest_float("rate", FloatDistribution::log(1e-5, 1.0)?)?;
    let layers = trial.suggest_int("layers", 1..=4)?;
    let optimizer = trial.suggest_categorical("optimizer", &["sgd", "adam"])?;
    let best = if optimizer == "adam" { -3.0 } else { -1.5 };
    let floor = 0.1 * (rate.log10() - best).powi(2) + 0.02 * (layers as f64 - 2.0).powi(2);
    let mut loss = 1.0;
    for epoch in 0..10 {
        loss = floor + 0.6 * (loss - floor);
        trial.report(epoch, loss)?;
        if trial.should_prune()? {
            return Err(ObjectiveError::Pruned);
        }
    }
    Ok(loss)
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let url = if cfg!(feature = "sqlite") {
        format!("sqlite:///{}/studies.db", dir.path().display())
    } else {
        format!("journal:///{}/studies.log", dir.path().display())
    };
    // The second round goes on where the first ended.
    for round in 1..=2 {
        let study = Study::builder("quickstart", storage_from_url(&url)?)
            .sampler(AutoSampler::new(1))
            .load_if_exists(true)
            .create()?;
        study.optimize(NonZeroUsize::MIN.saturating_add(19), train)?;
        let best = study.best_trial()?;
        println!(
            "round {round}: {} trials, best {:.4}",
            study.trials()?.len(),
            study.best_value()?
        );
        for (name, value) in best.params() {
            println!("  {name} = {value}");
        }
    }
    let study = Study::builder("quickstart", storage_from_url(&url)?).load()?;
    for (name, share) in study.param_importances(ImportanceEvaluator::default(), None)? {
        println!("{name}: {:.0} %", 100.0 * share);
    }
    let svg = plot::optimization_history(&study.trials()?, study.directions(), 0).to_svg();
    println!("the history as SVG has {} bytes", svg.len());
    Ok(())
}
