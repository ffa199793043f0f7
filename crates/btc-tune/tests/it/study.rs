//! Studies from outside: what a user relies on.

use std::num::NonZeroUsize;
use std::sync::Arc;

use btc_tune::{
    CategoricalDistribution, Error, FloatDistribution, InMemoryStorage, ObjectiveError, OnFailure,
    OptimizeOptions, RandomSampler, Storage, Study, StudyDirection, TpeSampler, Trial, TrialState,
};

fn times(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(InMemoryStorage::new())
}

fn mixed(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let rate = trial.suggest_float("rate", FloatDistribution::log(1e-5, 1.0)?)?;
    let layers = trial.suggest_int("layers", 1..=6)?;
    let kind = trial.suggest_categorical("kind", &["lstm", "gru", "cnn"])?;
    let dropout = trial.suggest_float("dropout", FloatDistribution::stepped(0.0, 0.6, 0.05)?)?;
    let penalty = if kind == "gru" { 0.0 } else { 0.3 };
    Ok((rate.log10() + 3.0).powi(2) + (layers as f64 - 3.0).powi(2) * 0.1 + penalty + dropout)
}

#[cfg(feature = "sqlite")]
#[test]
fn a_resumed_study_goes_on_as_if_it_had_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let run = |file: &str, parts: &[usize]| {
        for part in parts {
            let storage = Arc::new(btc_tune::SqliteStorage::open(dir.path().join(file)).unwrap());
            let study = Study::builder("s", storage)
                .sampler(TpeSampler::new(3))
                .load_if_exists(true)
                .create()
                .unwrap();
            study.optimize(times(*part), mixed).unwrap();
        }
        let storage = Arc::new(btc_tune::SqliteStorage::open(dir.path().join(file)).unwrap());
        let trials = Study::builder("s", storage)
            .load()
            .unwrap()
            .trials()
            .unwrap();
        trials
            .iter()
            .map(|t| {
                (
                    t.params()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect::<Vec<_>>(),
                    t.values.clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    let whole = run("whole.db", &[40]);
    assert_eq!(whole, run("parts.db", &[13, 1, 26]));
    let memory = Study::builder("s", memory())
        .sampler(TpeSampler::new(3))
        .create()
        .unwrap();
    memory.optimize(times(40), mixed).unwrap();
    let last = memory.trials().unwrap()[39].values.clone();
    assert_eq!(last, whole[39].1, "the storage makes no difference");
}

#[test]
fn tpe_finds_better_values_than_chance() {
    let best = |study: Study| {
        study.optimize(times(60), mixed).unwrap();
        study.best_value().unwrap()
    };
    let tpe: f64 = (0..5)
        .map(|seed| {
            best(
                Study::builder("t", memory())
                    .sampler(TpeSampler::new(seed))
                    .create()
                    .unwrap(),
            )
        })
        .sum();
    let random: f64 = (0..5)
        .map(|seed| {
            best(
                Study::builder("r", memory())
                    .sampler(RandomSampler::new(seed))
                    .create()
                    .unwrap(),
            )
        })
        .sum();
    assert!(tpe < 0.6 * random, "{tpe} {random}");
}

#[test]
fn failures_are_stored_and_stop_the_run_unless_told_otherwise() {
    let study = Study::builder("f", memory()).create().unwrap();
    let fail = |trial: &mut Trial| -> Result<f64, ObjectiveError> {
        if trial.number() == 1 {
            Err("boom".into())
        } else {
            Ok(1.0)
        }
    };
    let error = study.optimize(times(5), fail).unwrap_err();
    assert!(matches!(error, Error::Objective { number: 1, .. }));
    let options = OptimizeOptions {
        n_trials: Some(3),
        on_failure: OnFailure::Continue,
        ..Default::default()
    };
    study.optimize_with(options, fail).unwrap();
    let states: Vec<_> = study.trials().unwrap().iter().map(|t| t.state).collect();
    use TrialState::{Complete, Fail};
    assert_eq!(states, [Complete, Fail, Complete, Complete, Complete]);
}

#[test]
fn nan_fails_and_pruned_trials_are_never_best() {
    let study = Study::builder("n", memory())
        .direction(StudyDirection::Maximize)
        .create()
        .unwrap();
    let trial = study.ask().unwrap();
    assert_eq!(
        study.tell(&trial, f64::NAN).unwrap().state,
        TrialState::Fail
    );
    let mut trial = study.ask().unwrap();
    trial.report(3, 100.0).unwrap();
    let pruned = study.tell(&trial, btc_tune::Outcome::Pruned).unwrap();
    assert_eq!(pruned.values, [100.0]);
    assert!(matches!(
        study.best_trial(),
        Err(Error::NoCompleteTrial { .. })
    ));
    let trial = study.ask().unwrap();
    study.tell(&trial, 1.0).unwrap();
    assert_eq!(study.best_trial().unwrap().number, 2);
    assert!(matches!(
        study.tell(&trial, 2.0),
        Err(Error::TrialFinished { number: 2, .. })
    ));
}

#[test]
fn a_name_cannot_change_its_choices() {
    let study = Study::builder("c", memory()).create().unwrap();
    let mut trial = study.ask().unwrap();
    trial.suggest_categorical("a", &["x", "y"]).unwrap();
    let mut trial = study.ask().unwrap();
    let error = trial.suggest_categorical("a", &["x"]).unwrap_err();
    assert!(matches!(error, Error::IncompatibleDistribution { .. }));
    assert!(matches!(
        trial.suggest_categorical::<i64>("b", &[]),
        Err(Error::EmptyChoices)
    ));
    let any = CategoricalDistribution::new(["p", "q"]).unwrap();
    assert!(trial.suggest("c", any).unwrap().is_string());
}
