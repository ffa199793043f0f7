//! What the examples promise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../electricity/workflow.rs"]
mod electricity;

use chrono::TimeDelta;

#[test]
fn a_workflow_of_ones_own_forecasts_a_day_of_hours_with_quantiles() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let prediction = runtime
        .block_on(electricity::forecast(folder.path()))
        .unwrap();
    assert_eq!(prediction.model_type, "Affine");
    assert_eq!(prediction.steps.len(), 24);
    for (step, hours) in prediction.steps.iter().zip(1..) {
        let target = prediction.known_until + TimeDelta::hours(hours);
        assert_eq!((step.ahead as i64, step.target_time), (hours, Some(target)));
        let quantile = |level| prediction.quantile(level, step.ahead).unwrap();
        assert!(quantile(0.1) <= quantile(0.5) && quantile(0.5) <= quantile(0.9));
        assert!((20.0..90.0).contains(&step.point), "{}", step.point);
    }
    assert_eq!(
        Some(prediction.target_time),
        prediction.steps[23].target_time
    );
    assert_eq!(prediction.forecast, prediction.steps[23].point);
}

#[test]
fn the_workflow_of_ones_own_fits_on_a_screen() {
    let text = include_str!("../../electricity/workflow.rs");
    assert!(text.lines().count() < 60);
}
