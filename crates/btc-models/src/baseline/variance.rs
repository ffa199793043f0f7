use std::ops::Range;

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

impl VarianceModel {
    /// Every model.
    pub const ALL: [Self; 4] = [Self::Constant, Self::Rolling30, Self::Ewma, Self::Har];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Rolling30 => "rolling-30",
            Self::Ewma => "ewma-0.94",
            Self::Har => "har",
        }
    }

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

/// Solves four equations by elimination with pivots; unknowns that nothing determines are 0.
fn solve(mut rows: [[f64; 5]; 4]) -> [f64; 4] {
    let size = rows
        .iter()
        .flatten()
        .fold(0.0f64, |max, x| max.max(x.abs()));
    for column in 0..4 {
        let pivot = (column..4)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))
            .unwrap_or(column);
        rows.swap(column, pivot);
        let lead = rows[column];
        if lead[column].abs() <= 1e-18 * size {
            continue;
        }
        for row in rows.iter_mut().skip(column + 1) {
            let factor = row[column] / lead[column];
            for (x, lead) in row.iter_mut().zip(lead) {
                *x -= factor * lead;
            }
        }
    }
    let mut solution = [0.0; 4];
    for i in (0..4).rev() {
        let known: f64 = (i + 1..4).map(|j| rows[i][j] * solution[j]).sum();
        if 1e-18 * size < rows[i][i].abs() {
            solution[i] = (rows[i][4] - known) / rows[i][i];
        }
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_equations_are_solved() {
        // x = 1, 2, 3, 4.
        let rows = [
            [0.0, 1.0, 1.0, 0.0, 5.0],
            [2.0, 0.0, 0.0, 1.0, 6.0],
            [1.0, 1.0, 1.0, 1.0, 10.0],
            [0.0, 0.0, 2.0, -1.0, 2.0],
        ];
        let found = solve(rows);
        assert!(
            found
                .iter()
                .zip([1.0, 2.0, 3.0, 4.0])
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }

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
