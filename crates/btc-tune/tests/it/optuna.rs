//! The real Optuna reads and continues what we write, and we what it writes.
//!
//! The interpreter is `BTC_PYTHON`, else `python3`. Without Optuna the tests are skipped, unless
//! `BTC_REQUIRE` names it.

use std::path::Path;
use std::sync::Arc;

use btc_testing::python_with;
use btc_tune::{
    CategoricalDistribution, Choice, Distribution, FloatDistribution, FrozenTrial, IntDistribution,
    ObjectiveError, Outcome, Storage, Study, StudyDirection, TpeConfig, TpeSampler, Trial,
    TrialState, storage_from_url,
};
use serde_json::{Value, json};

/// Runs a command of the bridge, in a zone other than UTC so that mixed-up times are noticed.
fn bridge(args: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/optuna_bridge.py");
    let output = python_with("optuna")
        .expect("the caller has asked for it")
        .arg(script)
        .args(args)
        .env("TZ", "XXX-9")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// A trial in the form the bridge prints.
fn dumped(trial: &FrozenTrial) -> Value {
    let bits = |value: &f64| value.to_bits();
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
        time.map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    };
    json!({
        "number": trial.number,
        "state": trial.state.as_str(),
        "values": trial.values.iter().map(bits).collect::<Vec<_>>(),
        "params": trial.params().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        "intermediate_values":
            trial.intermediate_values.iter().map(|(s, v)| json!([s, bits(v)])).collect::<Vec<_>>(),
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "start": time(trial.datetime_start),
        "complete": time(trial.datetime_complete),
    })
}

/// Compares a study, trial by trial and field by field, with what Optuna reads from the same place.
fn assert_same(url: &str, name: &str) {
    let theirs = bridge(&["dump", url, name]);
    let storage = storage_from_url(url).unwrap();
    let study = Study::builder(name, storage).load().unwrap();
    let trials = study.trials().unwrap();
    assert_eq!(theirs["trials"].as_array().unwrap().len(), trials.len());
    for (trial, their) in trials.iter().zip(theirs["trials"].as_array().unwrap()) {
        let mut their = their.clone();
        let distributions = their
            .as_object_mut()
            .unwrap()
            .remove("distributions")
            .unwrap();
        assert_eq!(dumped(trial), their, "trial {}", trial.number);
        for ((name, ours), theirs) in trial.distributions().zip(distributions.as_array().unwrap()) {
            assert_eq!(theirs[0], name);
            assert_eq!(
                described(ours),
                serde_json::from_str::<Value>(theirs[1].as_str().unwrap()).unwrap()
            );
        }
    }
    let directions: Vec<String> = study
        .directions()
        .iter()
        .map(|d| d.to_string().to_uppercase())
        .collect();
    assert_eq!(json!(directions), theirs["directions"]);
    assert_eq!(json!(study.user_attrs().unwrap()), theirs["user_attrs"]);
    if directions.len() == 1 {
        assert_eq!(
            json!(study.best_trial().ok().map(|t| t.number)),
            theirs["best"]
        );
    }
    let numbers: Vec<usize> = study
        .best_trials()
        .unwrap()
        .iter()
        .map(|t| t.number)
        .collect();
    if directions.len() > 1 {
        assert_eq!(json!(numbers), theirs["best_trials"]);
    }
}

/// A distribution in the form Optuna writes.
fn described(distribution: &Distribution) -> Value {
    match distribution {
        Distribution::Float(d) => json!({"name": "FloatDistribution", "attributes": {
            "step": d.step(), "low": d.low(), "high": d.high(), "log": d.is_log()}}),
        Distribution::Int(d) => json!({"name": "IntDistribution", "attributes": {
            "log": d.is_log(), "step": d.step(), "low": d.low(), "high": d.high()}}),
        Distribution::Categorical(d) => json!({"name": "CategoricalDistribution", "attributes": {
            "choices": d.choices().iter().map(Choice::to_json).collect::<Vec<_>>()}}),
    }
}

fn choices() -> CategoricalDistribution {
    CategoricalDistribution::new([
        Choice::from("a"),
        Choice::Null,
        Choice::Bool(true),
        Choice::Int(3),
        Choice::Float(2.5),
    ])
    .unwrap()
}

/// The objective of the bridge.
fn objective(trial: &mut Trial) -> Result<f64, ObjectiveError> {
    let x = trial.suggest_float("x", -5.0..=5.0)?;
    let rate = trial.suggest_float("lr", FloatDistribution::log(1e-5, 1.0)?)?;
    let n = trial.suggest_int("n", IntDistribution::stepped(1, 9, 2)?)?;
    let c = trial.suggest("c", choices())?;
    trial.set_user_attr("seen", json!([x, null]))?;
    trial.report(0, x)?;
    match trial.number() {
        number if number % 5 == 3 => Err(ObjectiveError::Pruned),
        number if number % 7 == 6 => Err("on purpose".into()),
        _ => Ok(x * x + n as f64 + f64::from(u8::from(c == "a")) + rate.abs()),
    }
}

fn run(url: &str, name: &str, n: usize) {
    let config = TpeConfig {
        n_startup_trials: 5,
        ..TpeConfig::default()
    };
    let study = Study::builder(name, storage_from_url(url).unwrap())
        .sampler(TpeSampler::with_config(2, config))
        .load_if_exists(true)
        .create()
        .unwrap();
    let options = btc_tune::OptimizeOptions {
        n_trials: Some(n),
        on_failure: btc_tune::OnFailure::Continue,
        ..Default::default()
    };
    study.optimize_with(options, objective).unwrap();
}

/// A study with every state and kind of value.
fn write_everything(url: &str, name: &str) {
    let study = Study::builder(name, storage_from_url(url).unwrap())
        .direction(StudyDirection::Maximize)
        .create()
        .unwrap();
    study
        .set_user_attr("note", json!({"deep": [1, null, "é"]}))
        .unwrap();
    study.set_metric_names(&["score"]).unwrap();
    for (value, step) in [
        (f64::INFINITY, 0),
        (-2.5, 1),
        (f64::NEG_INFINITY, 2),
        (1e-5, 3),
    ] {
        let mut trial = study.ask().unwrap();
        trial
            .suggest_float("f", FloatDistribution::stepped(0.0, 1.0, 0.25).unwrap())
            .unwrap();
        trial
            .suggest_float("l", FloatDistribution::log(1e-5, 1.0).unwrap())
            .unwrap();
        trial
            .suggest_int("i", IntDistribution::log(1, 1024).unwrap())
            .unwrap();
        trial.suggest("c", choices()).unwrap();
        for (k, report) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2]
            .into_iter()
            .enumerate()
        {
            trial.report(step + k as u64 * 1000, report).unwrap();
        }
        trial
            .set_user_attr(
                "u",
                json!({"text": "é\"\n\u{1F600}", "list": [1, 2.5, null]}),
            )
            .unwrap();
        trial.set_system_attr("s", "t").unwrap();
        study.tell(&trial, value).unwrap();
    }
    let mut violated = study.ask().unwrap();
    violated.set_constraint("size", 1.5).unwrap();
    study.tell(&violated, 1e300).unwrap();
    let mut pruned = study.ask().unwrap();
    pruned.report(4, 7.0).unwrap();
    study.tell(&pruned, Outcome::Pruned).unwrap();
    let pruned = study.ask().unwrap();
    study.tell(&pruned, Outcome::Pruned).unwrap();
    let failed = study.ask().unwrap();
    study.tell(&failed, Outcome::Failed).unwrap();
    study
        .enqueue([("f", json!(0.5)), ("c", Value::Null)])
        .unwrap();
    let _waiting_became_running = study.ask().unwrap();
    study.enqueue([("f", json!(0.25))]).unwrap();
}

fn states(url: &str, name: &str) -> Vec<TrialState> {
    let study = Study::builder(name, storage_from_url(url).unwrap())
        .load()
        .unwrap();
    study.trials().unwrap().iter().map(|t| t.state).collect()
}

/// Runs a test for each kind of file.
fn for_each_storage(test: impl Fn(&str)) {
    if python_with("optuna").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    test(&format!("journal:///{path}/studies.log"));
    if cfg!(feature = "sqlite") {
        test(&format!("sqlite:///{path}/studies.db"));
    }
}

#[test]
fn optuna_reads_what_we_write() {
    for_each_storage(|url| {
        write_everything(url, "ours é");
        assert_same(url, "ours é");
    });
}

#[test]
fn we_read_what_optuna_writes() {
    for_each_storage(|url| {
        bridge(&["write", url, "theirs é"]);
        assert_same(url, "theirs é");
        let states = states(url, "theirs é");
        assert!(states.contains(&TrialState::Waiting) && states.contains(&TrialState::Running));
    });
}

#[test]
fn both_continue_the_study_of_the_other_in_turn() {
    for_each_storage(|url| {
        run(url, "shared", 12);
        bridge(&["run", url, "shared", "12"]);
        assert_same(url, "shared");
        run(url, "shared", 12);
        bridge(&["run", url, "shared", "6"]);
        assert_same(url, "shared");
        assert_eq!(states(url, "shared").len(), 42);
    });
}

#[test]
fn what_was_interrupted_is_read_and_goes_on() {
    for_each_storage(|url| {
        let study = Study::builder("broken off", storage_from_url(url).unwrap())
            .sampler(TpeSampler::new(2))
            .create()
            .unwrap();
        for n_trials in [3, 2] {
            let options = btc_tune::OptimizeOptions {
                n_trials: Some(n_trials),
                ..Default::default()
            };
            let run = study.optimize_with(options, |trial| {
                let value = objective(trial)?;
                if trial.number() == 2 || trial.number() == 4 {
                    return Err(ObjectiveError::Interrupted);
                }
                Ok(value)
            });
            run.unwrap();
            assert_same(url, "broken off");
        }
        let waiting = study.trials().unwrap()[5].clone();
        assert_eq!(waiting.state, TrialState::Waiting);
        drop(study);
        // Optuna takes the trial from the queue with the values it had.
        bridge(&["run", url, "broken off", "2"]);
        assert_same(url, "broken off");
        let study = Study::builder("broken off", storage_from_url(url).unwrap())
            .load()
            .unwrap();
        let taken = study.trials().unwrap()[5].clone();
        assert_eq!(taken.state, TrialState::Complete);
        assert_eq!(taken.parameters, waiting.parameters);
    });
}

#[test]
fn several_objectives_and_constraints_mean_the_same() {
    for_each_storage(|url| {
        let storage: Arc<dyn Storage> = storage_from_url(url).unwrap();
        let study = Study::builder("two", storage)
            .directions([StudyDirection::Minimize, StudyDirection::Maximize])
            .create()
            .unwrap();
        study
            .optimize(std::num::NonZeroUsize::new(40).unwrap(), |trial| {
                let x = trial.suggest_float("x", 0.0..=5.0)?;
                let y = trial.suggest_int("y", 0..=3)? as f64;
                trial.set_constraint("sum", x + y - 4.0)?;
                Ok([x * x + y, x - y])
            })
            .unwrap();
        drop(study);
        assert_same(url, "two");
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn the_dashboard_shows_our_study() {
    if python_with("optuna").is_none() {
        return;
    }
    if python_with("optuna_dashboard").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}/studies.db", dir.path().display());
    write_everything(&url, "shown");
    let answer = bridge(&["dashboard", &url, "shown"]);
    assert_eq!(answer["summary"]["directions"], json!(["maximize"]));
    let trials = answer["study"]["trials"].as_array().unwrap();
    let states: Vec<&str> = trials
        .iter()
        .map(|t| t["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "Complete", "Complete", "Complete", "Complete", "Complete", "Pruned", "Pruned", "Fail",
            "Running", "Waiting"
        ]
    );
    assert_eq!(trials[1]["params"].as_array().unwrap().len(), 4);
}

#[test]
fn importances_are_those_of_optuna() {
    if python_with("optuna").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let url = format!("journal:///{}/studies.log", dir.path().display());
    let study = Study::builder("i", storage_from_url(&url).unwrap())
        .sampler(btc_tune::RandomSampler::new(4))
        .create()
        .unwrap();
    study
        .optimize(std::num::NonZeroUsize::new(150).unwrap(), |trial| {
            let x = trial.suggest_float("x", -5.0..=5.0)?;
            let rate = trial.suggest_float("lr", FloatDistribution::log(1e-5, 1.0)?)?;
            let n = trial.suggest_int("n", IntDistribution::stepped(1, 9, 2)?)?;
            let u = trial.suggest_int("u", IntDistribution::log(1, 200)?)?;
            let c = trial.suggest_categorical("c", &["a", "b", "c"])?;
            let mut value = x * x + (rate.log10() + 3.0).powi(2) + 0.3 * n as f64 + (u as f64).ln();
            if c == "b" {
                value += 8.0 * trial.suggest_float("only b", 0.0..=1.0)?;
            }
            Ok(value)
        })
        .unwrap();
    let theirs = bridge(&["importance", &url, "i"]);
    let compare = |key: &str, evaluator: btc_tune::ImportanceEvaluator, tolerance: f64| {
        let Some(theirs) = theirs.get(key).and_then(Value::as_object) else {
            return;
        };
        let ours = study.param_importances(evaluator, None).unwrap();
        assert_eq!(ours.len(), theirs.len(), "{key}");
        for (name, value) in &ours {
            let their = theirs[name].as_f64().unwrap();
            assert!(
                (value - their).abs() < tolerance,
                "{key} of {name}: {value} instead of {their}"
            );
        }
    };
    use btc_tune::ImportanceEvaluator::{Fanova, MeanDecreaseImpurity, PedAnova};
    compare(
        "ped",
        PedAnova {
            target_quantile: 0.1,
            region_quantile: 1.0,
        },
        1e-9,
    );
    compare(
        "ped_region",
        PedAnova {
            target_quantile: 0.2,
            region_quantile: 0.7,
        },
        1e-9,
    );
    // Forests are random, and ours splits categories itself instead of columns made of them.
    compare("fanova", Fanova { trees: 64, seed: 1 }, 0.08);
    compare("mdi", MeanDecreaseImpurity { trees: 64, seed: 1 }, 0.08);
}
