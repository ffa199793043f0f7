//! Samplers from outside.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use btc_tune::{
    AutoSampler, BruteForceSampler, CmaEsSampler, Error, FloatDistribution, GpSampler, GridSampler,
    InMemoryStorage, IntDistribution, Nsga2Config, Nsga2Sampler, ObjectiveError, OptimizeOptions,
    PartialFixedSampler, QmcSampler, QmcSequence, RandomSampler, Sampler, Study, StudyDirection,
    TpeConfig, TpeSampler, Trial, TrialState,
};

fn study(sampler: Arc<dyn Sampler>, directions: &[StudyDirection]) -> Study {
    Study::builder("s", Arc::new(InMemoryStorage::new()))
        .shared_sampler(sampler)
        .directions(directions)
        .create()
        .unwrap()
}

fn times(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

const ONE: [StudyDirection; 1] = [StudyDirection::Maximize];
const TWO: [StudyDirection; 2] = [StudyDirection::Minimize, StudyDirection::Maximize];

/// Every kind of parameter, one that only some trials have, failures, pruned trials and infinities.
fn hostile(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let x = trial.suggest_float("x", -1.0..=1.0)?;
    let l = trial.suggest_float("l", FloatDistribution::log(1e-9, 1e9)?)?;
    let q = trial.suggest_float("q", FloatDistribution::stepped(0.0, 1.0, 0.3)?)?;
    let n = trial.suggest_int("n", IntDistribution::stepped(-10, 10, 5)?)?;
    let u = trial.suggest_int("u", IntDistribution::log(1, 1000)?)?;
    let c = trial.suggest_categorical("c", &["a", "b", "c"])?;
    let one = trial.suggest_int("one", 7..=7)?;
    assert!((-1.0..=1.0).contains(&x) && (1e-9..=1e9).contains(&l) && (1..=1000).contains(&u));
    assert!([0.0, 0.3, 0.6, 0.8999999999999999, 0.9].contains(&q), "{q}");
    assert!(n % 5 == 0 && (-10..=10).contains(&n) && one == 7);
    if c == "b" {
        trial.suggest_float("only b", 0.0..=1.0)?;
    }
    match trial.number() % 9 {
        3 => Err("on purpose".into()),
        5 => {
            trial.report(u as u64, x)?;
            Err(ObjectiveError::Pruned)
        }
        7 => Ok(f64::NEG_INFINITY),
        8 => Ok(f64::INFINITY),
        _ => Ok(x - l.log10().abs() + q),
    }
}

fn all(seed: u64) -> Vec<(&'static str, Arc<dyn Sampler>)> {
    let grouped = TpeConfig {
        group: true,
        ..TpeConfig::default()
    };
    let univariate = TpeConfig {
        multivariate: Some(false),
        ..TpeConfig::default()
    };
    let small = Nsga2Config {
        population_size: 6,
        ..Nsga2Config::default()
    };
    vec![
        ("random", Arc::new(RandomSampler::new(seed))),
        ("tpe", Arc::new(TpeSampler::new(seed))),
        (
            "grouped tpe",
            Arc::new(TpeSampler::with_config(seed, grouped)),
        ),
        (
            "univariate tpe",
            Arc::new(TpeSampler::with_config(seed, univariate)),
        ),
        ("cmaes", Arc::new(CmaEsSampler::new(seed))),
        ("gp", Arc::new(GpSampler::new(seed))),
        ("auto", Arc::new(AutoSampler::new(seed))),
        ("nsga2", Arc::new(Nsga2Sampler::new(seed, small).unwrap())),
        ("sobol", Arc::new(QmcSampler::new(seed, QmcSequence::Sobol))),
        (
            "halton",
            Arc::new(QmcSampler::new(seed, QmcSequence::Halton)),
        ),
        (
            "fixed",
            Arc::new(PartialFixedSampler::new([("n", 5)], TpeSampler::new(seed))),
        ),
    ]
}

fn values(study: &Study) -> Vec<Vec<f64>> {
    let trials = study.trials().unwrap();
    trials
        .iter()
        .map(|t| t.parameters.iter().map(|p| p.internal).collect())
        .collect()
}

fn run(study: &Study, n: usize) {
    let options = OptimizeOptions {
        n_trials: Some(n),
        on_failure: btc_tune::OnFailure::Continue,
        ..Default::default()
    };
    study.optimize_with(options, hostile).unwrap();
}

#[test]
fn every_sampler_copes_and_repeats_itself_by_its_seed() {
    for ((name, first), (_, second)) in all(5).into_iter().zip(all(5)) {
        let whole = study(first, &ONE);
        run(&whole, 36);
        let parts = study(second, &ONE);
        run(&parts, 17);
        run(&parts, 19);
        assert_eq!(values(&whole), values(&parts), "{name}");
        assert_eq!(whole.trials().unwrap().len(), 36, "{name}");
    }
    for ((name, first), (_, second)) in all(5).into_iter().zip(all(6)) {
        let (a, b) = (study(first, &ONE), study(second, &ONE));
        run(&a, 3);
        run(&b, 3);
        assert_ne!(values(&a), values(&b), "{name}: another seed, other values");
    }
}

#[test]
fn samplers_for_several_objectives_approach_the_front() {
    let objective = |trial: &mut Trial| {
        let x = trial.suggest_float("x", 0.0..=1.0)?;
        let y = trial.suggest_float("y", 0.0..=1.0)?;
        // The front is y = 0: smaller first values against larger second ones.
        Ok([x + 4.0 * y, x.sqrt() - 4.0 * y])
    };
    let mean_y = |sampler: Arc<dyn Sampler>| {
        let study = study(sampler, &TWO);
        study.optimize(times(200), objective).unwrap();
        let trials = study.trials().unwrap();
        let late = &trials[150..];
        late.iter()
            .map(|t| t.parameter("y").unwrap().internal)
            .sum::<f64>()
            / late.len() as f64
    };
    let config = Nsga2Config {
        population_size: 20,
        ..Nsga2Config::default()
    };
    let nsga2 = mean_y(Arc::new(Nsga2Sampler::new(1, config).unwrap()));
    let tpe = mean_y(Arc::new(TpeSampler::new(1)));
    // Half of the parameters of a child mutate, that is they are drawn anew.
    assert!(nsga2 < 0.4 && tpe < 0.2, "{nsga2} {tpe}");
    for sampler in [
        Arc::new(CmaEsSampler::new(1)) as Arc<dyn Sampler>,
        Arc::new(GpSampler::new(1)),
    ] {
        let error = study(sampler, &TWO)
            .optimize(times(1), objective)
            .unwrap_err();
        assert!(matches!(error, Error::SeveralObjectives { .. }), "{error}");
    }
}

#[test]
fn constraints_steer_tpe_away() {
    let study = study(Arc::new(TpeSampler::new(1)), &[StudyDirection::Minimize]);
    study
        .optimize(times(80), |trial| {
            let x = trial.suggest_float("x", 0.0..=1.0)?;
            trial.set_constraint("at least .6", 0.6 - x)?;
            Ok(x)
        })
        .unwrap();
    let best = study.best_value().unwrap();
    assert!((0.6..0.65).contains(&best), "{best}");
}

#[test]
fn a_grid_is_tried_once_in_an_order_of_the_seed() {
    let grid = |seed| {
        let values = [
            ("a", vec![1.into(), 2.into(), 3.into()]),
            ("b", vec![true.into(), false.into()]),
        ];
        let study = study(Arc::new(GridSampler::new(values, seed).unwrap()), &ONE);
        study
            .optimize(times(50), |trial| {
                let b = trial.suggest_categorical("b", &[false, true])?;
                Ok(trial.suggest_int("a", 1..=5)? as f64 + f64::from(u8::from(b)))
            })
            .unwrap();
        study
            .trials()
            .unwrap()
            .iter()
            .map(|t| t.values[0].to_string() + &t.param("b").unwrap().to_string())
            .collect::<Vec<_>>()
    };
    let (first, second) = (grid(1), grid(2));
    assert_eq!(first.len(), 6);
    assert_ne!(first, second);
    assert_eq!(
        first.iter().collect::<BTreeSet<_>>(),
        second.iter().collect::<BTreeSet<_>>()
    );
    assert!(GridSampler::new([("a", vec![])], 0).is_err());
}

#[test]
fn brute_force_visits_every_leaf_of_a_tree_once() {
    let study = study(Arc::new(BruteForceSampler::new(3)), &ONE);
    study
        .optimize(times(100), |trial| {
            if trial.suggest_categorical("c", &["deep", "flat"])? == "deep" {
                let n = trial.suggest_int("n", 0..=3)?;
                let q = trial.suggest_float("q", FloatDistribution::stepped(0.0, 1.0, 0.5)?)?;
                return Ok(n as f64 + q);
            }
            Ok(-1.0)
        })
        .unwrap();
    let trials = study.trials().unwrap();
    let distinct: BTreeSet<String> = trials
        .iter()
        .map(|t| format!("{:?}", t.params().collect::<Vec<_>>()))
        .collect();
    assert_eq!((trials.len(), distinct.len()), (13, 13));
    let continuous = |trial: &mut Trial| Ok(trial.suggest_float("x", 0.0..=1.0)?);
    let other = Study::builder("t", Arc::new(InMemoryStorage::new()))
        .sampler(BruteForceSampler::new(0))
        .create()
        .unwrap();
    assert!(other.optimize(times(1), continuous).is_err());
}

#[test]
fn fixed_parameters_stay_fixed() {
    let fixed = PartialFixedSampler::new([("x", 0.25)], TpeSampler::new(1));
    let study = study(Arc::new(fixed), &ONE);
    study
        .optimize(times(30), |trial| {
            let (x, y) = (
                trial.suggest_float("x", 0.0..=1.0)?,
                trial.suggest_float("y", 0.0..=1.0)?,
            );
            Ok(x + y)
        })
        .unwrap();
    assert!(values(&study).iter().all(|row| row[0] == 0.25));
    assert!(study.best_value().unwrap() > 1.1);
}

#[test]
fn trials_of_a_batch_are_spread_by_every_model() {
    for (name, sampler) in all(2) {
        let study = study(sampler, &ONE);
        let options = OptimizeOptions {
            n_trials: Some(40),
            n_jobs: Some(times(4)),
            ..Default::default()
        };
        study
            .optimize_with(options, |trial| {
                let (x, y) = (
                    trial.suggest_float("x", 0.0..=1.0)?,
                    trial.suggest_float("y", 0.0..=1.0)?,
                );
                Ok((9.0 * x).sin() - (y - 0.4).powi(2))
            })
            .unwrap();
        let trials = study.trials().unwrap();
        assert!(trials.iter().all(|t| t.state == TrialState::Complete));
        for batch in trials[12..24].chunks(4) {
            let distinct: BTreeSet<u64> = batch
                .iter()
                .map(|t| t.parameters[0].internal.to_bits())
                .collect();
            assert!(distinct.len() >= 3, "{name}: {batch:?}");
        }
    }
}
