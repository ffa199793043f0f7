//! The check of a model.

use crate::forecast::{FitContext, FittedModel, Forecast, Model};
use crate::series::SeriesFrame;

/// Checks a model for the contract of [`Model`] and [`FittedModel`]: the same arguments give the
/// same forecasts, on several threads as on one; a forecast does not change if later rows do or
/// are taken away, or if others are made with it; there is one for each origin, with finite
/// values, up to the horizon; without [`is_random`](Model::is_random) the seed makes no
/// difference.
///
/// `frame` is one that the model can be fitted to the first half of.
///
/// ```
/// use btc_models::{Baseline, SeriesFrame, conformance};
/// use chrono::{DateTime, Days};
///
/// let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
/// let days = (0..160).map(|day| start + Days::new(day)).collect();
/// let close = (0..160).map(|day| 100.0 + f64::from(day * 37 % 11)).collect();
/// let frame = SeriesFrame::new(days, [("close", close)], "close")?;
/// conformance::check_model(&Baseline::Ridge, &frame);
/// # Ok::<(), btc_models::Error>(())
/// ```
///
/// # Panics
///
/// Panics if the model breaks the contract, or fails.
pub fn check_model(model: &dyn Model, frame: &SeriesFrame) {
    assert!(!model.name().is_empty(), "the model has no name");
    let half = frame.rows() / 2;
    let Ok(training) = frame.slice(0..half) else {
        panic!("half of the rows are inside the frame");
    };
    let fit = |seed: u64, horizon: usize| -> Box<dyn FittedModel> {
        match model.fit(&training, &FitContext::new(horizon, seed)) {
            Ok(fitted) => fitted,
            Err(error) => panic!("it cannot be fitted to {half} rows: {error}"),
        }
    };
    let last = frame.rows() - 4;
    let origins = half..last;
    for horizon in [1, 3] {
        let fitted = fit(7, horizon);
        let all = forecast(&*fitted, frame, origins.clone());
        assert_eq!(
            all.len(),
            origins.len(),
            "there is one forecast for each origin"
        );
        for (origin, expected) in origins.clone().zip(&all) {
            assert_eq!(expected.horizon(), horizon, "the last step is the horizon");
            assert_eq!(
                expected.known_until(),
                frame.known_at()[origin],
                "row {origin}"
            );
            assert!(
                expected.point().is_finite(),
                "the forecast from row {origin} is not finite"
            );
        }
        for origin in [half, (half + last) / 2, last - 1] {
            let expected = &all[origin - half];
            let alone = forecast(&*fitted, frame, origin..origin + 1);
            assert_eq!(
                alone[0], *expected,
                "row {origin} alone is another forecast"
            );
            let cut = frame.slice(0..origin + 1).ok();
            let changed = frame.changed_after(origin, |x| 1.7 * x).ok();
            for other in [cut, changed].into_iter().flatten() {
                let found = forecast(&*fitted, &other, origin..origin + 1);
                assert_eq!(found[0], *expected, "row {origin} depends on later rows");
            }
        }
        let again = std::thread::scope(|scope| {
            let work = || forecast(&*fit(7, horizon), frame, origins.clone());
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().ok())
        });
        for found in again {
            assert_eq!(found.as_ref(), Some(&all), "another fit is another model");
        }
        if !model.is_random() {
            let other = forecast(&*fit(8, horizon), frame, origins.clone());
            assert_eq!(
                other, all,
                "the seed makes a difference, but it is not random"
            );
        }
    }
}

fn forecast(
    model: &dyn FittedModel,
    frame: &SeriesFrame,
    origins: std::ops::Range<usize>,
) -> Vec<Forecast> {
    match model.forecast_at(frame, origins.clone()) {
        Ok(forecasts) => forecasts,
        Err(error) => panic!("it cannot forecast from rows {origins:?}: {error}"),
    }
}
