//! Forecasts shrunk towards naive.

use crate::forecast::interval::ErrorScale;
use crate::forecast::{Forecast, Quantiles};

/// Past forecasts without which a combination stays with naive.
const COMBINE_AFTER: usize = 10;

/// Shrinks forecasts towards naive by the weight that was best for those whose outcome was known
/// at each origin. Until there are a few of them, the weight is 0.
pub(super) fn shrink(
    own: &[Forecast],
    actual: &[f64],
    scale: ErrorScale,
    horizon: usize,
) -> Vec<Forecast> {
    let moves: Vec<(f64, f64)> = own
        .iter()
        .zip(actual)
        .map(|(forecast, actual)| {
            let to = |to| scale.difference(forecast.naive(), to);
            (to(forecast.point()), to(*actual))
        })
        .collect();
    own.iter()
        .enumerate()
        .map(|(at, forecast)| {
            let known = &moves[..(at + 1).saturating_sub(horizon)];
            let product: f64 = known.iter().map(|(f, a)| f * a).sum();
            let square: f64 = known.iter().map(|(f, _)| f * f).sum();
            // As if a few more forecasts had been of no use.
            let prior = square * 20.0 / known.len().max(1) as f64;
            let weight = match known.len() {
                few if few < COMBINE_AFTER => 0.0,
                _ if square == 0.0 => 0.0,
                _ => (product / (square + prior)).clamp(0.0, 1.0),
            };
            let point = scale.shift(forecast.naive(), weight * moves[at].0);
            let by = scale.difference(forecast.point(), point);
            forecast.clone().map_steps(|mut step| {
                let knots = step.quantiles.knots().iter();
                let moved = knots.map(|(level, value)| (*level, scale.shift(*value, by)));
                step.quantiles = Quantiles::new(moved);
                step.point = scale.shift(step.point, by);
                step
            })
        })
        .collect()
}
