//! Measures of point forecasts.
//!
//! Every function takes the actual values first and panics if the slices differ in length.
//! A pair with a NaN makes the result NaN.

fn pairs<'a>(actual: &'a [f64], predicted: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(
        actual.len(),
        predicted.len(),
        "actual and predicted values differ in number"
    );
    actual.iter().copied().zip(predicted.iter().copied())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// Returns the mean absolute percentage error, in percent.
///
/// Pairs whose actual value is zero are skipped; without any other pair the result is NaN.
///
/// ```
/// # use btc_models::metrics::mape;
/// assert_eq!(mape(&[100.0, 0.0], &[90.0, 3.0]), 10.0);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn mape(actual: &[f64], predicted: &[f64]) -> f64 {
    let nonzero = pairs(actual, predicted).filter(|(actual, _)| *actual != 0.0);
    100.0 * mean(nonzero.map(|(actual, predicted)| ((actual - predicted) / actual).abs()))
}

/// Returns the mean absolute error; NaN without pairs.
///
/// ```
/// # use btc_models::metrics::mae;
/// assert_eq!(mae(&[1.0, 2.0], &[2.0, 4.0]), 1.5);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn mae(actual: &[f64], predicted: &[f64]) -> f64 {
    mean(pairs(actual, predicted).map(|(actual, predicted)| (actual - predicted).abs()))
}

/// Returns the root of the mean squared error; NaN without pairs.
///
/// ```
/// # use btc_models::metrics::rmse;
/// assert_eq!(rmse(&[1.0, 2.0], &[1.0, 4.0]), 2f64.sqrt());
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn rmse(actual: &[f64], predicted: &[f64]) -> f64 {
    mean(pairs(actual, predicted).map(|(actual, predicted)| (actual - predicted).powi(2))).sqrt()
}

/// Returns the mean absolute error divided by that of `naive` forecasts: below 1 is better.
///
/// ```
/// # use btc_models::metrics::relative_mae;
/// assert_eq!(relative_mae(&[10.0, 20.0], &[11.0, 21.0], &[8.0, 18.0]), 0.5);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn relative_mae(actual: &[f64], predicted: &[f64], naive: &[f64]) -> f64 {
    mae(actual, predicted) / mae(actual, naive)
}

/// Returns the mean absolute error divided by the mean absolute change of the training series,
/// the mean absolute scaled error of Hyndman and Koehler (2006).
///
/// ```
/// # use btc_models::metrics::mase;
/// assert_eq!(mase(&[4.0], &[5.0], &[1.0, 3.0, 1.0]), 0.5);
/// ```
///
/// # Panics
///
/// Panics if `actual` and `predicted` differ in length.
pub fn mase(actual: &[f64], predicted: &[f64], training: &[f64]) -> f64 {
    mae(actual, predicted) / mean(training.windows(2).map(|pair| (pair[1] - pair[0]).abs()))
}

/// Returns 1 minus the squared errors' sum over that of `naive` forecasts: above 0 is better.
///
/// ```
/// # use btc_models::metrics::r2_out_of_sample;
/// assert_eq!(r2_out_of_sample(&[10.0, 20.0], &[11.0, 21.0], &[8.0, 18.0]), 0.75);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn r2_out_of_sample(actual: &[f64], predicted: &[f64], naive: &[f64]) -> f64 {
    let squares = |forecast| {
        pairs(actual, forecast)
            .map(|(a, f)| (a - f).powi(2))
            .sum::<f64>()
    };
    1.0 - squares(predicted) / squares(naive)
}

/// How often the direction of change was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DirectionCount {
    /// Forecasts of the right direction.
    pub hits: usize,
    /// Forecasts that name a direction.
    pub total: usize,
}

impl DirectionCount {
    /// The share of hits; NaN if no forecast names a direction.
    pub fn accuracy(&self) -> f64 {
        self.hits as f64 / self.total as f64
    }
}

/// Counts the forecasts that move from `naive` (the last known value) the way the value did.
///
/// A forecast equal to the last value names no direction and is not counted; a value that did
/// not change is a miss.
///
/// ```
/// # use btc_models::metrics::directions;
/// let count = directions(&[11.0, 9.0, 12.0], &[10.5, 10.5, 10.0], &[10.0, 10.0, 10.0]);
/// assert_eq!((count.hits, count.total), (1, 2));
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn directions(actual: &[f64], predicted: &[f64], naive: &[f64]) -> DirectionCount {
    assert_eq!(
        actual.len(),
        naive.len(),
        "actual and naive values differ in number"
    );
    let mut count = DirectionCount::default();
    for ((actual, predicted), naive) in pairs(actual, predicted).zip(naive) {
        if predicted != *naive {
            count.total += 1;
            let same = (predicted > *naive) == (actual > *naive) && actual != *naive;
            count.hits += usize::from(same);
        }
    }
    count
}

/// Returns the share of forecasts whose direction was right, between 0 and 1.
///
/// See [`directions`]; NaN if no forecast names a direction.
///
/// ```
/// # use btc_models::metrics::direction_accuracy;
/// assert_eq!(direction_accuracy(&[11.0, 9.0], &[10.5, 10.5], &[10.0, 10.0]), 0.5);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn direction_accuracy(actual: &[f64], predicted: &[f64], naive: &[f64]) -> f64 {
    directions(actual, predicted, naive).accuracy()
}

/// How well intervals hold what they promise.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct IntervalScore {
    /// The share of values inside, between 0 and 1.
    pub coverage: f64,
    /// The mean width.
    pub width: f64,
    /// The mean of Winkler's score (1972): the width, and for a value outside its distance
    /// from the interval times 2 / (1 - level). Lower is better.
    pub winkler: f64,
}

/// Scores intervals (low, high) that promise to hold a share `level` of the values.
///
/// ```
/// # use btc_models::metrics::interval_score;
/// let score = interval_score(&[1.0, 5.0], &[(0.0, 2.0), (0.0, 4.0)], 0.9);
/// assert_eq!((score.coverage, score.width), (0.5, 3.0));
/// assert!((score.winkler - (2.0 + 4.0 + 20.0) / 2.0).abs() < 1e-12);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn interval_score(actual: &[f64], intervals: &[(f64, f64)], level: f64) -> IntervalScore {
    assert_eq!(
        actual.len(),
        intervals.len(),
        "each value needs an interval"
    );
    let each = || actual.iter().zip(intervals);
    let outside = |y: f64, (low, high): (f64, f64)| (low - y).max(y - high).max(0.0);
    IntervalScore {
        coverage: mean(each().map(|(y, (low, high))| f64::from(low <= y && y <= high))),
        width: mean(each().map(|(_, (low, high))| high - low)),
        winkler: mean(each().map(|(y, interval)| {
            interval.1 - interval.0 + 2.0 / (1.0 - level) * outside(*y, *interval)
        })),
    }
}

/// Returns the mean quasi-likelihood loss of variance forecasts, QLIKE (Patton 2011): 0 if each
/// variance equals the squared change; lower is better.
///
/// A change below 1e-5 counts as one of 1e-5 in the logarithm, which otherwise has no bound.
///
/// ```
/// # use btc_models::metrics::qlike;
/// assert_eq!(qlike(&[0.1, -0.1], &[0.1 * 0.1, 0.1 * 0.1]), 0.0);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn qlike(changes: &[f64], variances: &[f64]) -> f64 {
    mean(pairs(changes, variances).map(|(change, variance)| {
        let square = change * change;
        square / variance - (square.max(1e-10) / variance).ln() - 1.0
    }))
}
