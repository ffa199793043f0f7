//! A study that was broken off and resumed holds the complete trials of one that ran through.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use btc_tune::{
    AutoSampler, BruteForceSampler, CmaEsSampler, FrozenTrial, GpSampler, GridSampler,
    HeartbeatConfig, HyperbandConfig, HyperbandPruner, InMemoryStorage, MedianPruner, NopPruner,
    Nsga2Config, Nsga2Sampler, ObjectiveError, OptimizeOptions, Outcome, PercentileConfig, Pruner,
    QmcSampler, QmcSequence, RandomSampler, Sampler, Storage, Study, SuccessiveHalvingConfig,
    SuccessiveHalvingPruner, TpeConfig, TpeSampler, Trial, TrialState,
};

const TRIALS: usize = 26;

fn samplers() -> Vec<(&'static str, Arc<dyn Sampler>)> {
    let tpe = TpeConfig {
        n_startup_trials: 4,
        ..TpeConfig::default()
    };
    let univariate = TpeConfig {
        multivariate: Some(false),
        ..tpe.clone()
    };
    let nsga2 = Nsga2Config {
        population_size: 5,
        ..Nsga2Config::default()
    };
    let grid = GridSampler::new(
        [
            ("x", (0..8).map(|i| f64::from(i).into()).collect()),
            ("kind", vec!["a".into(), "b".into()]),
            ("n", (1..4).map(Into::into).collect()),
            ("extra", vec![0.5.into()]),
        ],
        5,
    );
    vec![
        ("random", Arc::new(RandomSampler::new(5))),
        ("tpe", Arc::new(TpeSampler::with_config(5, tpe))),
        (
            "univariate tpe",
            Arc::new(TpeSampler::with_config(5, univariate)),
        ),
        ("gp", Arc::new(GpSampler::new(5))),
        ("cma-es", Arc::new(CmaEsSampler::new(5))),
        ("qmc", Arc::new(QmcSampler::new(5, QmcSequence::Sobol))),
        ("nsga2", Arc::new(Nsga2Sampler::new(5, nsga2).unwrap())),
        ("grid", Arc::new(grid.unwrap())),
        ("brute force", Arc::new(BruteForceSampler::new(5))),
        ("auto", Arc::new(AutoSampler::new(5))),
    ]
}

fn pruners() -> Vec<(&'static str, Arc<dyn Pruner>)> {
    let median = PercentileConfig {
        n_startup_trials: 3,
        ..PercentileConfig::default()
    };
    let halving = SuccessiveHalvingConfig {
        min_resource: Some(1),
        reduction_factor: 2,
        ..SuccessiveHalvingConfig::default()
    };
    let hyperband = HyperbandConfig {
        max_resource: Some(4),
        reduction_factor: 2,
        ..HyperbandConfig::default()
    };
    vec![
        ("none", Arc::new(NopPruner)),
        ("median", Arc::new(MedianPruner::new(median).unwrap())),
        (
            "halving",
            Arc::new(SuccessiveHalvingPruner::new(halving).unwrap()),
        ),
        (
            "hyperband",
            Arc::new(HyperbandPruner::new(hyperband).unwrap()),
        ),
    ]
}

/// Looks in at moments 0, 1, 2, ...; interrupts by an error.
type Look<'a> = &'a (dyn Fn(&Trial, usize) -> Result<(), ObjectiveError> + Sync);

/// What is random in it comes from the ordinal.
fn objective(trial: &mut Trial, look: Look<'_>) -> Result<f64, ObjectiveError> {
    look(trial, 0)?;
    let x = trial.suggest(
        "x",
        btc_tune::FloatDistribution::stepped(0.0, 7.0, 1.0).unwrap(),
    )?;
    let x = x.as_f64().unwrap();
    let kind = trial.suggest_categorical("kind", &["a", "b"])?;
    look(trial, 1)?;
    let n = trial.suggest_int("n", 1..=3)? as f64;
    let noise = (trial.ordinal() * 37 % 101) as f64 / 101.0;
    let mut loss = (x - 3.0).powi(2) + n + noise + if kind == "a" { 0.0 } else { 2.0 };
    if loss > 6.0 {
        loss += trial
            .suggest(
                "extra",
                btc_tune::FloatDistribution::stepped(0.0, 1.0, 0.5).unwrap(),
            )?
            .as_f64()
            .unwrap();
    }
    for step in 0..4 {
        trial.report(step, loss + 3.0 / (step as f64 + 1.0))?;
        if trial.should_prune()? {
            return Err(ObjectiveError::Pruned);
        }
        look(trial, 2 + step as usize)?;
    }
    if trial.ordinal() % 9 == 4 {
        return Err("it fails, and would again".into());
    }
    Ok(loss)
}

fn study(storage: Arc<dyn Storage>, sampler: Arc<dyn Sampler>, pruner: Arc<dyn Pruner>) -> Study {
    Study::builder("s", storage)
        .shared_sampler(sampler)
        .shared_pruner(pruner)
        .load_if_exists(true)
        .create()
        .unwrap()
}

fn options(n_trials: usize, jobs: usize) -> OptimizeOptions<'static> {
    OptimizeOptions {
        n_trials: Some(n_trials),
        n_jobs: NonZeroUsize::new(jobs),
        on_failure: btc_tune::OnFailure::Continue,
        ..OptimizeOptions::default()
    }
}

/// The trials that were tried again.
fn repeated(trials: &[Arc<FrozenTrial>]) -> BTreeSet<u64> {
    let attr = |t: &Arc<FrozenTrial>| t.system_attrs.get("retry_history").cloned();
    trials
        .iter()
        .filter_map(attr)
        .map(|history| {
            history
                .as_array()
                .unwrap()
                .last()
                .unwrap()
                .as_u64()
                .unwrap()
        })
        .collect()
}

/// The trials that are at an end, as far as a study that ran through must agree; in no order.
fn results(study: &Study) -> Vec<String> {
    let trials = study.trials().unwrap();
    let repeated = repeated(&trials);
    let mut results: Vec<String> = trials
        .iter()
        .filter(|t| t.state.is_finished() && !repeated.contains(&(t.number as u64)))
        .map(|t| {
            let params: Vec<_> = t.params().collect();
            format!(
                "{} {params:?} {:?} {:?}",
                t.state, t.values, t.intermediate_values
            )
        })
        .collect();
    results.sort_unstable();
    results
}

fn undisturbed(sampler: Arc<dyn Sampler>, pruner: Arc<dyn Pruner>, jobs: usize) -> Vec<String> {
    let study = study(Arc::new(InMemoryStorage::new()), sampler, pruner);
    study
        .optimize_with(options(TRIALS, jobs), |trial| {
            objective(trial, &|_, _| Ok(()))
        })
        .unwrap();
    results(&study)
}

/// Runs until as many trials are at an end, interrupted at some moment of some of them; says how often.
fn disturbed(study: &Study, jobs: usize, at: &[(usize, usize)]) -> usize {
    let open: Mutex<BTreeSet<(usize, usize)>> = Mutex::new(at.iter().copied().collect());
    let stop = Arc::new(AtomicBool::new(false));
    let look = |trial: &Trial, moment: usize| {
        if open.lock().unwrap().remove(&(trial.ordinal(), moment)) {
            stop.store(true, Ordering::Relaxed);
        }
        match stop.load(Ordering::Relaxed) {
            true => Err(ObjectiveError::Interrupted),
            false => Ok(()),
        }
    };
    let mut interrupted = 0;
    loop {
        let left = TRIALS - results(study).len();
        if left == 0 {
            return interrupted;
        }
        stop.store(false, Ordering::Relaxed);
        let options = OptimizeOptions {
            stop: Some(stop.clone()),
            ..options(left, jobs)
        };
        study
            .optimize_with(options, |trial| objective(trial, &look))
            .unwrap();
        interrupted += usize::from(stop.load(Ordering::Relaxed));
    }
}

const MOMENTS: [(usize, usize); 7] = [(0, 0), (3, 1), (4, 5), (8, 3), (9, 0), (13, 4), (21, 2)];

fn compare(sampler: (&str, Arc<dyn Sampler>), pruner: (&str, Arc<dyn Pruner>), jobs: usize) {
    let through = undisturbed(sampler.1.clone(), pruner.1.clone(), jobs);
    let study = study(Arc::new(InMemoryStorage::new()), sampler.1, pruner.1);
    let interrupted = disturbed(&study, jobs, &MOMENTS);
    assert!(interrupted >= 3, "{interrupted}");
    let what = format!("{}, {}, {jobs} jobs", sampler.0, pruner.0);
    assert_eq!(results(&study), through, "{what}");
    let trials = study.trials().unwrap();
    assert_eq!(trials.len() - repeated(&trials).len(), TRIALS, "{what}");
}

#[test]
fn every_sampler_goes_on_where_it_was() {
    for jobs in [1, 2, 3] {
        for sampler in samplers() {
            compare(sampler, ("none", Arc::new(NopPruner)), jobs);
        }
    }
}

#[test]
fn every_pruner_goes_on_where_it_was() {
    for jobs in [1, 2] {
        for pruner in pruners() {
            for sampler in samplers().into_iter().take(2) {
                compare(sampler, pruner.clone(), jobs);
            }
        }
    }
}

#[test]
fn a_study_of_several_jobs_goes_on_where_it_was() {
    for sampler in samplers() {
        let through = undisturbed(sampler.1.clone(), Arc::new(NopPruner), 3);
        let study = study(
            Arc::new(InMemoryStorage::new()),
            sampler.1,
            Arc::new(NopPruner),
        );
        for part in [7, 1, 2, TRIALS - 10] {
            study
                .optimize_with(options(part, 3), |trial| objective(trial, &|_, _| Ok(())))
                .unwrap();
        }
        assert_eq!(results(&study), through, "{}", sampler.0);
    }
}

#[test]
fn an_interrupted_trial_waits_with_its_parameters() {
    let study = Study::builder("s", Arc::new(InMemoryStorage::new()))
        .heartbeat(HeartbeatConfig {
            max_retry: 0,
            ..HeartbeatConfig::default()
        })
        .create()
        .unwrap();
    study.enqueue([("x", 0.25)]).unwrap();
    study.enqueue([("x", 0.5)]).unwrap();
    for tries in 1..=3_usize {
        let run = study.optimize_with(options(10, 1), |trial| {
            assert_eq!(trial.ordinal(), 0);
            assert_eq!(trial.suggest_float("x", 0.0..=1.0)?, 0.25);
            trial.set_user_attr("note", "kept")?;
            trial.set_constraint("size", 1.0)?;
            trial.report(0, 1.0)?;
            Err::<f64, _>(ObjectiveError::Interrupted)
        });
        run.unwrap();
        let trials = study.trials().unwrap();
        assert_eq!(trials.len(), 2 + tries, "an interruption does not count");
        let failed = &trials[if tries == 1 { 0 } else { tries }];
        assert_eq!(failed.state, TrialState::Fail);
        let waiting = trials.last().unwrap();
        assert_eq!(waiting.state, TrialState::Waiting);
        assert_eq!(waiting.parameters, failed.parameters);
        assert_eq!(waiting.user_attrs["note"], "kept");
        assert_eq!(waiting.system_attrs["failed_trial"], 0);
        assert_eq!(
            waiting.system_attrs["retry_history"]
                .as_array()
                .unwrap()
                .len(),
            tries
        );
        assert!(waiting.intermediate_values.is_empty() && waiting.constraints().is_empty());
    }
    // The next in the queue comes after it, as it would have.
    let trial = study.ask().unwrap();
    assert_eq!((trial.ordinal(), trial.number()), (0, 4));
    let told = study.tell(&trial, Outcome::Interrupted).unwrap();
    assert_eq!(told.state, TrialState::Fail);
    let trial = study.ask().unwrap();
    assert_eq!((trial.ordinal(), trial.number()), (0, 5));
    study.tell(&trial, 1.0).unwrap();
    assert_eq!(study.ask().unwrap().ordinal(), 1);
    assert_eq!(study.ask().unwrap().ordinal(), 2);
}

#[test]
fn a_run_ends_only_when_the_others_have() {
    let is_waiting =
        |trials: &[Arc<FrozenTrial>]| trials.iter().any(|t| t.state == TrialState::Waiting);
    let study = Study::builder("s", Arc::new(InMemoryStorage::new()))
        .create()
        .unwrap();
    for parallelism in [btc_tune::Parallelism::Ordered, btc_tune::Parallelism::Free] {
        let before = study.trials().unwrap().len();
        let first = AtomicBool::new(true);
        let options = OptimizeOptions {
            parallelism,
            ..options(9, 2)
        };
        study
            .optimize_with(options, |trial| {
                if !first.swap(false, Ordering::Relaxed) {
                    return Err(ObjectiveError::Interrupted);
                }
                // Ends once the other trial is in the queue again.
                while !is_waiting(&trial.study().trials()?) {
                    std::thread::yield_now();
                }
                Ok(1.0)
            })
            .unwrap();
        let states: Vec<TrialState> = study.trials().unwrap()[before..]
            .iter()
            .map(|t| t.state)
            .collect();
        let count = |state| states.iter().filter(|s| **s == state).count();
        assert_eq!(count(TrialState::Complete), 1, "{states:?}");
        assert_eq!(count(TrialState::Fail), 1, "{states:?}");
        assert_eq!(count(TrialState::Waiting), 1, "{states:?}");
        let rest = study.ask().unwrap();
        study.tell(&rest, 0.0).unwrap();
    }
}

#[cfg(all(target_os = "linux", feature = "sqlite"))]
mod killed {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use btc_tune::storage_from_url;

    use super::*;

    /// Tell the process below where to work, and with how many jobs.
    const URL: &str = "BTC_TUNE_TEST_URL";
    const JOBS: &str = "BTC_TUNE_TEST_JOBS";
    /// At which ordinal and moment to wait for the end.
    const AT: &str = "BTC_TUNE_TEST_AT";

    fn open(url: &str) -> Study {
        let config = TpeConfig {
            n_startup_trials: 4,
            ..TpeConfig::default()
        };
        let median = PercentileConfig {
            n_startup_trials: 3,
            ..PercentileConfig::default()
        };
        study(
            storage_from_url(url).unwrap(),
            Arc::new(TpeSampler::with_config(5, config)),
            Arc::new(MedianPruner::new(median).unwrap()),
        )
    }

    /// Not a test of its own: the body of a process that is killed.
    #[test]
    #[ignore = "run by the test of killed processes"]
    fn worker() {
        let Some(url) = btc_testing::variable(URL) else {
            return;
        };
        let at = btc_testing::variable(AT).unwrap();
        let study = open(&url);
        let left = TRIALS - results(&study).len();
        let look = |trial: &Trial, moment: usize| {
            if format!("{} {moment}", trial.ordinal()) == at {
                println!("\nREACHED");
                loop {
                    std::thread::park();
                }
            }
            Ok(())
        };
        let jobs = btc_testing::variable(JOBS).unwrap().parse().unwrap();
        study
            .optimize_with(options(left, jobs), |trial| objective(trial, &look))
            .unwrap();
    }

    fn kill_at(url: &str, jobs: usize, (ordinal, moment): (usize, usize)) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "interrupted::killed::worker",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(URL, url)
            .env(JOBS, jobs.to_string())
            .env(AT, format!("{ordinal} {moment}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let reached = std::io::BufRead::lines(output).any(|line| line.unwrap() == "REACHED");
        assert!(reached, "the process gets to trial {ordinal}");
        // `kill` sends SIGKILL on Unix.
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn check(url: &str, jobs: usize) {
        let config = TpeConfig {
            n_startup_trials: 4,
            ..TpeConfig::default()
        };
        let median = PercentileConfig {
            n_startup_trials: 3,
            ..PercentileConfig::default()
        };
        let through = undisturbed(
            Arc::new(TpeSampler::with_config(5, config)),
            Arc::new(MedianPruner::new(median).unwrap()),
            jobs,
        );
        // Far enough apart that none has ended beside the one before.
        for at in [(0, 0), (5, 1), (12, 0), (14, 1)] {
            kill_at(url, jobs, at);
        }
        let study = open(url);
        // Before the first trial of a run, dead workers are found at once: no heartbeat is set.
        assert_eq!(disturbed(&study, jobs, &[(17, 1), (20, 0)]), 2);
        assert_eq!(results(&study), through, "{url}, {jobs} jobs");
        let trials = study.trials().unwrap();
        assert!(repeated(&trials).len() >= 6);
        assert!(trials.iter().all(|t| t.state.is_finished()));
    }

    fn url(folder: &Path, scheme: &str) -> String {
        format!("{scheme}:///{}", folder.join("study").display())
    }

    #[test]
    fn a_killed_process_loses_nothing() {
        for (jobs, scheme) in [(1, "sqlite"), (2, "sqlite"), (2, "journal")] {
            let dir = tempfile::tempdir().unwrap();
            check(&url(dir.path(), scheme), jobs);
        }
    }

    #[test]
    fn what_kills_its_worker_is_not_tried_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let url = url(dir.path(), "sqlite");
        for _ in 0..2 {
            kill_at(&url, 1, (2, 0));
        }
        let study = open(&url);
        study.fail_stale_trials().unwrap();
        let states: Vec<TrialState> = study.trials().unwrap().iter().map(|t| t.state).collect();
        use TrialState::{Complete, Fail};
        assert_eq!(states, [Complete, Complete, Fail, Fail]);
    }

    #[test]
    fn a_living_worker_keeps_its_trial() {
        let study = open("memory://");
        study
            .optimize_with(options(3, 1), |trial| {
                trial.study().fail_stale_trials()?;
                Ok(1.0)
            })
            .unwrap();
        let trials = study.trials().unwrap();
        assert!(trials.iter().all(|t| t.state == TrialState::Complete));
        // What was asked for belongs to no process: it may be told from another one.
        let asked = study.ask().unwrap();
        assert!(!asked.frozen().system_attrs.contains_key("btc:worker"));
    }
}
