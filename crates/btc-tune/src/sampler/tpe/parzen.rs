//! The density estimate: a mixture of product kernels, one around each observation and one prior.

use std::sync::Arc;

use rand::Rng;

use super::normal::{HALF_LN_2PI, log_mass, quantile};
use crate::distribution::Distribution;

/// Settings of the kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KernelConfig {
    pub(crate) prior_weight: f64,
    pub(crate) magic_clip: bool,
    pub(crate) endpoints: bool,
}

/// A mixture over the parameters of a search space.
#[derive(Debug, Clone)]
pub(crate) struct ParzenEstimator {
    /// Weights of the components, the prior last; they sum to 1.
    weights: Vec<f64>,
    kernels: Vec<Kernel>,
    /// Per component: ln of its weight and of the normalisers of its continuous kernels.
    offsets: Vec<f64>,
}

/// The kernels of one parameter, one per component.
#[derive(Debug, Clone)]
enum Kernel {
    Numeric(NumericKernel),
    /// ln of the probabilities, `choices` per component.
    Categorical {
        choices: usize,
        log_probabilities: Vec<f64>,
    },
}

#[derive(Debug, Clone)]
struct NumericKernel {
    distribution: Arc<Distribution>,
    low: f64,
    high: f64,
    mu: Vec<f64>,
    inverse_sigma: Vec<f64>,
    /// Per component: ln of the mass within the bounds.
    log_masses: Vec<f64>,
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
        let mut weights = weights.to_vec();
        weights.push(if weights.is_empty() {
            1.0
        } else {
            config.prior_weight
        });
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);

        let mut offsets: Vec<f64> = weights.iter().map(|weight| weight.ln()).collect();
        let kernels = columns
            .iter()
            .map(|column| match column.distribution.choices_len() {
                Some(choices) => categorical(&column.values, choices, config),
                None => {
                    let kernel = numeric(column, config);
                    if kernel.distribution.step().is_none() {
                        for (j, offset) in offsets.iter_mut().enumerate() {
                            *offset +=
                                kernel.inverse_sigma[j].ln() - HALF_LN_2PI - kernel.log_masses[j];
                        }
                    }
                    Kernel::Numeric(kernel)
                }
            })
            .collect();
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
        /// Components per round: their numbers stay in the first-level cache.
        const CHUNK: usize = 256;
        let components = self.weights.len();
        let discrete: Vec<Option<DiscreteTerms>> = self
            .kernels
            .iter()
            .enumerate()
            .map(|(d, kernel)| DiscreteTerms::new(kernel, d, points, components))
            .collect();
        let transformed: Vec<Vec<f64>> = points
            .iter()
            .map(|point| {
                self.kernels
                    .iter()
                    .zip(point)
                    .map(|(kernel, x)| kernel.transform(*x))
                    .collect()
            })
            .collect();
        let mut sums = vec![LogSum::default(); points.len()];
        let mut terms = [0.0; CHUNK];
        for start in (0..components).step_by(CHUNK) {
            let range = start..(start + CHUNK).min(components);
            let terms = &mut terms[..range.len()];
            for (i, point) in transformed.iter().enumerate() {
                terms.copy_from_slice(&self.offsets[range.clone()]);
                for (d, kernel) in self.kernels.iter().enumerate() {
                    match (&discrete[d], kernel) {
                        (Some(table), _) => {
                            for (term, add) in terms.iter_mut().zip(&table.row(i)[range.clone()]) {
                                *term += add;
                            }
                        }
                        (None, Kernel::Numeric(kernel)) => {
                            let mu = &kernel.mu[range.clone()];
                            let inverse_sigma = &kernel.inverse_sigma[range.clone()];
                            let x = point[d];
                            for ((term, mu), inverse) in terms.iter_mut().zip(mu).zip(inverse_sigma)
                            {
                                let z = (x - mu) * inverse;
                                *term -= 0.5 * z * z;
                            }
                        }
                        (None, Kernel::Categorical { .. }) => {}
                    }
                }
                sums[i].add(terms);
            }
        }
        sums.into_iter()
            .zip(&transformed)
            .map(|(sum, point)| {
                if self.is_inside(point) {
                    sum.ln()
                } else {
                    f64::NEG_INFINITY
                }
            })
            .collect()
    }

    /// Whether a continuous coordinate leaves its bounds, where every kernel is zero.
    fn is_inside(&self, point: &[f64]) -> bool {
        self.kernels
            .iter()
            .zip(point)
            .all(|(kernel, x)| match kernel {
                Kernel::Numeric(kernel) if kernel.distribution.step().is_none() => {
                    // A rounding error of ln must not turn the bound itself away.
                    let slack = 1e-12 * (kernel.high - kernel.low);
                    kernel.low - slack <= *x && *x <= kernel.high + slack
                }
                _ => true,
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
            Kernel::Numeric(k) => Ok(k
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
    fn add(&mut self, terms: &[f64]) {
        /// Terms smaller than the largest by e^-40 do not show in a double sum.
        const NEGLIGIBLE: f64 = 40.0;
        let max = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max > self.max {
            self.sum *= (self.max - max).exp();
            self.max = max;
        }
        if self.max == f64::NEG_INFINITY {
            return;
        }
        let least = self.max - NEGLIGIBLE;
        if max < least {
            return;
        }
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
    fn new(kernel: &Kernel, d: usize, points: &[Vec<f64>], components: usize) -> Option<Self> {
        if matches!(kernel, Kernel::Numeric(k) if k.distribution.step().is_none()) {
            return None;
        }
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
        let terms = seen
            .iter()
            .map(|x| kernel.discrete_terms(*x, components))
            .collect();
        Some(Self { rows, terms })
    }

    fn row(&self, point: usize) -> &[f64] {
        &self.terms[self.rows[point]]
    }
}

impl Kernel {
    fn transform(&self, x: f64) -> f64 {
        match self {
            Self::Numeric(kernel) => kernel.distribution.transform(x),
            Self::Categorical { .. } => x,
        }
    }

    fn discrete_terms(&self, x: f64, components: usize) -> Vec<f64> {
        match self {
            Self::Categorical {
                choices,
                log_probabilities,
            } => {
                let choice = x as usize;
                (0..components)
                    .map(|j| log_probabilities[j * choices + choice])
                    .collect()
            }
            Self::Numeric(kernel) => {
                let half = kernel.distribution.step().unwrap_or(0.0) / 2.0;
                let low = kernel.distribution.transform(x - half);
                let high = kernel.distribution.transform(x + half);
                (0..components)
                    .map(|j| {
                        let (mu, inverse) = (kernel.mu[j], kernel.inverse_sigma[j]);
                        log_mass((low - mu) * inverse, (high - mu) * inverse) - kernel.log_masses[j]
                    })
                    .collect()
            }
        }
    }

    fn sample(&self, component: usize, rng: &mut impl Rng) -> f64 {
        let u = rng.random::<f64>();
        match self {
            Self::Categorical {
                choices,
                log_probabilities,
            } => {
                let row = &log_probabilities[component * choices..(component + 1) * choices];
                let mut sum = 0.0;
                for (choice, log_probability) in row.iter().enumerate() {
                    sum += log_probability.exp();
                    if u < sum {
                        return choice as f64;
                    }
                }
                (choices - 1) as f64
            }
            Self::Numeric(kernel) => {
                let (mu, inverse) = (kernel.mu[component], kernel.inverse_sigma[component]);
                let z = quantile(u, (kernel.low - mu) * inverse, (kernel.high - mu) * inverse);
                kernel.value((mu + z / inverse).clamp(kernel.low, kernel.high))
            }
        }
    }
}

impl NumericKernel {
    /// The value of the distribution a point of the line stands for.
    fn value(&self, x: f64) -> f64 {
        match &*self.distribution {
            Distribution::Float(d) => {
                let x = if d.is_log() { x.exp() } else { x };
                let x = match d.step() {
                    Some(step) => d.low() + ((x - d.low()) / step).round_ties_even() * step,
                    None => x,
                };
                x.clamp(d.low(), d.high())
            }
            Distribution::Int(d) => {
                let x = if d.is_log() { x.exp() } else { x };
                let (low, step) = (d.low() as f64, d.step() as f64);
                (low + ((x - low) / step).round_ties_even() * step).clamp(low, d.high() as f64)
            }
            Distribution::Categorical(_) => x,
        }
    }
}

fn categorical(values: &[f64], choices: usize, config: KernelConfig) -> Kernel {
    let components = values.len() + 1;
    let prior = config.prior_weight / components as f64;
    let total = 1.0 + prior * choices as f64;
    let (hit, miss) = (((1.0 + prior) / total).ln(), (prior / total).ln());
    let mut log_probabilities = Vec::with_capacity(components * choices);
    for value in values {
        let seen = (*value as usize).min(choices - 1);
        log_probabilities.extend((0..choices).map(|c| if c == seen { hit } else { miss }));
    }
    log_probabilities.extend(std::iter::repeat_n(-(choices as f64).ln(), choices));
    Kernel::Categorical {
        choices,
        log_probabilities,
    }
}

fn numeric(column: &Column, config: KernelConfig) -> NumericKernel {
    let distribution = &column.distribution;
    let (low, high) = bounds(distribution);
    let range = high - low;
    let mut mu: Vec<f64> = column
        .values
        .iter()
        .map(|x| distribution.transform(*x))
        .collect();
    let mut sigma = bandwidths(&mu, low, high, config);
    mu.push(0.5 * (low + high));
    sigma.push(range);
    let log_masses = mu
        .iter()
        .zip(&sigma)
        .map(|(mu, sigma)| log_mass((low - mu) / sigma, (high - mu) / sigma))
        .collect();
    let inverse_sigma = sigma.into_iter().map(|sigma| 1.0 / sigma).collect();
    NumericKernel {
        distribution: distribution.clone(),
        low,
        high,
        mu,
        inverse_sigma,
        log_masses,
    }
}

/// The line the kernels live on.
fn bounds(distribution: &Distribution) -> (f64, f64) {
    match distribution {
        Distribution::Float(d) if d.is_log() => (d.low().ln(), d.high().ln()),
        other => other.transformed_bounds(),
    }
}

/// The width of each kernel: the distance to the farther neighbour, within limits.
fn bandwidths(mu: &[f64], low: f64, high: f64, config: KernelConfig) -> Vec<f64> {
    let count = mu.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| mu[*a].total_cmp(&mu[*b]));
    let mut sigma = vec![0.0; count];
    for (rank, &i) in order.iter().enumerate() {
        let left = mu[i] - if rank == 0 { low } else { mu[order[rank - 1]] };
        let right = if rank + 1 == count {
            high
        } else {
            mu[order[rank + 1]]
        } - mu[i];
        sigma[i] = if config.endpoints || count < 2 {
            left.max(right)
        } else if rank == 0 {
            right
        } else if rank + 1 == count {
            left
        } else {
            left.max(right)
        };
    }
    let range = high - low;
    let (least, most) = if config.magic_clip {
        (range / (count as f64 + 2.0).min(100.0), range)
    } else {
        (1e-12, f64::INFINITY)
    };
    // Observations outside the current range can make the widths negative or too large.
    sigma
        .iter_mut()
        .for_each(|sigma| *sigma = sigma.clamp(least, most.max(least)));
    sigma
}
