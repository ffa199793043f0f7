//! Losses, tests and metrics against PyTorch, SciPy, statsmodels and scikit-learn.

use btc_models::Loss;
use btc_models::metrics::{self, DirectionCount};
use btc_models::stats::{diebold_mariano, direction_p_value, holm};

use crate::vectors::{LossCase, Torch, assert_near, exactly, statistics, torch};

#[test]
fn losses_and_their_gradients_equal_those_of_pytorch() {
    for case in torch().losses {
        let loss: Loss = exactly(&case.loss);
        let (value, gradient) = loss.evaluate(&case.predictions, &case.targets);
        assert_near(&[value], &[case.value], 1e-10, "value");
        let gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        assert_near(&gradient, &case.gradient, 1e-6, &format!("{loss:?}"));
    }
}

#[test]
fn tests_of_forecasts_equal_those_of_scipy_and_statsmodels() {
    let cases = statistics();
    for case in cases.diebold_mariano {
        let found = diebold_mariano(&case.losses, &case.other, case.horizon).unwrap();
        assert_near(
            &[found.statistic, found.p_value],
            &[case.statistic, case.p_value],
            1e-9,
            "Diebold-Mariano",
        );
    }
    for case in cases.binomial {
        let count = DirectionCount {
            hits: case.hits,
            total: case.total,
        };
        let p = direction_p_value(count).unwrap();
        let error = (p / case.p_value - 1.0).abs();
        assert!(error < 1e-9, "{count:?}: {p}");
    }
    let adjusted = holm(&cases.holm.p_values);
    assert_near(&adjusted, &cases.holm.adjusted, 1e-12, "Holm");
}

#[test]
fn metrics_equal_those_of_scikit_learn() {
    let case = statistics().metrics;
    let (actual, predicted) = (&case.actual, &case.predicted);
    for (name, found, expected) in [
        ("mae", metrics::mae(actual, predicted), case.mae),
        ("rmse", metrics::rmse(actual, predicted), case.rmse),
        ("mape", metrics::mape(actual, predicted), case.mape),
    ] {
        assert_near(&[found], &[expected], 1e-12, name);
    }
    let singles = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    for (quantile, expected) in case.pinball {
        let loss = Loss::Pinball {
            quantiles: vec![quantile.parse().unwrap()],
        };
        let (value, _) = loss.evaluate(&singles(predicted), &singles(actual));
        assert_near(&[value], &[expected], 1e-5, "pinball");
    }
}

#[test]
#[should_panic(expected = "nobody reads [\"reduction\"]")]
fn a_setting_that_nobody_reads_is_refused() {
    exactly::<Loss>(&serde_json::json!({"type": "huber", "delta": 0.7, "reduction": "sum"}));
}

#[test]
fn a_key_that_nobody_reads_is_refused() {
    let whole = r#"{"losses": [], "optimizers": [], "recurrent": []}"#;
    assert!(serde_json::from_str::<Torch>(whole).is_ok());
    let more = whole.replace('}', r#", "schedules": []}"#);
    assert!(serde_json::from_str::<Torch>(&more).is_err());
    let case = r#"{"loss": {"type": "mse"}, "predictions": [], "targets": [], "value": 0.0,
        "gradient": [], "weight": 2.0}"#;
    assert!(serde_json::from_str::<LossCase>(case).is_err());
}

#[test]
fn a_difference_that_is_always_the_same_cannot_be_tested() {
    assert_eq!(diebold_mariano(&[1.0; 9], &[2.0; 9], 1), None);
    assert_eq!(diebold_mariano(&[1.0, 2.0], &[2.0, 1.0], 1), None);
    assert_eq!(direction_p_value(DirectionCount::default()), None);
}
