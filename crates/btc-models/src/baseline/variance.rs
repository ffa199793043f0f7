//! Forecasts of how far the next value will be.

use std::ops::Range;

use super::linalg::solve;
use crate::forecast::interval::{DECAY, ErrorScale, ewma_variance};

/// A way to forecast the variance of the next change of the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VarianceModel {
    /// The variance of all past changes.
    Constant,
    /// The variance of the last 30 changes.
    Rolling30,
    /// The exponentially weighted mean of squared changes with a decay of 0.94 (RiskMetrics).
    Ewma,
    /// A regression on the last square and the means of the last 7 and 30 (Corsi 2009), refitted
    /// every 20 rows.
    Har,
}

/// Rows between two fits of the regression.
const REFIT: usize = 20;
/// The least variance that a regression may return.
const FLOOR: f64 = 1e-6;

named!(VarianceModel, "variance model", {
    Constant => "constant",
    Rolling30 => "rolling-30",
    Ewma => "ewma-0.94",
    Har => "har",
});

impl VarianceModel {
    /// The variance expected of the change after each of the rows `origins`, from the prices up
    /// to that row. Changes are those of logarithms if all prices are positive.
    ///
    /// The first origin must have 60 rows before it; the result is `None` otherwise.
    ///
    /// ```
    /// use btc_models::VarianceModel;
    ///
    /// let price: Vec<f64> = (0..100).map(|day| if day % 2 == 0 { 100.0 } else { 101.0 }).collect();
    /// let variance = VarianceModel::Ewma.forecast(&price, 70..100).unwrap();
    /// let square = (101.0f64 / 100.0).ln().powi(2);
    /// assert!(variance.iter().all(|v| (v / square - 1.0).abs() < 1e-9));
    /// ```
    pub fn forecast(self, price: &[f64], origins: Range<usize>) -> Option<Vec<f64>> {
        if origins.start < 60 || price.len() < origins.end {
            return None;
        }
        let scale = ErrorScale::of(price);
        // The change of row i is the one into row i + 1 of the prices.
        let changes: Vec<f64> = price
            .windows(2)
            .map(|pair| scale.difference(pair[0], pair[1]))
            .collect();
        let variance = |changes: &[f64]| {
            let n = changes.len() as f64;
            let mean = changes.iter().sum::<f64>() / n;
            changes.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n
        };
        Some(match self {
            Self::Constant => origins.map(|row| variance(&changes[..row])).collect(),
            Self::Rolling30 => origins
                .map(|row| variance(&changes[row - 30..row]))
                .collect(),
            Self::Ewma => {
                debug_assert!((DECAY - 0.94).abs() < 1e-12, "the name tells the decay");
                ewma_variance(price, scale)[origins].to_vec()
            }
            Self::Har => {
                let squares: Vec<f64> = changes.iter().map(|x| x * x).collect();
                let mut coefficients = [0.0; 4];
                origins
                    .enumerate()
                    .map(|(at, row)| {
                        if at % REFIT == 0 {
                            coefficients = har(&squares[..row]);
                        }
                        let seen = har_inputs(&squares, row);
                        let sum: f64 = seen.iter().zip(coefficients).map(|(x, c)| x * c).sum();
                        sum.max(FLOOR)
                    })
                    .collect()
            }
        })
    }
}

/// A constant, the last square, and the means of the last 7 and 30, before square `at`.
fn har_inputs(squares: &[f64], at: usize) -> [f64; 4] {
    let mean = |n: usize| squares[at - n..at].iter().sum::<f64>() / n as f64;
    [1.0, squares[at - 1], mean(7), mean(30)]
}

/// Least squares over the squares from the 40th on.
fn har(squares: &[f64]) -> [f64; 4] {
    let mut normal = [[0.0; 5]; 4];
    for at in 40..squares.len() {
        let x = har_inputs(squares, at);
        for i in 0..4 {
            for j in 0..4 {
                normal[i][j] += x[i] * x[j];
            }
            normal[i][4] += x[i] * squares[at];
        }
    }
    solve(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variance_knows_a_later_price() {
        let price: Vec<f64> = (0..140).map(|i| 100.0 + f64::from(i * 37 % 23)).collect();
        for model in VarianceModel::ALL {
            let whole = model.forecast(&price, 70..140).unwrap();
            for end in [71, 95, 139] {
                assert_eq!(
                    model.forecast(&price[..end], 70..end).unwrap(),
                    whole[..end - 70]
                );
            }
            assert!(whole.iter().all(|v| 0.0 < *v), "{model:?}");
        }
        assert!(VarianceModel::Har.forecast(&price, 10..20).is_none());
    }
}
