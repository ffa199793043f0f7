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

/// Values and states of a study that ran on several threads, with evaluations of uneven length.
fn run_in_parallel(
    jobs: usize,
    seed: u64,
    pause: impl Fn(u64) -> u64 + Sync,
) -> Vec<(Vec<f64>, TrialState)> {
    let study = Study::builder("p", memory())
        .sampler(TpeSampler::new(seed))
        .create()
        .unwrap();
    let options = OptimizeOptions {
        n_trials: Some(44),
        n_jobs: Some(times(jobs)),
        ..Default::default()
    };
    study
        .optimize_with(options, |trial| {
            let value = mixed(trial)?;
            // A parameter only some trials have is sampled while others run.
            if value > 0.5 {
                trial.suggest_float("extra", 0.0..=1.0)?;
            }
            let pause = pause(trial.number() as u64);
            std::thread::sleep(std::time::Duration::from_millis(pause));
            for step in 0..3 {
                trial.report(step, value * (3.0 - step as f64))?;
                if trial.should_prune()? {
                    return Err(ObjectiveError::Pruned);
                }
            }
            Ok(value)
        })
        .unwrap();
    let trials = study.trials().unwrap();
    trials
        .iter()
        .map(|t| (t.parameters.iter().map(|p| p.internal).collect(), t.state))
        .collect()
}

#[test]
fn what_is_chosen_depends_on_the_seed_and_not_on_timing() {
    let uneven = run_in_parallel(4, 1, |number| number * 7 % 5 * 2);
    assert_eq!(uneven, run_in_parallel(4, 1, |_| 0));
    assert_eq!(uneven, run_in_parallel(4, 1, |number| 9 - number % 10));
    let now_and_then = |number| if number % 11 == 3 { 40 } else { 0 };
    assert_eq!(uneven, run_in_parallel(4, 1, now_and_then));
    assert_ne!(uneven, run_in_parallel(4, 2, |_| 0));
    assert_ne!(uneven, run_in_parallel(3, 1, |_| 0));
    assert!(uneven.iter().any(|(_, state)| *state == TrialState::Pruned));
    let distinct: std::collections::BTreeSet<u64> = uneven
        .iter()
        .map(|(values, _)| values[0].to_bits())
        .collect();
    assert_eq!(distinct.len(), uneven.len(), "no two trials are the same");
}

#[test]
fn a_trial_waits_for_those_it_knows_of_and_for_no_others() {
    use std::sync::{Mutex, mpsc};
    let study = Study::builder("p", memory()).create().unwrap();
    let options = OptimizeOptions {
        n_trials: Some(8),
        n_jobs: Some(times(2)),
        ..Default::default()
    };
    let (begun, wait) = mpsc::channel();
    let (begun, wait) = (Mutex::new(begun), Mutex::new(wait));
    study
        .optimize_with(options, |trial| {
            let state = |number: usize| trial.study().trials().unwrap()[number].state;
            match trial.number() {
                // Trial 2 knows of the first alone, and so must not wait for this one.
                1 => wait.lock().unwrap().recv().unwrap(),
                2 => {
                    assert_eq!(state(1), TrialState::Running);
                    begun.lock().unwrap().send(()).unwrap();
                }
                _ => (),
            }
            for known in 0..(trial.number() + 1).saturating_sub(2) {
                assert_eq!(state(known), TrialState::Complete);
            }
            Ok(0.0)
        })
        .unwrap();
    let trials = study.trials().unwrap();
    assert!(trials.iter().all(|t| t.state == TrialState::Complete));
}

#[test]
fn callbacks_come_in_order_and_end_a_run_at_the_same_trial_whatever_the_timing() {
    use std::ops::ControlFlow;
    for pause in [0, 3] {
        let study = Study::builder("p", memory()).create().unwrap();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let callback = {
            let seen = Arc::clone(&seen);
            move |_: &Study, trial: &btc_tune::FrozenTrial| {
                seen.lock().unwrap().push(trial.number);
                match trial.number {
                    5 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            }
        };
        let options = OptimizeOptions {
            n_trials: Some(40),
            n_jobs: Some(times(3)),
            callbacks: vec![Box::new(callback)],
            ..Default::default()
        };
        study
            .optimize_with(options, |trial| {
                let pause = pause * (trial.number() as u64 * 5 % 7);
                std::thread::sleep(std::time::Duration::from_millis(pause));
                Ok(0.0)
            })
            .unwrap();
        assert_eq!(*seen.lock().unwrap(), (0..8).collect::<Vec<_>>());
        assert_eq!(study.trials().unwrap().len(), 8);
    }
}

#[test]
fn a_panic_ends_a_parallel_run_and_goes_on() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let panics = |in_callback: bool| {
        let study = Study::builder("p", memory()).create().unwrap();
        let options = OptimizeOptions {
            n_jobs: Some(times(3)),
            callbacks: vec![Box::new(move |_, trial| {
                assert!(!in_callback || trial.number < 4, "of the callback");
                std::ops::ControlFlow::Continue(())
            })],
            ..Default::default()
        };
        let run = AssertUnwindSafe(|| {
            study.optimize_with(options, |trial| {
                assert!(in_callback || trial.number() < 4, "of the objective");
                Ok(0.0)
            })
        });
        let panic = catch_unwind(run).unwrap_err();
        let trials = study.trials().unwrap();
        assert!(trials.iter().all(|trial| trial.state.is_finished()));
        panic.downcast_ref::<&str>().unwrap().to_string()
    };
    assert_eq!(panics(false), "of the objective");
    assert_eq!(panics(true), "of the callback");
}

#[test]
fn free_workers_run_the_number_of_trials_asked_for() {
    let study = Study::builder("p", memory()).create().unwrap();
    let options = OptimizeOptions {
        n_trials: Some(37),
        n_jobs: Some(times(4)),
        parallelism: btc_tune::Parallelism::Free,
        ..Default::default()
    };
    study.optimize_with(options, mixed).unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(trials.len(), 37);
    assert!(trials.iter().all(|t| t.state == TrialState::Complete));
}

#[test]
fn a_run_can_be_stopped_from_outside_and_by_a_callback() {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicBool, Ordering};
    let study = Study::builder("s", memory()).create().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let options = OptimizeOptions {
        stop: Some(stop.clone()),
        ..Default::default()
    };
    study
        .optimize_with(options, |trial| {
            stop.store(trial.number() == 4, Ordering::Relaxed);
            Ok(0.0)
        })
        .unwrap();
    assert_eq!(study.trials().unwrap().len(), 5);
    let options = OptimizeOptions {
        callbacks: vec![Box::new(|_, trial| match trial.number {
            9 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })],
        ..Default::default()
    };
    study.optimize_with(options, |_| Ok(0.0)).unwrap();
    assert_eq!(study.trials().unwrap().len(), 10);
    let options = OptimizeOptions {
        timeout: Some(std::time::Duration::ZERO),
        ..Default::default()
    };
    study.optimize_with(options, |_| Ok(0.0)).unwrap();
    assert_eq!(study.trials().unwrap().len(), 10);
}

#[test]
fn a_panic_fails_its_trial_and_goes_on() {
    let study = Study::builder("s", memory()).create().unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        study.optimize(times(3), |trial| -> Result<f64, ObjectiveError> {
            assert!(trial.number() < 1, "on purpose");
            Ok(0.0)
        })
    }));
    assert!(panic.is_err());
    let states: Vec<_> = study.trials().unwrap().iter().map(|t| t.state).collect();
    assert_eq!(states, [TrialState::Complete, TrialState::Fail]);
}

#[test]
fn queued_trials_run_first_and_once() {
    let study = Study::builder("q", memory())
        .sampler(TpeSampler::new(1))
        .create()
        .unwrap();
    study.enqueue([("rate", 1e-3)]).unwrap();
    assert!(study.enqueue_if_new([("rate", 1e-3)]).unwrap().is_none());
    assert!(study.enqueue_if_new([("rate", 1e-2)]).unwrap().is_some());
    study.optimize(times(3), mixed).unwrap();
    let rates: Vec<_> = study
        .trials()
        .unwrap()
        .iter()
        .map(|t| t.parameter("rate").unwrap().internal)
        .collect();
    assert_eq!(rates[..2], [1e-3, 1e-2]);
    let wrong = study.enqueue([("kind", "transformer")]).unwrap();
    assert!(study.optimize(times(1), mixed).is_err());
    assert_eq!(
        study.trials().unwrap()[wrong.number].state,
        TrialState::Fail
    );
}

#[test]
fn copies_are_equal() {
    let study = Study::builder("a", memory()).create().unwrap();
    study.set_user_attr("k", 3).unwrap();
    study.optimize(times(5), mixed).unwrap();
    let target = InMemoryStorage::new();
    let id = study.copy_to(&target, "b").unwrap();
    let copies = target.trials(id).unwrap();
    for (trial, copy) in study.trials().unwrap().iter().zip(&copies) {
        assert_eq!(
            (&trial.parameters, &trial.values),
            (&copy.parameters, &copy.values)
        );
        assert_eq!(trial.datetime_complete, copy.datetime_complete);
    }
    assert_eq!(target.study(id).unwrap().user_attrs["k"], 3);
    assert!(matches!(
        study.copy_to(&target, "b"),
        Err(Error::DuplicatedStudy { .. })
    ));
}

#[test]
fn pareto_front_leaves_out_the_dominated_and_the_infeasible() {
    let study = Study::builder("m", memory())
        .directions([StudyDirection::Minimize, StudyDirection::Maximize])
        .create()
        .unwrap();
    for (values, constraint) in [
        ([1.0, 1.0], 0.0),
        ([2.0, 2.0], -1.0),
        ([2.0, 1.0], 0.0),
        ([0.0, 9.0], 0.1),
        ([1.0, 1.0], 0.0),
    ] {
        let mut trial = study.ask().unwrap();
        trial.set_constraint("c", constraint).unwrap();
        study.tell(&trial, values).unwrap();
    }
    let best: Vec<_> = study
        .best_trials()
        .unwrap()
        .iter()
        .map(|t| t.number)
        .collect();
    assert_eq!(best, [0, 1, 4]);
    assert!(matches!(
        study.best_trial(),
        Err(Error::SeveralObjectives { .. })
    ));
    let mut trial = study.ask().unwrap();
    assert!(matches!(
        trial.report(0, 1.0),
        Err(Error::SeveralObjectives { .. })
    ));
    assert!(matches!(
        study.tell(&trial, 1.0),
        Err(Error::InvalidOutcome { .. })
    ));
}

/// A learning curve whose floor depends on the parameters, like a network that trains for 27 epochs.
fn learning_curve(
    trial: &mut Trial,
    epochs: &std::sync::atomic::AtomicUsize,
) -> Result<f64, ObjectiveError> {
    let rate = trial.suggest_float("rate", FloatDistribution::log(1e-5, 1.0)?)?;
    let units = trial.suggest_int("units", 4..=64)? as f64;
    let floor = 0.2 * (rate.log10() + 3.0).powi(2) + ((units - 40.0) / 30.0).powi(2);
    let mut loss = 10.0;
    for epoch in 0..27 {
        epochs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        loss = floor + 0.75 * (loss - floor);
        trial.report(epoch, loss)?;
        if trial.should_prune()? {
            return Err(ObjectiveError::Pruned);
        }
    }
    Ok(loss)
}

#[test]
fn pruning_finds_as_good_a_value_for_half_the_epochs() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let run = |pruner: Arc<dyn btc_tune::Pruner>| {
        let (mut total, mut best) = (0, Vec::new());
        for seed in 0..5 {
            let epochs = AtomicUsize::new(0);
            let study = Study::builder("p", memory())
                .sampler(TpeSampler::new(seed))
                .shared_pruner(pruner.clone())
                .create()
                .unwrap();
            study
                .optimize(times(60), |trial| learning_curve(trial, &epochs))
                .unwrap();
            total += epochs.load(Ordering::Relaxed);
            best.push(study.best_value().unwrap());
        }
        best.sort_by(f64::total_cmp);
        (total, best[2])
    };
    let (all, without) = run(Arc::new(btc_tune::NopPruner));
    let (some, with) = run(Arc::new(btc_tune::MedianPruner::default()));
    assert_eq!(all, 5 * 60 * 27);
    assert!(2 * some <= all, "{some} of {all} epochs");
    assert!(with <= without + 0.02, "{with} instead of {without}");
}
