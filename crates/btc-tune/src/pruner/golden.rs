//! The verdicts of each pruner against those of Optuna.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::frozen::{StudyDirection, StudyId, TrialId, TrialState};
use crate::golden::{assert_close, cases, float, known, list};
use crate::storage::NewTrial;

#[test]
fn verdicts() {
    let cases = cases("pruner.json");
    known(&cases, &["optuna", "cases"]);
    for case in list(&cases, "cases") {
        // Brackets and budgets are compared where Hyperband is.
        known(
            case,
            &[
                "name",
                "pruner",
                "direction",
                "study_name",
                "previous",
                "current",
                "expect",
                "rungs_written",
                "brackets",
                "n_brackets",
                "budgets",
                "max_resource",
            ],
        );
        known(&case["current"], &["number", "reports"]);
        check(case);
    }
}

fn check(case: &Value) {
    let name = &case["name"];
    let pruner = build(&case["pruner"]);
    let directions: [StudyDirection; 1] = [case["direction"].as_str().unwrap().parse().unwrap()];
    let mut trials: Vec<Arc<FrozenTrial>> = list(case, "previous")
        .iter()
        .map(|trial| Arc::new(frozen(trial)))
        .collect();
    let number = case["current"]["number"].as_u64().unwrap() as usize;
    let mut new = NewTrial::waiting();
    new.state = TrialState::Running;
    let mut current = new.freeze(TrialId(number as i64), number);
    for (report, expected) in list(&case["current"], "reports")
        .iter()
        .zip(list(case, "expect"))
    {
        current
            .intermediate_values
            .insert(report[0].as_u64().unwrap(), float(&report[1]));
        trials.push(Arc::new(current.clone()));
        let study = StudyView {
            id: StudyId(0),
            name: case["study_name"].as_str().unwrap(),
            directions: &directions,
            trials: &trials,
        };
        let verdict = pruner.prune(study, &current);
        assert_eq!(
            verdict.prune,
            expected.as_bool().unwrap(),
            "{name} at {report}"
        );
        current.system_attrs.extend(verdict.system_attrs);
        trials.pop();
    }
    let rungs = case["rungs_written"].as_object().unwrap();
    assert_eq!(
        current.system_attrs.len(),
        rungs.len(),
        "{name}: {:?}",
        current.system_attrs
    );
    for (key, value) in rungs {
        assert_close(float(&current.system_attrs[key]), float(value), 0.0, key);
    }
}

fn frozen(case: &Value) -> FrozenTrial {
    let states = [
        TrialState::Running,
        TrialState::Complete,
        TrialState::Pruned,
        TrialState::Fail,
    ];
    known(
        case,
        &["number", "state", "value", "intermediate", "system_attrs"],
    );
    let number = case["number"].as_u64().unwrap() as usize;
    let mut new = NewTrial::waiting();
    new.state = states
        .into_iter()
        .find(|s| case["state"] == s.as_str())
        .unwrap();
    new.values = Some(&case["value"])
        .filter(|v| !v.is_null())
        .map(float)
        .into_iter()
        .collect();
    new.intermediate_values = list(case, "intermediate")
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap(), float(&pair[1])))
        .collect();
    new.system_attrs = case["system_attrs"].as_object().unwrap().clone();
    new.freeze(TrialId(number as i64), number)
}

fn build(case: &Value) -> Box<dyn Pruner> {
    known(case, &["kind", "params"]);
    let params = &case["params"];
    let steps = ["n_warmup_steps", "interval_steps"];
    let compared = ["n_startup_trials", "n_min_trials"];
    let read: Vec<&str> = match case["kind"].as_str().unwrap() {
        "median" => [steps, compared].concat(),
        "percentile" => [&steps[..], &compared, &["percentile"]].concat(),
        "sha" => vec![
            "min_resource",
            "reduction_factor",
            "min_early_stopping_rate",
            "bootstrap_count",
        ],
        "hyperband" => vec![
            "min_resource",
            "max_resource",
            "reduction_factor",
            "bootstrap_count",
        ],
        "threshold" => [&steps[..], &["lower", "upper"]].concat(),
        "patient" => vec!["wrapped", "patience", "min_delta"],
        "wilcoxon" => vec!["p_threshold", "n_startup_steps"],
        _ => Vec::new(),
    };
    known(params, &read);
    let int = |key: &str, default: u64| params[key].as_u64().unwrap_or(default);
    let number = |key: &str, default: f64| match &params[key] {
        Value::Null => default,
        value => float(value),
    };
    let percentile = PercentileConfig {
        n_startup_trials: int("n_startup_trials", 5) as usize,
        n_warmup_steps: int("n_warmup_steps", 0),
        interval_steps: int("interval_steps", 1),
        n_min_trials: int("n_min_trials", 1) as usize,
        pruned: PrunedTrials::LeftOut,
    };
    match case["kind"].as_str().unwrap() {
        "median" => Box::new(MedianPruner::new(percentile).unwrap()),
        "percentile" => {
            Box::new(PercentilePruner::new(float(&params["percentile"]), percentile).unwrap())
        }
        "sha" => Box::new(
            SuccessiveHalvingPruner::new(SuccessiveHalvingConfig {
                min_resource: params["min_resource"].as_u64(),
                reduction_factor: int("reduction_factor", 4),
                min_early_stopping_rate: int("min_early_stopping_rate", 0) as u32,
                bootstrap_count: int("bootstrap_count", 0) as usize,
            })
            .unwrap(),
        ),
        "hyperband" => Box::new(
            HyperbandPruner::new(HyperbandConfig {
                min_resource: int("min_resource", 1),
                max_resource: params["max_resource"].as_u64(),
                reduction_factor: int("reduction_factor", 3),
                bootstrap_count: int("bootstrap_count", 0) as usize,
            })
            .unwrap(),
        ),
        "threshold" => {
            let (lower, upper) = (
                number("lower", f64::NEG_INFINITY),
                number("upper", f64::INFINITY),
            );
            Box::new(
                ThresholdPruner::new(lower, upper)
                    .unwrap()
                    .with_warmup_steps(percentile.n_warmup_steps)
                    .with_interval_steps(percentile.interval_steps),
            )
        }
        "patient" => {
            let patient = PatientPruner::new(int("patience", 0) as usize)
                .with_min_delta(number("min_delta", 0.0))
                .unwrap();
            match &params["wrapped"] {
                Value::Null => Box::new(patient),
                wrapped => Box::new(patient.with_wrapped(Boxed(build(wrapped)))),
            }
        }
        "wilcoxon" => {
            let steps = int("n_startup_steps", 2) as usize;
            Box::new(WilcoxonPruner::new(number("p_threshold", 0.1), steps).unwrap())
        }
        other => panic!("no pruner is called {other}"),
    }
}

#[derive(Debug)]
struct Boxed(Box<dyn Pruner>);

impl Pruner for Boxed {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        self.0.prune(study, trial)
    }
}
