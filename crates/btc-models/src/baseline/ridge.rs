//! Ridge regression of the next change on what is known.

use std::ops::Range;

use super::Rule;
use crate::forecast::interval::ErrorScale;
use crate::series::SeriesFrame;
use crate::{Error, Result};

/// Changes of the price that the regression sees.
const LAGS: usize = 7;
/// Changes over which their spread is taken.
const SPREADS: [usize; 3] = [5, 10, 20];
/// Prices over whose mean the last one's height is taken.
const MEAN: usize = 20;
/// The first row that has them all.
const FIRST: usize = 21;

/// A fitted regression.
#[derive(Debug)]
pub(super) struct Ridge {
    scale: ErrorScale,
    /// The other features that it sees.
    features: Vec<String>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    coefficients: Vec<f64>,
    intercept: f64,
}

/// What the regression sees at each row, row by row; rows before [`FIRST`] are zero.
struct Design {
    width: usize,
    data: Vec<f64>,
}

impl Design {
    fn new(frame: &SeriesFrame, scale: ErrorScale, features: &[String]) -> Result<Self> {
        let price = frame.price();
        let width = LAGS + SPREADS.len() + 1 + features.len();
        let changes: Vec<f64> = (0..price.len())
            .map(|row| {
                if row == 0 {
                    0.0
                } else {
                    scale.difference(price[row - 1], price[row])
                }
            })
            .collect();
        let mut data = vec![0.0; width * price.len()];
        for row in FIRST..price.len() {
            let out = &mut data[row * width..(row + 1) * width];
            for lag in 0..LAGS {
                out[lag] = changes[row - lag];
            }
            for (at, n) in SPREADS.into_iter().enumerate() {
                let window = &changes[row + 1 - n..=row];
                let mean = window.iter().sum::<f64>() / n as f64;
                let squares: f64 = window.iter().map(|x| (x - mean).powi(2)).sum();
                out[LAGS + at] = (squares / (n - 1) as f64).sqrt();
            }
            let window = &price[row + 1 - MEAN..=row];
            let heights = window.iter().map(|p| scale.difference(*p, price[row]));
            out[LAGS + SPREADS.len()] = heights.sum::<f64>() / MEAN as f64;
        }
        for (at, feature) in features.iter().enumerate() {
            let Some(values) = frame.column(feature) else {
                return Err(Error::MissingFeature {
                    feature: feature.clone(),
                });
            };
            let column = LAGS + SPREADS.len() + 1 + at;
            for row in FIRST..price.len() {
                data[row * width + column] = change(values[row - 1], values[row]);
            }
        }
        Ok(Self { width, data })
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.width..(row + 1) * self.width]
    }
}

/// The logarithm of the ratio of positive values; nothing if either is missing or not positive.
fn change(from: f64, to: f64) -> f64 {
    if 0.0 < from && 0.0 < to {
        to.ln() - from.ln()
    } else {
        0.0
    }
}

impl Ridge {
    pub(super) fn fit(frame: &SeriesFrame, scale: ErrorScale, horizon: usize) -> Result<Self> {
        let price = frame.price();
        let features: Vec<String> = frame
            .names()
            .iter()
            .filter(|name| *name != frame.price_name())
            .cloned()
            .collect();
        let design = Design::new(frame, scale, &features)?;
        let rows = FIRST..price.len() - horizon;
        let needed = FIRST + horizon + 10;
        if rows.len() < 10 {
            return Err(Error::SeriesTooShort {
                rows: price.len(),
                needed,
            });
        }
        let n = rows.len();
        let width = design.width;
        let mut mean = vec![0.0; width];
        let mut deviation = vec![0.0; width];
        for column in 0..width {
            let values = || rows.clone().map(|row| design.row(row)[column]);
            mean[column] = values().sum::<f64>() / n as f64;
            let squares = values().map(|x| (x - mean[column]).powi(2)).sum::<f64>();
            let spread = (squares / n as f64).sqrt();
            deviation[column] = if 0.0 < spread { spread } else { 1.0 };
        }
        let x: Vec<Vec<f64>> = rows
            .clone()
            .map(|row| {
                let seen = design.row(row).iter().zip(&mean).zip(&deviation);
                seen.map(|((x, mean), deviation)| (x - mean) / deviation)
                    .collect()
            })
            .collect();
        let y: Vec<f64> = rows
            .map(|row| scale.difference(price[row], price[row + horizon]))
            .collect();
        let intercept = y.iter().sum::<f64>() / n as f64;
        let y: Vec<f64> = y.iter().map(|y| y - intercept).collect();
        let coefficients = regress(&x, &y);
        Ok(Self {
            scale,
            features,
            mean,
            deviation,
            coefficients,
            intercept,
        })
    }
}

/// The coefficients of centred data, with the penalty of least leave-one-out error.
fn regress(x: &[Vec<f64>], y: &[f64]) -> Vec<f64> {
    let width = x[0].len();
    let mut gram = vec![vec![0.0; width]; width];
    for row in x {
        for i in 0..width {
            for j in 0..width {
                gram[i][j] += row[i] * row[j];
            }
        }
    }
    let (values, vectors) = eigen(gram);
    // Rows in the basis of eigenvectors, and what they say about y.
    let turned: Vec<Vec<f64>> = x
        .iter()
        .map(|row| {
            vectors
                .iter()
                .map(|v| v.iter().zip(row).map(|(v, x)| v * x).sum())
                .collect()
        })
        .collect();
    let projected: Vec<f64> = (0..width)
        .map(|k| turned.iter().zip(y).map(|(row, y)| row[k] * y).sum())
        .collect();
    let n = x.len() as f64;
    let error = |alpha: f64| -> f64 {
        let weights: Vec<f64> = values
            .iter()
            .map(|value| 1.0 / (value.max(0.0) + alpha))
            .collect();
        turned
            .iter()
            .zip(y)
            .map(|(row, y)| {
                let terms = row.iter().zip(&weights).zip(&projected);
                let (mut fitted, mut leverage) = (0.0, 1.0 / n);
                for ((x, weight), projected) in terms {
                    fitted += x * weight * projected;
                    leverage += x * x * weight;
                }
                ((y - fitted) / (1.0 - leverage).max(1e-9)).powi(2)
            })
            .sum()
    };
    // 17 penalties from 0.01 to 1,000,000.
    let penalties = (0..17).map(|i| 10f64.powf(-2.0 + 0.5 * f64::from(i)));
    let alpha = penalties
        .min_by(|a, b| error(*a).total_cmp(&error(*b)))
        .unwrap_or(1.0);
    (0..width)
        .map(|column| {
            (0..width)
                .map(|k| vectors[k][column] * projected[k] / (values[k].max(0.0) + alpha))
                .sum()
        })
        .collect()
}

/// Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations.
fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut vectors: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(i == j)).collect())
        .collect();
    let size: f64 = a.iter().flatten().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i][j].powi(2))
            .sum();
        if off <= 1e-22 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut a {
                    let (x, y) = (row[p], row[q]);
                    (row[p], row[q]) = (c * x - s * y, s * x + c * y);
                }
                for k in 0..n {
                    let (x, y) = (a[p][k], a[q][k]);
                    (a[p][k], a[q][k]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[p][k], vectors[q][k]);
                    (vectors[p][k], vectors[q][k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    ((0..n).map(|i| a[i][i]).collect(), vectors)
}

impl Rule for Ridge {
    fn lookback(&self) -> usize {
        FIRST
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>) -> Result<Vec<f64>> {
        let price = frame.price();
        let design = Design::new(frame, self.scale, &self.features)?;
        let parts = || {
            self.mean
                .iter()
                .zip(&self.deviation)
                .zip(&self.coefficients)
        };
        Ok(rows
            .map(|row| {
                let seen = design.row(row).iter().zip(parts());
                let change: f64 = seen.map(|(x, ((m, d), c))| c * (x - m) / d).sum();
                self.scale.shift(price[row], self.intercept + change)
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regression_equals_that_of_scikit_learn() {
        use crate::vectors::{assert_near, numbers, read};
        let case = &read("statistics.json")["ridge"];
        let x: Vec<Vec<f64>> = case["x"].as_array().unwrap().iter().map(numbers).collect();
        let found = regress(&x, &numbers(&case["y"]));
        assert_near(
            &found,
            &numbers(&case["coefficients"]),
            1e-9,
            "coefficients",
        );
    }

    #[test]
    fn eigenvectors_make_the_matrix_diagonal() {
        let a = vec![
            vec![4.0, 1.0, -2.0],
            vec![1.0, 2.0, 0.5],
            vec![-2.0, 0.5, 3.0],
        ];
        let (values, vectors) = eigen(a.clone());
        for (value, vector) in values.iter().zip(&vectors) {
            for (i, row) in a.iter().enumerate() {
                let product: f64 = row.iter().zip(vector).map(|(a, v)| a * v).sum();
                assert!((product - value * vector[i]).abs() < 1e-10);
            }
        }
    }
}
