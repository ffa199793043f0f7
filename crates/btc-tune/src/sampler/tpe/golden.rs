//! The estimator against what Optuna answered.

use std::sync::Arc;

use serde_json::Value;

use super::kernel::KernelConfig;
use super::normal::{log_density, log_mass, quantile};
use super::parzen::{Column, ParzenEstimator, ramp_weights};
use super::{gamma, split};
use crate::frozen::{FrozenTrial, StudyDirection, TrialId, TrialState};
use crate::golden::{assert_close, cases, float, floats, known, list};
use crate::storage::{NewTrial, codec};

#[test]
fn the_number_of_good_trials() {
    let cases = cases("tpe.json");
    known(
        &cases,
        &[
            "optuna",
            "gamma_single",
            "gamma_multi",
            "weights",
            "log_gauss_mass",
            "ppf",
            "logpdf",
            "parzen",
            "split",
        ],
    );
    for (key, objectives) in [("gamma_single", 1), ("gamma_multi", 2)] {
        for case in list(&cases, key) {
            let n = case[0].as_u64().unwrap() as usize;
            assert_eq!(
                gamma(n, objectives),
                case[1].as_u64().unwrap() as usize,
                "{key} {n}"
            );
        }
    }
}

#[test]
fn weights_of_observations() {
    for case in list(&cases("tpe.json"), "weights") {
        let n = case[0].as_u64().unwrap() as usize;
        let expected = floats(&case[1]);
        let actual = ramp_weights(n);
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(&expected) {
            assert_close(*a, *e, 1e-12, &format!("weights of {n}"));
        }
    }
}

#[test]
fn masses_and_quantiles_of_the_normal_distribution() {
    let cases = cases("tpe.json");
    for case in list(&cases, "log_gauss_mass") {
        let case = floats(case);
        let (actual, expected) = (log_mass(case[0], case[1]), case[2]);
        let relative = ((actual - expected) / expected).abs();
        assert!(actual == expected || relative < 1e-9, "{case:?}: {actual}");
    }
    for case in list(&cases, "ppf") {
        let case = floats(case);
        assert_close(
            quantile(case[0], case[1], case[2]),
            case[3],
            1e-7,
            &format!("{case:?}"),
        );
    }
    for case in list(&cases, "logpdf") {
        let [x, a, b, loc, scale, expected] = floats(case)[..] else {
            panic!("six numbers")
        };
        let z = (x - loc) / scale;
        let actual = if a <= z && z <= b {
            log_density(z) - log_mass(a, b) - scale.ln()
        } else {
            f64::NEG_INFINITY
        };
        assert_close(actual, expected, 1e-9, &format!("{case}"));
    }
}

#[test]
fn kernels_and_densities() {
    for case in list(&cases("tpe.json"), "parzen") {
        check_parzen(case);
    }
}

fn check_parzen(case: &Value) {
    known(
        case,
        &[
            "name",
            "space",
            "mixture_weights",
            "kernels",
            "x_internal",
            "log_pdf",
            "prior_weight",
            "magic_clip",
            "endpoints",
            "observations_internal",
        ],
    );
    let name = case["name"].as_str().unwrap();
    let space = case["space"].as_object().unwrap();
    let columns: Vec<Column> = space
        .iter()
        .map(|(param, distribution)| Column {
            distribution: Arc::new(
                codec::decode_distribution(&codec::encode_json(distribution)).unwrap(),
            ),
            values: floats(&case["observations_internal"][param]),
        })
        .collect();
    let count = columns[0].values.len();
    let expected_weights = floats(&case["mixture_weights"]);
    let config = KernelConfig {
        prior_weight: float(&case["prior_weight"]),
        magic_clip: case["magic_clip"].as_bool().unwrap(),
        endpoints: case["endpoints"].as_bool().unwrap(),
    };
    // Where the weights of observations are all equal they were given; otherwise they are the ramp.
    let equal = expected_weights[..count]
        .windows(2)
        .all(|pair| pair[0] == pair[1]);
    let weights = if equal {
        vec![1.0; count]
    } else {
        ramp_weights(count)
    };
    let estimator = ParzenEstimator::new(&columns, &weights, config);
    for (actual, expected) in estimator.weights().iter().zip(&expected_weights) {
        assert_close(*actual, *expected, 1e-12, &format!("{name}: weight"));
    }
    let mut ties = false;
    for (d, (param, _)) in space.iter().enumerate() {
        let kernels = &case["kernels"][param];
        known(kernels, &["mu", "sigma", "weights"]);
        match estimator.kernel_parameters(d) {
            Ok(pairs) => {
                let mut actual = pairs;
                let mut expected: Vec<(f64, f64)> = floats(&kernels["mu"])
                    .into_iter()
                    .zip(floats(&kernels["sigma"]))
                    .collect();
                ties |=
                    (1..count).any(|i| expected[..i].iter().any(|other| other.0 == expected[i].0));
                actual.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                for (a, e) in actual.iter().zip(&expected) {
                    assert_close(a.0, e.0, 1e-12, &format!("{name}: mu of {param}"));
                    assert_close(a.1, e.1, 1e-9, &format!("{name}: sigma of {param}"));
                }
            }
            Err(rows) => {
                for (row, expected) in rows.iter().zip(list(kernels, "weights")) {
                    for (a, e) in row.iter().zip(floats(expected)) {
                        assert_close(*a, e, 1e-9, &format!("{name}: probability of {param}"));
                    }
                }
            }
        }
    }
    let coordinates: Vec<Vec<f64>> = space
        .keys()
        .map(|param| floats(&case["x_internal"][param]))
        .collect();
    let points: Vec<Vec<f64>> = (0..coordinates[0].len())
        .map(|i| coordinates.iter().map(|column| column[i]).collect())
        .collect();
    // Equal observations may swap widths, which shows where they have different weights or partners.
    if ties && (!equal || space.len() > 1) {
        return;
    }
    for (actual, expected) in estimator
        .log_pdf(&points)
        .iter()
        .zip(floats(&case["log_pdf"]))
    {
        assert_close(*actual, expected, 1e-9, &format!("{name}: density"));
    }
}

#[test]
fn good_and_bad_trials() {
    for case in list(&cases("tpe.json"), "split") {
        known(
            case,
            &["name", "direction", "n_below", "trials", "below", "above"],
        );
        let trials: Vec<Arc<FrozenTrial>> = list(case, "trials")
            .iter()
            .enumerate()
            .map(|(number, trial)| Arc::new(frozen(number, trial)))
            .collect();
        let trials: Vec<&Arc<FrozenTrial>> = trials.iter().collect();
        let direction: StudyDirection = case["direction"].as_str().unwrap().parse().unwrap();
        let n_below = case["n_below"].as_u64().unwrap() as usize;
        let (below, above) = split::split(&trials, &[direction], n_below);
        let numbers = |key: &str| -> Vec<usize> {
            list(case, key)
                .iter()
                .map(|n| n.as_u64().unwrap() as usize)
                .collect()
        };
        assert_eq!(
            (below, above),
            (numbers("below"), numbers("above")),
            "{}",
            case["name"]
        );
    }
}

fn frozen(number: usize, case: &Value) -> FrozenTrial {
    let states = [
        TrialState::Running,
        TrialState::Complete,
        TrialState::Pruned,
        TrialState::Fail,
    ];
    known(case, &["state", "value", "intermediate", "constraints"]);
    let mut new = NewTrial::waiting();
    new.state = states
        .into_iter()
        .find(|s| case["state"] == s.as_str())
        .unwrap();
    new.values = case["value"].as_f64().into_iter().collect();
    new.intermediate_values = list(case, "intermediate")
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap(), float(&pair[1])))
        .collect();
    for (name, value) in case["constraints"].as_object().unwrap() {
        new.system_attrs
            .insert(format!("constraints:{name}"), value.clone());
    }
    new.freeze(TrialId(number as i64), number)
}
