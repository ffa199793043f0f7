//! How far values are expected to move, row by row.

use super::interval::{DECAY, ErrorScale, WARM_UP};
use crate::series::SeriesFrame;

/// The running variance of a series' changes, both of logarithms and of the values.
///
/// A row's variances depend on the rows up to it alone. Those of logarithms end with the first
/// value that has none; from there on, changes and errors are measured in the values' own unit.
/// As scores are errors in units of the deviation expected, scores of both kinds compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread {
    log: Vec<f64>,
    absolute: Vec<f64>,
}

impl Spread {
    pub(crate) fn new(frame: &SeriesFrame) -> Self {
        let target = frame.target();
        let positive = target.iter().take_while(|value| 0.0 < **value).count();
        let steps = |row| frame.step_into(row);
        Self {
            log: running_variance(&target[..positive], ErrorScale::Log, steps),
            absolute: running_variance(target, ErrorScale::Absolute, steps),
        }
    }

    /// The scale on which what is between these values can be measured at a row: `preferred`, if
    /// all values up to the row and these have it.
    pub(crate) fn scale(&self, preferred: ErrorScale, row: usize, values: &[f64]) -> ErrorScale {
        let positive = row < self.log.len() && values.iter().all(|value| 0.0 < *value);
        match preferred {
            ErrorScale::Log if positive => ErrorScale::Log,
            _ => ErrorScale::Absolute,
        }
    }

    /// The variance of the next change as expected at a row.
    pub(crate) fn variance(&self, scale: ErrorScale, row: usize) -> f64 {
        match scale {
            ErrorScale::Log => self.log[row],
            ErrorScale::Absolute => self.absolute[row],
        }
    }

    /// The deviation expected at a row of the value `steps` later, and the scale that it is on.
    pub(crate) fn deviation(
        &self,
        preferred: ErrorScale,
        row: usize,
        steps: usize,
        values: &[f64],
    ) -> (ErrorScale, f64) {
        let scale = self.scale(preferred, row, values);
        (scale, (self.variance(scale, row) * steps as f64).sqrt())
    }

    /// The absolute error of `point` in units of the deviation that was expected at its origin;
    /// none if no deviation was.
    pub(crate) fn score(
        &self,
        preferred: ErrorScale,
        row: usize,
        steps: usize,
        point: f64,
        actual: f64,
    ) -> Option<f64> {
        let (scale, deviation) = self.deviation(preferred, row, steps, &[point, actual]);
        (0.0 < deviation).then(|| scale.difference(point, actual).abs() / deviation)
    }
}

/// For each row, the variance of the next change as expected from the changes up to that row.
///
/// It is the mean square of the changes until there are 30 of them, and an exponentially
/// weighted one from then on. Without any change it is 0. A change over several steps counts as
/// that of one.
fn running_variance(target: &[f64], scale: ErrorScale, steps: impl Fn(usize) -> i64) -> Vec<f64> {
    let mut variance = 0.0;
    let mut variances = Vec::with_capacity(target.len());
    for i in 0..target.len() {
        if 0 < i {
            let square = scale.difference(target[i - 1], target[i]).powi(2) / steps(i) as f64;
            if i <= WARM_UP {
                variance += (square - variance) / i as f64;
            } else {
                variance = DECAY * variance + (1.0 - DECAY) * square;
            }
        }
        variances.push(variance);
    }
    variances
}

/// As [`Spread`], for values that are a step apart, on one scale.
pub(crate) fn ewma_variance(target: &[f64], scale: ErrorScale) -> Vec<f64> {
    running_variance(target, scale, |_| 1)
}

#[cfg(test)]
mod tests {
    use crate::series::frame::tests::{daily_with_holes, frame};

    use super::*;

    #[test]
    fn the_running_variance_knows_no_later_change() {
        let target: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i * 37 % 11)).collect();
        let whole = ewma_variance(&target, ErrorScale::Log);
        for rows in 1..target.len() {
            assert_eq!(
                ewma_variance(&target[..rows], ErrorScale::Log),
                whole[..rows]
            );
        }
        assert_eq!(
            ewma_variance(&[1.0, 3.0, 2.0], ErrorScale::Absolute),
            [0.0, 4.0, 2.5]
        );
    }

    #[test]
    fn one_value_without_a_logarithm_leaves_the_others_finite() {
        let mut target: Vec<f64> = (0..80).map(|i| 50.0 + f64::from(i * 37 % 11)).collect();
        target[31] = -3.0;
        let spread = Spread::new(&frame(&[("y", target.clone())]));
        for (row, last) in target.iter().enumerate() {
            let (scale, deviation) = spread.deviation(ErrorScale::Log, row, 1, &[*last]);
            assert!(deviation.is_finite());
            assert_eq!(scale == ErrorScale::Log, row < 31);
        }
        // A point that is not positive is measured in the values' unit at any row.
        assert_eq!(
            spread.scale(ErrorScale::Log, 5, &[0.0]),
            ErrorScale::Absolute
        );
        assert!(
            spread
                .score(ErrorScale::Log, 30, 1, 50.0, -3.0)
                .unwrap()
                .is_finite()
        );
    }

    #[test]
    fn a_change_over_a_hole_counts_as_that_of_a_step() {
        // From 2 to 6 in four steps: a square of 16, or 4 a step.
        let spread = Spread::new(&daily_with_holes(&[1, 2, 6]));
        assert_eq!(spread.variance(ErrorScale::Absolute, 2), 2.5);
    }
}
