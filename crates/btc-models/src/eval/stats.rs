//! Tests of whether one forecast is better than another.

use crate::eval::metrics::DirectionCount;
use crate::eval::special::{ln_even_binomial, student_two_sided};

/// The outcome of a test.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct TestResult {
    /// The test's statistic; negative if the first of two forecasts is better.
    pub statistic: f64,
    /// The probability of a statistic at least as far from what no difference would give.
    pub p_value: f64,
}

/// Compares the losses of two forecasts of the same values: the test of Diebold and Mariano
/// (1995) with the correction for small samples of Harvey, Leybourne and Newbold (1997).
///
/// `horizon` is the number of steps ahead; the losses of forecasts further than one step are
/// correlated up to `horizon - 1` steps apart. Where the estimate of the long-run variance is
/// not positive, Bartlett's weights make it so. The result is `None` if there are fewer than
/// three pairs or all differences are the same.
///
/// ```
/// use btc_models::stats::diebold_mariano;
///
/// let result = diebold_mariano(&[1.0, 2.0, 1.0, 3.0], &[2.0, 2.5, 1.5, 4.5], 1).unwrap();
/// assert!((result.statistic - -3.655631).abs() < 1e-6);
/// assert!((result.p_value - 0.035353).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn diebold_mariano(losses: &[f64], other: &[f64], horizon: usize) -> Option<TestResult> {
    assert_eq!(
        losses.len(),
        other.len(),
        "both forecasts need a loss for each value"
    );
    let differences: Vec<f64> = losses.iter().zip(other).map(|(a, b)| a - b).collect();
    let n = differences.len();
    if n < 3 || horizon == 0 || n <= horizon {
        return None;
    }
    let size = n as f64;
    let mean = differences.iter().sum::<f64>() / size;
    let covariance = |lag: usize| {
        let pairs = differences.iter().zip(&differences[lag..]);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / size
    };
    let own = covariance(0);
    let others: Vec<f64> = (1..horizon).map(covariance).collect();
    let mut variance = own + 2.0 * others.iter().sum::<f64>();
    if variance <= 0.0 {
        let weight = |lag: usize| 1.0 - lag as f64 / horizon as f64;
        variance = own
            + 2.0
                * others
                    .iter()
                    .enumerate()
                    .map(|(i, c)| weight(i + 1) * c)
                    .sum::<f64>();
    }
    // A difference that is the same everywhere has no spread but that of rounding.
    if variance.is_nan() || variance <= 1e-30 * mean * mean || variance == 0.0 {
        return None;
    }
    let h = horizon as f64;
    let correction = ((size + 1.0 - 2.0 * h + h * (h - 1.0) / size) / size)
        .max(0.0)
        .sqrt();
    let statistic = correction * mean / (variance / size).sqrt();
    Some(TestResult {
        statistic,
        p_value: student_two_sided(statistic, size - 1.0),
    })
}

/// The probability, if directions were guessed, of a number of hits no more likely than this:
/// the exact two-sided binomial test. `None` without forecasts.
///
/// ```
/// use btc_models::metrics::DirectionCount;
/// use btc_models::stats::direction_p_value;
///
/// let p = direction_p_value(DirectionCount { hits: 9, total: 10 }).unwrap();
/// assert!((p - 22.0 / 1024.0).abs() < 1e-12);
/// ```
pub fn direction_p_value(count: DirectionCount) -> Option<f64> {
    let DirectionCount { hits, total } = count;
    if total == 0 || total < hits {
        return None;
    }
    // At even odds the distribution is symmetric, so both tails are alike.
    let tail = hits.min(total - hits);
    if 2 * tail == total {
        return Some(1.0);
    }
    let sum: f64 = (0..=tail).map(|k| ln_even_binomial(k, total).exp()).sum();
    Some((2.0 * sum).min(1.0))
}

/// Adjusts p-values for their number, as Holm (1979): a value below a level is significant at
/// that level even though others were tested.
///
/// ```
/// # use btc_models::stats::holm;
/// let adjusted = holm(&[0.01, 0.04, 0.03]);
/// assert!(adjusted.iter().zip([0.03, 0.06, 0.06]).all(|(a, b)| (a - b).abs() < 1e-12));
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; n];
    let mut highest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        highest = highest.max((p_values[at] * (n - rank) as f64).min(1.0));
        adjusted[at] = highest;
    }
    adjusted
}
