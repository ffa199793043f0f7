//! Ridge regression of the change to come on what is known.

use std::ops::Range;

use super::Rule;
use super::linalg::eigen;
use crate::forecast::interval::ErrorScale;
use crate::series::{HolePolicy, SeriesFrame};
use crate::{Error, Result};

/// Changes of the target that the regression sees.
const LAGS: usize = 7;
/// Changes over which their spread is taken.
const SPREADS: [usize; 3] = [5, 10, 20];
/// Values over whose mean the last one's height is taken.
const MEAN: usize = 20;
/// The first row that has them all.
const FIRST: usize = 21;
/// The fewest rows that a regression is fitted to.
const LEAST_ROWS: usize = 10;

/// Fitted regressions, one for each step ahead.
#[derive(Debug)]
pub(super) struct Ridge {
    scale: ErrorScale,
    /// The other features that it sees.
    features: Vec<String>,
    first: usize,
    steps: Vec<Regression>,
    /// What is used once a value has no logarithm; empty where no logarithms are taken.
    absolute: Vec<Regression>,
}

#[derive(Debug)]
struct Regression {
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
        let target = frame.target();
        let width = LAGS + SPREADS.len() + 1 + features.len();
        let changes: Vec<f64> = (0..target.len())
            .map(|row| {
                if row == 0 {
                    0.0
                } else {
                    scale.difference(target[row - 1], target[row])
                }
            })
            .collect();
        let mut data = vec![0.0; width * target.len()];
        for row in FIRST..target.len() {
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
            let window = &target[row + 1 - MEAN..=row];
            let heights = window.iter().map(|p| scale.difference(*p, target[row]));
            out[LAGS + SPREADS.len()] = heights.sum::<f64>() / MEAN as f64;
        }
        for (at, feature) in features.iter().enumerate() {
            let Some(values) = frame.column(feature) else {
                return Err(Error::MissingFeature {
                    feature: feature.clone(),
                });
            };
            let column = LAGS + SPREADS.len() + 1 + at;
            for row in FIRST..target.len() {
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
    pub(super) fn fit(frame: &SeriesFrame, scale: ErrorScale, steps: Range<usize>) -> Result<Self> {
        let features: Vec<String> = frame
            .names()
            .iter()
            .filter(|name| *name != frame.target_name())
            .cloned()
            .collect();
        let on = |scale| {
            let design = Design::new(frame, scale, &features)?;
            let regression = |ahead| Regression::fit(frame, &design, scale, ahead);
            steps.clone().map(regression).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            scale,
            first: steps.start,
            steps: on(scale)?,
            absolute: match scale {
                ErrorScale::Log => on(ErrorScale::Absolute)?,
                ErrorScale::Absolute => Vec::new(),
            },
            features,
        })
    }
}

impl Regression {
    fn fit(frame: &SeriesFrame, design: &Design, scale: ErrorScale, ahead: usize) -> Result<Self> {
        let target = frame.target();
        let last = target.len().saturating_sub(ahead).max(FIRST);
        let rows = frame.training_windows(FIRST..last, FIRST + 1, ahead, HolePolicy::Skip)?;
        if rows.len() < LEAST_ROWS {
            if !frame.holes().is_empty() {
                return Err(frame.holes_error(0..frame.rows()));
            }
            return Err(Error::SeriesTooShort {
                rows: target.len(),
                needed: FIRST + ahead + LEAST_ROWS,
            });
        }
        let n = rows.len();
        let width = design.width;
        let mut mean = vec![0.0; width];
        let mut deviation = vec![0.0; width];
        for column in 0..width {
            let values = || rows.iter().map(|row| design.row(*row)[column]);
            mean[column] = values().sum::<f64>() / n as f64;
            let squares = values().map(|x| (x - mean[column]).powi(2)).sum::<f64>();
            let spread = (squares / n as f64).sqrt();
            deviation[column] = if 0.0 < spread { spread } else { 1.0 };
        }
        let mut x = Vec::with_capacity(n * width);
        for row in &rows {
            let seen = design.row(*row).iter().zip(&mean).zip(&deviation);
            x.extend(seen.map(|((x, mean), deviation)| (x - mean) / deviation));
        }
        let y: Vec<f64> = rows
            .iter()
            .filter_map(|row| Some(scale.difference(target[*row], frame.target_at(*row, ahead)?)))
            .collect();
        let intercept = y.iter().sum::<f64>() / n as f64;
        let y: Vec<f64> = y.iter().map(|y| y - intercept).collect();
        let (coefficients, _) = regress(&x, width, &y);
        Ok(Self {
            mean,
            deviation,
            coefficients,
            intercept,
        })
    }

    fn change(&self, seen: &[f64]) -> f64 {
        let parts = self
            .mean
            .iter()
            .zip(&self.deviation)
            .zip(&self.coefficients);
        let change: f64 = seen
            .iter()
            .zip(parts)
            .map(|(x, ((m, d), c))| c * (x - m) / d)
            .sum();
        self.intercept + change
    }
}

/// The coefficients of centred data, `width` numbers a row, with the penalty of least
/// leave-one-out error.
fn regress(x: &[f64], width: usize, y: &[f64]) -> (Vec<f64>, f64) {
    let mut gram = vec![vec![0.0; width]; width];
    for row in x.chunks_exact(width) {
        for i in 0..width {
            for j in 0..width {
                gram[i][j] += row[i] * row[j];
            }
        }
    }
    let (values, vectors) = eigen(gram);
    // Rows in the basis of eigenvectors, and what they say about y.
    let mut turned = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let product = |v: &Vec<f64>| v.iter().zip(row).map(|(v, x)| v * x).sum::<f64>();
        turned.extend(vectors.iter().map(product));
    }
    let projected: Vec<f64> = (0..width)
        .map(|k| {
            let column = turned.chunks_exact(width).map(|row| row[k]);
            column.zip(y).map(|(x, y)| x * y).sum()
        })
        .collect();
    let n = y.len() as f64;
    let error = |alpha: f64| -> f64 {
        let weights: Vec<f64> = values
            .iter()
            .map(|value| 1.0 / (value.max(0.0) + alpha))
            .collect();
        turned
            .chunks_exact(width)
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
    let errors = penalties.map(|alpha| (alpha, error(alpha)));
    let best = errors.min_by(|a, b| a.1.total_cmp(&b.1));
    let alpha = best.map_or(1.0, |(alpha, _)| alpha);
    let coefficients = (0..width)
        .map(|column| {
            (0..width)
                .map(|k| vectors[k][column] * projected[k] / (values[k].max(0.0) + alpha))
                .sum()
        })
        .collect();
    (coefficients, alpha)
}

impl Rule for Ridge {
    fn lookback(&self) -> usize {
        FIRST
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, ahead: usize) -> Result<Vec<f64>> {
        let (target, spread) = (frame.target(), frame.spread());
        let scales: Vec<ErrorScale> = rows
            .clone()
            .map(|row| spread.scale(self.scale, row, &[]))
            .collect();
        let on = |scale: ErrorScale| -> Result<Option<Design>> {
            let wanted = scales.contains(&scale);
            wanted
                .then(|| Design::new(frame, scale, &self.features))
                .transpose()
        };
        let (log, absolute) = (on(ErrorScale::Log)?, on(ErrorScale::Absolute)?);
        Ok(rows
            .zip(scales)
            .map(|(row, scale)| {
                let design = match scale {
                    ErrorScale::Log => &log,
                    ErrorScale::Absolute => &absolute,
                };
                let regressions = match scale == self.scale {
                    true => &self.steps,
                    false => &self.absolute,
                };
                let regression = ahead
                    .checked_sub(self.first)
                    .and_then(|at| regressions.get(at));
                let change = design
                    .as_ref()
                    .zip(regression)
                    .map(|(design, regression)| regression.change(design.row(row)));
                // No regression for these steps: nothing is known of the change.
                scale.shift(target[row], change.unwrap_or(f64::NAN))
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regression_equals_that_of_scikit_learn() {
        use crate::vectors::{assert_near, statistics};
        let case = statistics().ridge;
        let (found, alpha) = regress(&case.x.concat(), case.x[0].len(), &case.y);
        assert_near(&found, &case.coefficients, 1e-9, "coefficients");
        assert_near(&[alpha], &[case.alpha], 1e-9, "penalty");
    }
}
