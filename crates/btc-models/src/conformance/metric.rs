//! The check of a metric.

use crate::backtest::MetricSpec;

/// Checks a metric for the contract of [`MetricSpec`]: the same values give the same figure, on
/// several threads as on one; their order does not matter; forecasts that are right do not have a
/// worse figure than forecasts that are not, by which of the two is better.
///
/// ```
/// use btc_models::{backtest::Metric, conformance};
///
/// conformance::check_metric(&"mape".parse::<Metric>()?);
/// # Ok::<(), btc_models::Error>(())
/// ```
///
/// # Panics
///
/// Panics if the metric breaks the contract.
pub fn check_metric(metric: &dyn MetricSpec) {
    let actual: Vec<f64> = (0..40).map(|i| 100.0 + f64::from(i * 37 % 11)).collect();
    let naive: Vec<f64> = (0..40).map(|i| 99.0 + f64::from(i * 17 % 13)).collect();
    // Half a step of the way is right in direction, and one that overshoots is not all the time.
    let near: Vec<f64> = actual
        .iter()
        .zip(&naive)
        .map(|(a, n)| 0.5 * (a + n))
        .collect();
    let far: Vec<f64> = (0..40).map(|i| 92.0 + f64::from(i * 29 % 31)).collect();
    for points in [&actual, &near, &far] {
        let figure = metric.evaluate(&actual, points, &naive);
        assert!(figure.is_finite(), "it is {figure} for ordinary values");
        for other in super::twice(|| metric.evaluate(&actual, points, &naive)) {
            assert_eq!(
                other.to_bits(),
                figure.to_bits(),
                "it is not the same each time"
            );
        }
        let turned = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
        let other = metric.evaluate(&turned(&actual), &turned(points), &turned(&naive));
        let near = (other - figure).abs() <= 1e-9 * figure.abs().max(1.0);
        assert!(near, "it depends on the order: {figure} and {other}");
    }
    let right = metric.evaluate(&actual, &actual, &naive);
    let wrong = metric.evaluate(&actual, &far, &naive);
    let better = match metric.lower_is_better() {
        true => right <= wrong,
        false => wrong <= right,
    };
    assert!(better, "right forecasts have {right}, wrong ones {wrong}");
}
