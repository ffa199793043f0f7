//! Regression by a Gaussian process with a Matérn 5/2 kernel.
//!
//! Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, chapters 2 and 5. Each
//! parameter has its own length scale; categorical ones are 0 or 1 apart.

use crate::linalg::{Matrix, dot, minimize_in_box};
use crate::sampler::tpe::normal::HALF_LN_2PI;

const LEAST_NOISE: f64 = 1e-6;

/// Numbers of the kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    /// Per parameter: 1 / length scale².
    pub(super) inverse_squares: Vec<f64>,
    pub(super) scale: f64,
    pub(super) noise: f64,
}

/// A fitted process.
#[derive(Debug, Clone)]
pub(super) struct Model {
    kernel: Kernel,
    categorical: Vec<bool>,
    points: Vec<Vec<f64>>,
    factor: Matrix,
    alpha: Vec<f64>,
}

/// The mean and variance at a point, with their gradients.
pub(super) struct Posterior {
    pub(super) mean: f64,
    pub(super) variance: f64,
    pub(super) mean_gradient: Vec<f64>,
    pub(super) variance_gradient: Vec<f64>,
}

fn matern(square: f64) -> f64 {
    let root = (5.0 * square).sqrt();
    (1.0 + root + 5.0 / 3.0 * square) * (-root).exp()
}

/// The derivative of [`matern`] by its argument.
fn matern_slope(square: f64) -> f64 {
    let root = (5.0 * square).sqrt();
    -5.0 / 6.0 * (1.0 + root) * (-root).exp()
}

fn square(a: f64, b: f64, categorical: bool) -> f64 {
    if categorical {
        f64::from(u8::from(a != b))
    } else {
        (a - b) * (a - b)
    }
}

impl Model {
    /// Fits kernel and process to points of the unit cube and standardised values.
    ///
    /// `None` if no kernel explains the values, which needs values beyond all measure.
    pub(super) fn fit(
        points: Vec<Vec<f64>>,
        values: &[f64],
        categorical: Vec<bool>,
    ) -> Option<Self> {
        let kernel = fit_kernel(&points, values, &categorical);
        Self::with_kernel(kernel, points, values, categorical)
    }

    fn with_kernel(
        kernel: Kernel,
        points: Vec<Vec<f64>>,
        values: &[f64],
        categorical: Vec<bool>,
    ) -> Option<Self> {
        let n = points.len();
        let mut covariance = Matrix::zeros(n);
        for i in 0..n {
            for j in 0..=i {
                let d = kernel.distance(&points[i], &points[j], &categorical);
                let mut value = kernel.scale * matern(d);
                if i == j {
                    value += kernel.noise;
                }
                covariance.set(i, j, value);
                covariance.set(j, i, value);
            }
        }
        let factor = covariance.cholesky()?;
        let alpha = factor.solve_upper(&factor.solve_lower(values));
        Some(Self {
            kernel,
            categorical,
            points,
            factor,
            alpha,
        })
    }

    /// Adds points whose values are taken to be what is expected there.
    pub(super) fn believing(self, points: Vec<Vec<f64>>, values: &[f64]) -> Self {
        if points.is_empty() {
            return self;
        }
        let mut values = values.to_vec();
        values.extend(points.iter().map(|point| self.posterior(point).mean));
        let mut all = self.points.clone();
        all.extend(points);
        Self::with_kernel(self.kernel.clone(), all, &values, self.categorical.clone())
            .unwrap_or(self)
    }

    pub(super) fn posterior(&self, x: &[f64]) -> Posterior {
        let d = x.len();
        let squares: Vec<f64> = self
            .points
            .iter()
            .map(|p| self.kernel.distance(p, x, &self.categorical))
            .collect();
        let k: Vec<f64> = squares
            .iter()
            .map(|s| self.kernel.scale * matern(*s))
            .collect();
        let v = self.factor.solve_lower(&k);
        let weights = self.factor.solve_upper(&v);
        let mut mean_gradient = vec![0.0; d];
        let mut variance_gradient = vec![0.0; d];
        for (i, point) in self.points.iter().enumerate() {
            let slope = self.kernel.scale * matern_slope(squares[i]);
            for j in 0..d {
                if !self.categorical[j] {
                    let by_x = slope * self.kernel.inverse_squares[j] * 2.0 * (x[j] - point[j]);
                    mean_gradient[j] += self.alpha[i] * by_x;
                    variance_gradient[j] -= 2.0 * weights[i] * by_x;
                }
            }
        }
        Posterior {
            mean: dot(&k, &self.alpha),
            variance: (self.kernel.scale - dot(&v, &v)).max(1e-12),
            mean_gradient,
            variance_gradient,
        }
    }

    /// The mean and variance alone.
    pub(super) fn predict(&self, x: &[f64]) -> (f64, f64) {
        let k: Vec<f64> = self
            .points
            .iter()
            .map(|p| self.kernel.scale * matern(self.kernel.distance(p, x, &self.categorical)))
            .collect();
        let v = self.factor.solve_lower(&k);
        (
            dot(&k, &self.alpha),
            (self.kernel.scale - dot(&v, &v)).max(1e-12),
        )
    }

    pub(super) fn length_scales(&self) -> Vec<f64> {
        self.kernel
            .inverse_squares
            .iter()
            .map(|inverse| 1.0 / inverse.sqrt())
            .collect()
    }
}

impl Kernel {
    fn distance(&self, a: &[f64], b: &[f64], categorical: &[bool]) -> f64 {
        (0..a.len())
            .map(|j| self.inverse_squares[j] * square(a[j], b[j], categorical[j]))
            .sum()
    }
}

/// The kernel most likely given the values and a prior that keeps scales in proportion.
fn fit_kernel(points: &[Vec<f64>], values: &[f64], categorical: &[bool]) -> Kernel {
    let d = categorical.len();
    let n = points.len();
    // Squared differences per pair and parameter, once for all evaluations.
    let mut squares = Vec::with_capacity(n * n.saturating_sub(1) / 2 * d);
    for i in 0..n {
        for j in 0..i {
            squares.extend((0..d).map(|k| square(points[i][k], points[j][k], categorical[k])));
        }
    }
    let kernel_of = |theta: &[f64]| Kernel {
        inverse_squares: theta[..d].iter().map(|t| t.exp()).collect(),
        scale: theta[d].exp(),
        noise: theta[d + 1].exp() + LEAST_NOISE,
    };
    let loss = |theta: &[f64]| {
        let kernel = kernel_of(theta);
        let (likelihood, mut gradient) = negative_log_likelihood(&kernel, &squares, values);
        let mut value = likelihood;
        // -ln of the prior, up to a constant, with its derivative by the logarithm.
        for (j, x) in kernel.inverse_squares.iter().enumerate() {
            value += 0.1 / x + 0.1 * x;
            gradient[j] += -0.1 / x + 0.1 * x;
        }
        value -= kernel.scale.ln() - kernel.scale;
        gradient[d] -= 1.0 - kernel.scale;
        let by_noise = -(0.1 / kernel.noise - 30.0);
        value -= 0.1 * kernel.noise.ln() - 30.0 * kernel.noise;
        // The likelihood's derivative is by the noise itself; both go by its logarithm.
        gradient[d + 1] = (gradient[d + 1] + by_noise) * (kernel.noise - LEAST_NOISE);
        (value, gradient)
    };
    let mut start = vec![0.0; d];
    start.extend([0.0, (1e-2_f64).ln()]);
    let mut bounds = vec![(-10.0, 10.0); d];
    bounds.extend([(-8.0, 8.0), (-20.0, 3.0)]);
    let (theta, _) = minimize_in_box(&loss, &start, &bounds, 60);
    kernel_of(&theta)
}

/// The gradient is by the logarithms of the inverse squares and of the scale, and by the noise.
fn negative_log_likelihood(kernel: &Kernel, squares: &[f64], values: &[f64]) -> (f64, Vec<f64>) {
    let n = values.len();
    let d = kernel.inverse_squares.len();
    let mut covariance = Matrix::zeros(n);
    let mut distances = Vec::with_capacity(n * n / 2);
    for i in 0..n {
        for j in 0..i {
            let pair = i * (i - 1) / 2 + j;
            let distance = dot(&kernel.inverse_squares, &squares[pair * d..(pair + 1) * d]);
            let value = kernel.scale * matern(distance);
            distances.push(distance);
            covariance.set(i, j, value);
            covariance.set(j, i, value);
        }
        covariance.set(i, i, kernel.scale + kernel.noise);
    }
    let Some(factor) = covariance.cholesky() else {
        return (f64::INFINITY, vec![0.0; d + 2]);
    };
    let alpha = factor.solve_upper(&factor.solve_lower(values));
    let log_determinant: f64 = (0..n).map(|i| factor.at(i, i).ln()).sum();
    let value = 0.5 * dot(values, &alpha) + log_determinant + n as f64 * HALF_LN_2PI;
    let inverse = factor.inverse_of_product();
    let mut gradient = vec![0.0; d + 2];
    for i in 0..n {
        for j in 0..i {
            let pair = i * (i - 1) / 2 + j;
            // Each pair stands for two entries of the symmetric matrix.
            let weight = inverse.at(i, j) - alpha[i] * alpha[j];
            let slope = weight * kernel.scale * matern_slope(distances[pair]);
            for (k, square) in squares[pair * d..(pair + 1) * d].iter().enumerate() {
                gradient[k] += slope * kernel.inverse_squares[k] * square;
            }
            gradient[d] += weight * covariance.at(i, j);
        }
        let weight = inverse.at(i, i) - alpha[i] * alpha[i];
        gradient[d] += 0.5 * weight * kernel.scale;
        gradient[d + 1] += 0.5 * weight;
    }
    (value, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_slopes() {
        let points: Vec<Vec<f64>> = (0..6)
            .map(|i| vec![0.17 * i as f64, f64::from(i % 2), (0.3 * i as f64).sin()])
            .collect();
        let categorical = [false, true, false];
        let values = [0.3, -0.4, 1.2, 0.1, -1.0, 0.6];
        let mut squares = Vec::new();
        for i in 0..6 {
            for j in 0..i {
                squares.extend((0..3).map(|k| square(points[i][k], points[j][k], categorical[k])));
            }
        }
        let kernel = |theta: &[f64]| Kernel {
            inverse_squares: theta[..3].iter().map(|t| t.exp()).collect(),
            scale: theta[3].exp(),
            noise: theta[4],
        };
        let theta = [0.3, -0.5, 1.0, 0.2, 0.05];
        let (_, gradient) = negative_log_likelihood(&kernel(&theta), &squares, &values);
        for k in 0..5 {
            let shifted = |by: f64| {
                let mut moved = theta;
                moved[k] += by;
                negative_log_likelihood(&kernel(&moved), &squares, &values).0
            };
            let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!(
                (slope - gradient[k]).abs() < 1e-5,
                "{k}: {slope} {}",
                gradient[k]
            );
        }

        let model =
            Model::with_kernel(kernel(&theta), points, &values, categorical.to_vec()).unwrap();
        let x = [0.4, 1.0, 0.3];
        let posterior = model.posterior(&x);
        for k in [0, 2] {
            let at = |by: f64| {
                let mut moved = x;
                moved[k] += by;
                model.predict(&moved)
            };
            let (high, low) = (at(1e-6), at(-1e-6));
            assert!(((high.0 - low.0) / 2e-6 - posterior.mean_gradient[k]).abs() < 1e-5);
            assert!(((high.1 - low.1) / 2e-6 - posterior.variance_gradient[k]).abs() < 1e-5);
        }
    }

    #[test]
    fn the_mean_goes_through_the_values() {
        let points: Vec<Vec<f64>> = (0..8).map(|i| vec![i as f64 / 7.0]).collect();
        let values: Vec<f64> = points.iter().map(|p| (6.0 * p[0]).sin()).collect();
        let model = Model::fit(points.clone(), &values, vec![false]).unwrap();
        for (point, value) in points.iter().zip(&values) {
            let (mean, variance) = model.predict(point);
            assert!(
                (mean - value).abs() < 0.05 && variance < 0.05,
                "{mean} {value} {variance}"
            );
        }
        assert!((model.predict(&[0.5]).0 - 3.0_f64.sin()).abs() < 0.1);
    }
}
