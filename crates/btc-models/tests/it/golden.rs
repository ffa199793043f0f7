//! Losses, tests and metrics against PyTorch, SciPy, statsmodels and scikit-learn.

use btc_models::Loss;
use btc_models::metrics::{self, DirectionCount};
use btc_models::stats::{diebold_mariano, direction_p_value, holm};

use crate::vectors::{assert_near, number, numbers, read};

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

#[test]
fn losses_and_their_gradients_equal_those_of_pytorch() {
    for case in read("torch.json")["losses"].as_array().unwrap() {
        let loss: Loss = serde_json::from_value(case["loss"].clone()).unwrap();
        let (value, gradient) = loss.evaluate(
            &singles(&numbers(&case["predictions"])),
            &singles(&numbers(&case["targets"])),
        );
        assert_near(&[value], &[number(&case["value"])], 1e-10, "value");
        let gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        assert_near(
            &gradient,
            &numbers(&case["gradient"]),
            1e-6,
            &format!("{loss:?}"),
        );
    }
}

#[test]
fn tests_of_forecasts_equal_those_of_scipy_and_statsmodels() {
    let cases = read("statistics.json");
    for case in cases["diebold_mariano"].as_array().unwrap() {
        let horizon = case["horizon"].as_u64().unwrap() as usize;
        let found =
            diebold_mariano(&numbers(&case["losses"]), &numbers(&case["other"]), horizon).unwrap();
        let expected = [number(&case["statistic"]), number(&case["p_value"])];
        assert_near(
            &[found.statistic, found.p_value],
            &expected,
            1e-9,
            "Diebold-Mariano",
        );
    }
    for case in cases["binomial"].as_array().unwrap() {
        let count = |name: &str| case[name].as_u64().unwrap() as usize;
        let count = DirectionCount {
            hits: count("hits"),
            total: count("total"),
        };
        let p = direction_p_value(count).unwrap();
        let error = (p / number(&case["p_value"]) - 1.0).abs();
        assert!(error < 1e-9, "{count:?}: {p}");
    }
    let adjusted = holm(&numbers(&cases["holm"]["p_values"]));
    assert_near(
        &adjusted,
        &numbers(&cases["holm"]["adjusted"]),
        1e-12,
        "Holm",
    );
}

#[test]
fn metrics_equal_those_of_scikit_learn() {
    let case = &read("statistics.json")["metrics"];
    let (actual, predicted) = (numbers(&case["actual"]), numbers(&case["predicted"]));
    for (name, metric) in [
        ("mae", metrics::mae as fn(&[f64], &[f64]) -> f64),
        ("rmse", metrics::rmse),
        ("mape", metrics::mape),
    ] {
        assert_near(
            &[metric(&actual, &predicted)],
            &[number(&case[name])],
            1e-12,
            name,
        );
    }
    for (quantile, expected) in case["pinball"].as_object().unwrap() {
        let loss = Loss::Pinball {
            quantiles: vec![quantile.parse().unwrap()],
        };
        let (value, _) = loss.evaluate(&singles(&predicted), &singles(&actual));
        assert_near(&[value], &[number(expected)], 1e-5, "pinball");
    }
}

#[test]
fn a_difference_that_is_always_the_same_cannot_be_tested() {
    assert_eq!(diebold_mariano(&[1.0; 9], &[2.0; 9], 1), None);
    assert_eq!(diebold_mariano(&[1.0, 2.0], &[2.0, 1.0], 1), None);
    assert_eq!(direction_p_value(DirectionCount::default()), None);
}
