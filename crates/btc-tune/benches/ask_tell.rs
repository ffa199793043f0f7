//! Times of asking, suggesting ten floats and telling, and of opening a large study.
//!
//! `cargo bench -p btc-tune`; the same work in Optuna: ask, ten `suggest_float`, tell on a study whose
//! history is random.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and has nobody to report errors to"
)]

use std::sync::Arc;
use std::time::Instant;

use btc_tune::{
    Distribution, FloatDistribution, InMemoryStorage, NewTrial, Param, RandomSampler, Storage,
    Study, TpeConfig, TpeSampler,
};

const NAMES: [&str; 10] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"];

fn loss(values: &[f64]) -> f64 {
    values.iter().map(|x| (x - 1.0).powi(2)).sum()
}

/// A study with `n` complete trials at random points.
fn study(storage: Arc<dyn Storage>, n: usize, sampler: impl btc_tune::Sampler + 'static) -> Study {
    let study = Study::builder("bench", storage)
        .sampler(sampler)
        .create()
        .unwrap();
    let distribution: Arc<Distribution> =
        Arc::new(FloatDistribution::new(-5.0, 5.0).unwrap().into());
    let names: Vec<Arc<str>> = NAMES.iter().map(|name| (*name).into()).collect();
    let mut state = 1_u64;
    for _ in 0..n {
        let values: Vec<f64> = (0..10)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1_u64 << 53) as f64 * 10.0 - 5.0
            })
            .collect();
        let params = names
            .iter()
            .zip(&values)
            .map(|(name, value)| Param {
                name: name.clone(),
                distribution: distribution.clone(),
                internal: *value,
            })
            .collect();
        study
            .add_trial(NewTrial::complete(params, [loss(&values)]))
            .unwrap();
    }
    study
}

/// The median time of one trial in milliseconds.
fn step_time(study: &Study, repeats: usize) -> f64 {
    let mut times: Vec<f64> = (0..repeats + 2)
        .map(|_| {
            let start = Instant::now();
            let mut trial = study.ask().unwrap();
            let values: Vec<f64> = NAMES
                .iter()
                .map(|n| trial.suggest_float(n, -5.0..=5.0).unwrap())
                .collect();
            study.tell(&trial, loss(&values)).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(2)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let univariate = || {
        let config = TpeConfig {
            multivariate: Some(false),
            constant_liar: false,
            ..TpeConfig::default()
        };
        TpeSampler::with_config(1, config)
    };
    println!("median ms of ask + 10 suggests + tell");
    for n in [100, 1000, 5000] {
        let memory = || Arc::new(InMemoryStorage::new());
        let tpe = step_time(&study(memory(), n, TpeSampler::new(1)), 40);
        let uni = step_time(&study(memory(), n, univariate()), 20);
        let random = step_time(&study(memory(), n, RandomSampler::new(1)), 40);
        println!("at {n:5}  memory: tpe {tpe:.3}  univariate tpe {uni:.3}  random {random:.3}");
        #[cfg(feature = "sqlite")]
        {
            let dir = tempfile::tempdir().unwrap();
            let storage = btc_tune::SqliteStorage::open(dir.path().join("bench.db")).unwrap();
            let tpe = step_time(&study(Arc::new(storage), n, TpeSampler::new(1)), 40);
            println!("at {n:5}  sqlite: tpe {tpe:.3}");
        }
    }
    #[cfg(feature = "sqlite")]
    open_large();
}

/// The time of opening a study of 10,000 trials with 20 reports each.
#[cfg(feature = "sqlite")]
fn open_large() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.db");
    let source = study(
        Arc::new(InMemoryStorage::new()),
        10_000,
        RandomSampler::new(1),
    );
    let storage = Arc::new(btc_tune::SqliteStorage::open(&path).unwrap());
    let target = Study::builder("large", storage).create().unwrap();
    for trial in source.trials().unwrap() {
        let mut new = NewTrial::from(&*trial);
        new.intermediate_values = (0..20).map(|step| (step, step as f64)).collect();
        target.add_trial(new).unwrap();
    }
    drop(target);
    let start = Instant::now();
    let storage = Arc::new(btc_tune::SqliteStorage::open(&path).unwrap());
    let trials = Study::builder("large", storage)
        .load()
        .unwrap()
        .trials()
        .unwrap();
    println!(
        "open {} trials x 20 reports: {:.0} ms",
        trials.len(),
        start.elapsed().as_secs_f64() * 1e3
    );
}
