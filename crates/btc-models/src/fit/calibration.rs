//! The widths of intervals and the validation figures of a network that was just trained.

use super::forecaster::Forecaster;
use super::windows::{End, Ends, PartWindows};
use crate::Result;
use crate::eval::metrics;
use crate::forecast::interval::{Conformal, ErrorScale, WARM_UP};

/// Training windows that the shape of intervals' scores is taken from.
const SHAPE_WINDOWS: usize = 365;

/// Takes the scores of intervals from the calibration windows, step by step, and the validation
/// figures from the validation windows.
///
/// The network's own scores are those of windows that neither training nor the choice of the epoch
/// has seen. They are too few to tell the tails, so the shape comes from the training windows as
/// well: from the scores of the last value there, which nothing was fitted to, scaled by how large
/// the network's errors are beside those of the last value in the calibration windows.
pub(super) fn calibrate(
    forecaster: &mut Forecaster,
    windows: &PartWindows<'_>,
    ends: &Ends,
    part: usize,
) -> Result<()> {
    let rows = |ends: &[End]| Ends::rows(ends, part);
    let steps = forecaster.manifest.config.steps();
    let (frame, series) = (windows.frame, &windows.series);
    let target = frame.target();
    let scale = ErrorScale::of(target);
    let spread = frame.spread();
    let points = |ends: &[usize]| -> Result<Vec<Vec<f64>>> {
        let points = |end: &usize| forecaster.points(series, *end, frame);
        ends.iter().map(points).collect()
    };
    let calibration_ends = rows(&ends.calibration);
    let calibration = points(&calibration_ends)?;
    let validation_ends = rows(&ends.validation);
    let validation = points(&validation_ends)?;
    let train = rows(&ends.train);
    let shape = &train[train.len().saturating_sub(SHAPE_WINDOWS)..];
    let mut conformal = Vec::with_capacity(windows.scalers.len());
    for (at, step) in steps.clone().enumerate() {
        // Rows at the start, whose variance rests on few changes, tell nothing.
        let score = |end: usize, point: f64, actual: f64| match WARM_UP <= end {
            true => spread.score(scale, end, step, point, actual),
            false => None,
        };
        let (mut own, mut error, mut naive) = (Vec::new(), 0.0, 0.0);
        for (&end, points) in calibration_ends.iter().zip(&calibration) {
            let (point, last, actual) = (points[at], target[end], windows.actual(end, step)?);
            own.extend(score(end, point, actual));
            let scale = spread.scale(scale, end, &[point, last, actual]);
            error += scale.difference(point, actual).abs();
            naive += scale.difference(last, actual).abs();
        }
        let ratio = match error / naive {
            ratio if ratio.is_finite() => ratio,
            _ => 1.0,
        };
        for &end in shape {
            let score = score(end, target[end], windows.actual(end, step)?);
            own.extend(score.map(|score| ratio * score));
        }
        conformal.push(Conformal::new(scale, own));
    }
    forecaster.manifest.set_conformal(conformal);

    let (mut actual, mut predicted, mut naive) = (vec![], vec![], vec![]);
    for (&end, points) in validation_ends.iter().zip(&validation) {
        for (step, point) in steps.clone().zip(points) {
            actual.push(windows.actual(end, step)?);
            predicted.push(*point);
            naive.push(target[end]);
        }
    }
    for (name, value) in [
        ("val_mape", metrics::mape(&actual, &predicted)),
        (
            "val_relative_mae",
            metrics::relative_mae(&actual, &predicted, &naive),
        ),
    ] {
        if value.is_finite() {
            forecaster.manifest.metrics.insert(name.to_owned(), value);
        }
    }
    Ok(())
}
