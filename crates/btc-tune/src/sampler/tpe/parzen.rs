//! The density estimate: a mixture of product kernels, one around each observation and one prior.

use std::sync::Arc;

use rand::Rng;

use super::kernel::{Kernel, KernelConfig, Line, NumericKernel, categorical};
use super::normal::HALF_LN_2PI;
use crate::distribution::Distribution;

/// A mixture over the parameters of a search space.
#[derive(Debug, Clone)]
pub(crate) struct ParzenEstimator {
    /// Weights of the components, the prior last; they sum to 1.
    weights: Vec<f64>,
    kernels: Vec<Kernel>,
    /// Per component: ln of its weight and of the normalisers of its continuous kernels.
    offsets: Vec<f64>,
}

/// The weights of `count` observations, oldest first: the last 25 count fully.
pub(crate) fn ramp_weights(count: usize) -> Vec<f64> {
    const FULL: usize = 25;
    if count < FULL {
        return vec![1.0; count];
    }
    let ramp = count - FULL;
    let first = 1.0 / count as f64;
    let step = if ramp > 1 {
        (1.0 - first) / (ramp - 1) as f64
    } else {
        0.0
    };
    (0..ramp)
        .map(|i| {
            if ramp > 1 && i == ramp - 1 {
                1.0
            } else {
                first + i as f64 * step
            }
        })
        .chain(std::iter::repeat_n(1.0, FULL))
        .collect()
}

/// The observations of one parameter.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) distribution: Arc<Distribution>,
    /// Internal values, oldest first.
    pub(crate) values: Vec<f64>,
}

impl ParzenEstimator {
    /// Puts a kernel on each observation; `weights` holds one weight per observation.
    pub(crate) fn new(columns: &[Column], weights: &[f64], config: KernelConfig) -> Self {
        let kernels = columns
            .iter()
            .map(|column| match column.distribution.choices_len() {
                Some(choices) => categorical(&column.values, choices, config),
                None => {
                    let d = &column.distribution;
                    let mu: Vec<f64> = column.values.iter().map(|x| d.transform(*x)).collect();
                    let line = Line::new(d, mu.len(), config);
                    let mut order: Vec<u32> = (0..mu.len() as u32).collect();
                    order.sort_by(|a, b| mu[*a as usize].total_cmp(&mu[*b as usize]));
                    let mut sigma = vec![0.0; mu.len()];
                    line.bandwidths(
                        order.iter().map(|i| (*i as usize, mu[*i as usize])),
                        |i, width| sigma[i] = width,
                    );
                    let factors = mu
                        .iter()
                        .zip(&sigma)
                        .map(|(mu, sigma)| line.factor(*mu, *sigma))
                        .collect();
                    line.kernel(d, mu, sigma, factors)
                }
            })
            .collect();
        Self::from_kernels(kernels, weights, config)
    }

    /// Mixes kernels; each has one component per weight, and the prior.
    pub(super) fn from_kernels(
        kernels: Vec<Kernel>,
        weights: &[f64],
        config: KernelConfig,
    ) -> Self {
        /// Kernels whose normalisers are multiplied before a logarithm is taken.
        const GROUP: usize = 8;
        let mut weights = weights.to_vec();
        weights.push(if weights.is_empty() {
            1.0
        } else {
            config.prior_weight
        });
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);

        let continuous: Vec<&NumericKernel> = kernels
            .iter()
            .filter_map(|kernel| match kernel {
                Kernel::Continuous(kernel) => Some(kernel),
                _ => None,
            })
            .collect();
        let mut products = weights.clone();
        let mut offsets = vec![0.0; weights.len()];
        for group in continuous.chunks(GROUP) {
            for kernel in group {
                for (product, factor) in products.iter_mut().zip(&kernel.factors) {
                    *product *= factor;
                }
            }
            for (offset, product) in offsets.iter_mut().zip(&mut products) {
                *offset += product.ln();
                *product = 1.0;
            }
        }
        if continuous.is_empty() {
            offsets = weights.iter().map(|weight| weight.ln()).collect();
        }
        let constant = continuous.len() as f64 * HALF_LN_2PI;
        offsets.iter_mut().for_each(|offset| *offset -= constant);
        for (component, correction) in continuous.iter().flat_map(|kernel| &kernel.outside) {
            offsets[*component] += correction;
        }
        Self {
            weights,
            kernels,
            offsets,
        }
    }

    /// Draws points; each is one internal value per parameter.
    pub(crate) fn sample(&self, count: usize, rng: &mut impl Rng) -> Vec<Vec<f64>> {
        let mut cumulative = Vec::with_capacity(self.weights.len());
        let mut sum = 0.0;
        for weight in &self.weights {
            sum += weight;
            cumulative.push(sum);
        }
        (0..count)
            .map(|_| {
                let u = rng.random::<f64>() * sum;
                let component = cumulative
                    .partition_point(|c| *c <= u)
                    .min(self.weights.len() - 1);
                self.kernels
                    .iter()
                    .map(|kernel| kernel.sample(component, rng))
                    .collect()
            })
            .collect()
    }

    /// ln of the density at each point.
    pub(crate) fn log_pdf(&self, points: &[Vec<f64>]) -> Vec<f64> {
        let discrete: Vec<DiscreteTerms> = self
            .kernels
            .iter()
            .enumerate()
            .filter(|(_, kernel)| !matches!(kernel, Kernel::Continuous(_)))
            .map(|(d, kernel)| DiscreteTerms::new(kernel, d, points))
            .collect();
        points
            .iter()
            .enumerate()
            .map(|(i, point)| {
                let coordinates: Vec<(&NumericKernel, f64)> = self
                    .kernels
                    .iter()
                    .zip(point)
                    .filter_map(|(kernel, x)| match kernel {
                        Kernel::Continuous(kernel) => {
                            Some((kernel, kernel.distribution.transform(*x)))
                        }
                        _ => None,
                    })
                    .collect();
                if coordinates.iter().all(|(kernel, x)| kernel.is_inside(*x)) {
                    let rows: Vec<&[f64]> = discrete.iter().map(|terms| terms.row(i)).collect();
                    self.log_sum(&coordinates, &rows)
                } else {
                    f64::NEG_INFINITY
                }
            })
            .collect()
    }

    /// ln of the sum over the components at one point.
    fn log_sum(&self, coordinates: &[(&NumericKernel, f64)], rows: &[&[f64]]) -> f64 {
        /// Components per round: their numbers stay in the first-level cache.
        const CHUNK: usize = 256;
        /// Coordinates after which it pays to look which components still matter.
        const FIRST: usize = 2;
        let components = self.weights.len();
        let mut sum = LogSum::default();
        // The prior is nowhere small, so it shows early what may be neglected.
        let prior = components - 1;
        sum.add(&[self.term(prior, self.offsets[prior], coordinates)
            + rows.iter().map(|row| row[prior]).sum::<f64>()]);
        let (first, rest) = coordinates.split_at(coordinates.len().min(FIRST));
        let mut terms = [0.0; CHUNK];
        for start in (0..prior).step_by(CHUNK) {
            let range = start..(start + CHUNK).min(prior);
            let terms = &mut terms[..range.len()];
            terms.copy_from_slice(&self.offsets[range.clone()]);
            for row in rows {
                for (term, add) in terms.iter_mut().zip(&row[range.clone()]) {
                    *term += add;
                }
            }
            subtract_squares(terms, first, range.clone());
            // What is still to come can only make a term smaller.
            let least = sum.least();
            let alive = terms.iter().filter(|term| **term > least).count();
            if alive == 0 {
                continue;
            }
            if alive * 4 > range.len() {
                subtract_squares(terms, rest, range);
            } else {
                for (j, term) in range.zip(terms.iter_mut()) {
                    if *term > least {
                        *term = self.term(j, *term, rest);
                    }
                }
            }
            sum.add(terms);
        }
        sum.ln()
    }

    fn term(&self, j: usize, offset: f64, coordinates: &[(&NumericKernel, f64)]) -> f64 {
        coordinates.iter().fold(offset, |term, (kernel, x)| {
            let z = (x - kernel.mu[j]) * kernel.inverse_sigma[j];
            term - 0.5 * z * z
        })
    }

    #[cfg(test)]
    pub(crate) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Per parameter the (mu, sigma) of each component, or the probabilities.
    #[cfg(test)]
    pub(crate) fn kernel_parameters(&self, d: usize) -> Result<Vec<(f64, f64)>, Vec<Vec<f64>>> {
        match &self.kernels[d] {
            Kernel::Continuous(k) | Kernel::Stepped { kernel: k, .. } => Ok(k
                .mu
                .iter()
                .zip(&k.inverse_sigma)
                .map(|(mu, inverse)| (*mu, 1.0 / inverse))
                .collect()),
            Kernel::Categorical {
                choices,
                log_probabilities,
            } => Err(log_probabilities
                .chunks(*choices)
                .map(|row| row.iter().map(|p| p.exp()).collect())
                .collect()),
        }
    }
}

fn subtract_squares(
    terms: &mut [f64],
    coordinates: &[(&NumericKernel, f64)],
    range: std::ops::Range<usize>,
) {
    for (kernel, x) in coordinates {
        let mu = &kernel.mu[range.clone()];
        let inverse_sigma = &kernel.inverse_sigma[range.clone()];
        for ((term, mu), inverse) in terms.iter_mut().zip(mu).zip(inverse_sigma) {
            let z = (x - mu) * inverse;
            *term -= 0.5 * z * z;
        }
    }
}

/// A running ln Σ exp.
#[derive(Debug, Clone, Copy)]
struct LogSum {
    max: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self {
            max: f64::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl LogSum {
    /// Below this a term does not show: thousands of terms e^-45 do not reach a double's last digit.
    fn least(self) -> f64 {
        self.max - 45.0
    }

    fn add(&mut self, terms: &[f64]) {
        let max = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max > self.max {
            self.sum *= (self.max - max).exp();
            self.max = max;
        }
        if self.max == f64::NEG_INFINITY {
            return;
        }
        let least = self.least();
        for term in terms {
            if *term > least {
                self.sum += (term - self.max).exp();
            }
        }
    }

    fn ln(self) -> f64 {
        if self.max == f64::NEG_INFINITY {
            self.max
        } else {
            self.max + self.sum.ln()
        }
    }
}

/// The terms of a discrete parameter: computed once per distinct value among the points.
struct DiscreteTerms {
    /// Which row each point uses.
    rows: Vec<usize>,
    terms: Vec<Vec<f64>>,
}

impl DiscreteTerms {
    fn new(kernel: &Kernel, d: usize, points: &[Vec<f64>]) -> Self {
        let mut seen: Vec<f64> = Vec::new();
        let rows = points
            .iter()
            .map(|point| {
                seen.iter().position(|x| *x == point[d]).unwrap_or_else(|| {
                    seen.push(point[d]);
                    seen.len() - 1
                })
            })
            .collect();
        let terms = seen.iter().map(|x| kernel.discrete_terms(*x)).collect();
        Self { rows, terms }
    }

    fn row(&self, point: usize) -> &[f64] {
        &self.terms[self.rows[point]]
    }
}
