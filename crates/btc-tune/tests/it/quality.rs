//! How good values get, against Optuna 5 on five closed functions.
//!
//! `cargo test -p btc-tune --test it quality -- --ignored --nocapture` takes some minutes and prints the
//! medians with the probability that ours are no worse (Mann-Whitney, one-sided, normal with ties).

use std::f64::consts::{E, PI};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use btc_tune::{
    FloatDistribution, InMemoryStorage, IntDistribution, ObjectiveError, Sampler, Study, Trial,
};
use serde_json::Value;

const SEEDS: u64 = 30;
const CHECKPOINTS: [usize; 3] = [25, 50, 100];

/// Below this probability a single comparison counts as worse.
const STRICT: f64 = 0.05;
/// The same for all fifteen comparisons together (Bonferroni).
const FAMILY: f64 = 0.05 / 15.0;

type Objective = fn(&mut Trial) -> Result<f64, ObjectiveError>;

pub(crate) const FUNCTIONS: [(&str, Objective); 5] = [
    ("branin", branin),
    ("hartmann6", hartmann6),
    ("rosenbrock5", rosenbrock5),
    ("ackley10", ackley10),
    ("hpo_like", hpo_like),
];

fn point(
    trial: &mut Trial,
    dimensions: usize,
    low: f64,
    high: f64,
) -> Result<Vec<f64>, ObjectiveError> {
    (1..=dimensions)
        .map(|i| Ok(trial.suggest_float(&format!("x{i}"), low..=high)?))
        .collect()
}

fn branin(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let (x, y) = (
        trial.suggest_float("x1", -5.0..=10.0)?,
        trial.suggest_float("x2", 0.0..=15.0)?,
    );
    let (b, c, t) = (5.1 / (4.0 * PI * PI), 5.0 / PI, 1.0 / (8.0 * PI));
    Ok((y - b * x * x + c * x - 6.0).powi(2) + 10.0 * (1.0 - t) * x.cos() + 10.0)
}

fn hartmann6(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    const ALPHA: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
        [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
        [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
        [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
    ];
    let x = point(trial, 6, 0.0, 1.0)?;
    let hill = |i: usize| {
        let square: f64 = (0..6)
            .map(|j| A[i][j] * (x[j] - 1e-4 * P[i][j]).powi(2))
            .sum();
        ALPHA[i] * (-square).exp()
    };
    Ok(-(0..4).map(hill).sum::<f64>())
}

fn rosenbrock5(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let x = point(trial, 5, -5.0, 10.0)?;
    Ok(x.windows(2)
        .map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (w[0] - 1.0).powi(2))
        .sum())
}

fn ackley10(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let x = point(trial, 10, -32.768, 32.768)?;
    let mean = |f: fn(f64) -> f64| x.iter().map(|x| f(*x)).sum::<f64>() / 10.0;
    let (square, wave) = (mean(|x| x * x), mean(|x| (2.0 * PI * x).cos()));
    Ok(-20.0 * (-0.2 * square.sqrt()).exp() - wave.exp() + 20.0 + E)
}

fn hpo_like(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let lr = trial.suggest_float("lr", FloatDistribution::log(1e-5, 1.0)?)?;
    let wd = trial.suggest_float("wd", FloatDistribution::log(1e-8, 1e-1)?)?;
    let layers = trial.suggest_int("layers", 1..=6)? as f64;
    let units = trial.suggest_int("units", IntDistribution::log(16, 1024)?)? as f64;
    let batch = trial.suggest_int("batch", IntDistribution::stepped(16, 256, 16)?)? as f64;
    let dropout = trial.suggest_float("dropout", FloatDistribution::stepped(0.0, 0.6, 0.05)?)?;
    let opt = trial.suggest_categorical("opt", &["sgd", "adam", "rmsprop", "adagrad"])?;
    let act = trial.suggest_categorical("act", &["relu", "tanh", "gelu"])?;
    let (lr0, opt_penalty) = match opt {
        "sgd" => (-1.0, 0.02),
        "adam" => (-3.0, 0.0),
        "rmsprop" => (-3.3, 0.015),
        _ => (-1.7, 0.05),
    };
    let act_penalty = match act {
        "relu" => 0.01,
        "tanh" => 0.03,
        _ => 0.0,
    };
    let dlr = lr.log10() - lr0 - 0.5 * (batch / 64.0).log10();
    let capacity = layers * units.log2();
    Ok(0.10
        + 0.06 * dlr.powi(2)
        + 0.015 * (wd.log10() + 4.0).powi(2)
        + 0.0008 * (capacity - 24.0).powi(2)
        + 0.8 * (dropout - (0.1 + 0.005 * capacity)).powi(2)
        + 0.01 * (layers - 3.0).powi(2)
        + 0.02 * (3.0 * dlr).sin().powi(2)
        + opt_penalty
        + act_penalty)
}

/// The best value at each checkpoint, for each seed.
fn run(objective: Objective, sampler: &dyn Fn(u64) -> Arc<dyn Sampler>) -> [Vec<f64>; 3] {
    let mut best: [Vec<f64>; 3] = Default::default();
    for seed in 0..SEEDS {
        let study = Study::builder("quality", Arc::new(InMemoryStorage::new()))
            .shared_sampler(sampler(seed))
            .create()
            .unwrap();
        study
            .optimize(NonZeroUsize::new(CHECKPOINTS[2]).unwrap(), objective)
            .unwrap();
        let values: Vec<f64> = study
            .trials()
            .unwrap()
            .iter()
            .map(|t| t.values[0])
            .collect();
        for (best, end) in best.iter_mut().zip(CHECKPOINTS) {
            best.push(values[..end].iter().copied().fold(f64::INFINITY, f64::min));
        }
    }
    best
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// The probability of ranks of `ours` at least this high if both came from one distribution: small
/// when ours are larger, that is worse.
pub(crate) fn p_not_worse(ours: &[f64], theirs: &[f64]) -> f64 {
    let (n, m) = (ours.len() as f64, theirs.len() as f64);
    let u: f64 = ours
        .iter()
        .flat_map(|a| theirs.iter().map(move |b| (a, b)))
        .map(|(a, b)| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    let mut all: Vec<f64> = ours.iter().chain(theirs).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all
        .chunk_by(|a, b| a == b)
        .map(|group| (group.len() as f64).powi(3) - group.len() as f64)
        .sum();
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let z = (u - n * m / 2.0 - 0.5) / variance.sqrt();
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quality.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Prints medians and compares each checkpoint; returns on how many functions ours are clearly better
/// at the end.
fn compare(name: &str, peer: &str, level: f64, sampler: &dyn Fn(u64) -> Arc<dyn Sampler>) -> usize {
    let reference = reference();
    let mut better = 0;
    let mut worse = Vec::new();
    for (function, objective) in FUNCTIONS {
        let ours = run(objective, sampler);
        for (ours, at) in ours.iter().zip(CHECKPOINTS) {
            let theirs: Vec<f64> = reference[function][peer][at.to_string()]
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_f64().unwrap())
                .collect();
            let (p, q) = (p_not_worse(ours, &theirs), p_not_worse(&theirs, ours));
            println!(
                "{name} {function:12} at {at:3}: {:10.4} (Optuna {peer} {:10.4}), p not worse {p:.3}, better {q:.3}",
                median(ours),
                median(&theirs)
            );
            if p < level {
                worse.push(format!("{function} at {at}: p = {p:.4}"));
            }
            if at == CHECKPOINTS[2] && q < 0.05 {
                better += 1;
            }
        }
    }
    assert!(worse.is_empty(), "{name} is worse than {peer}: {worse:?}");
    better
}

#[test]
fn tpe_is_no_worse_than_optunas() {
    compare("tpe", "tpe_default", STRICT, &|seed| {
        Arc::new(btc_tune::TpeSampler::new(seed))
    });
}

#[test]
fn univariate_tpe_is_no_worse_than_optunas() {
    compare("univariate tpe", "tpe_univariate", FAMILY, &|seed| {
        let config = btc_tune::TpeConfig {
            multivariate: Some(false),
            constant_liar: false,
            ..Default::default()
        };
        Arc::new(btc_tune::TpeSampler::with_config(seed, config))
    });
}

#[test]
fn cmaes_is_no_worse_than_optunas() {
    compare("cmaes", "cmaes", FAMILY, &|seed| {
        Arc::new(btc_tune::CmaEsSampler::new(seed))
    });
}

#[test]
#[ignore = "takes minutes"]
fn gp_is_no_worse_than_optunas() {
    compare("gp", "gp", FAMILY, &|seed| {
        Arc::new(btc_tune::GpSampler::new(seed))
    });
}

#[test]
fn qmc_is_no_worse_than_optunas() {
    compare("qmc", "qmc", FAMILY, &|seed| {
        Arc::new(btc_tune::QmcSampler::new(
            seed,
            btc_tune::QmcSequence::Sobol,
        ))
    });
}

#[test]
fn random_is_no_worse_than_optunas() {
    compare("random", "random", FAMILY, &|seed| {
        Arc::new(btc_tune::RandomSampler::new(seed))
    });
}

#[test]
#[ignore = "takes minutes"]
fn the_automatic_sampler_is_better_than_optunas_tpe() {
    let better = compare("auto", "tpe_default", STRICT, &|seed| {
        Arc::new(btc_tune::AutoSampler::new(seed))
    });
    assert!(better >= 2, "clearly better on {better} functions only");
}

#[test]
fn the_test_of_ranks_agrees_with_scipy() {
    // scipy.stats.mannwhitneyu([1, 2, 3, 7], [2, 4, 5], alternative="greater", method="asymptotic")
    let p = p_not_worse(&[1.0, 2.0, 3.0, 7.0], &[2.0, 4.0, 5.0]);
    assert!((p - 0.762_233_670_201_548_9).abs() < 1e-9, "{p}");
}
