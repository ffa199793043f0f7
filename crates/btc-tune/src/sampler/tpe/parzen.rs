//! The density estimate: a mixture of product kernels, one around each observation and one prior.

use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng;

use super::normal::{HALF_LN_2PI, cdf, log_mass, quantile};
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
pub(super) enum Kernel {
    Continuous(NumericKernel),
    /// On the values `low`, `low + step`, ...: kernels of one kind share their probabilities.
    Stepped {
        kernel: NumericKernel,
        kinds: Kinds,
    },
    /// ln of the probabilities, `choices` per component.
    Categorical {
        choices: usize,
        log_probabilities: Vec<f64>,
    },
}

/// Normal kernels cut to the bounds.
#[derive(Debug, Clone)]
pub(super) struct NumericKernel {
    distribution: Arc<Distribution>,
    low: f64,
    high: f64,
    mu: Vec<f64>,
    inverse_sigma: Vec<f64>,
    /// Per component: 1 / (sigma * mass within the bounds).
    factors: Vec<f64>,
    /// Components centred out of bounds, with -ln of their mass, which their factor leaves out: it can
    /// be too large for a float.
    outside: Vec<(usize, f64)>,
}

/// The distinct (mu, sigma) among the components of a stepped parameter.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    of_component: Vec<u32>,
    /// mu, 1 / sigma and ln of the mass within the bounds.
    parameters: Vec<(f64, f64, f64)>,
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
        for (offset, product) in offsets.iter_mut().zip(&products) {
            *offset += product.ln() - continuous.len() as f64 * HALF_LN_2PI;
        }
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

impl Kernel {
    fn discrete_terms(&self, x: f64) -> Vec<f64> {
        match self {
            Self::Continuous(_) => Vec::new(),
            Self::Categorical {
                choices,
                log_probabilities,
            } => {
                let choice = x as usize;
                log_probabilities
                    .chunks(*choices)
                    .map(|row| row[choice])
                    .collect()
            }
            Self::Stepped { kernel, kinds } => {
                let half = kernel.distribution.step().unwrap_or(0.0) / 2.0;
                let low = kernel.distribution.transform(x - half);
                let high = kernel.distribution.transform(x + half);
                let of_kind: Vec<f64> = kinds
                    .parameters
                    .iter()
                    .map(|(mu, inverse, log_total)| {
                        log_mass((low - mu) * inverse, (high - mu) * inverse) - log_total
                    })
                    .collect();
                kinds
                    .of_component
                    .iter()
                    .map(|kind| of_kind[*kind as usize])
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
            Self::Continuous(kernel) | Self::Stepped { kernel, .. } => {
                let (mu, inverse) = (kernel.mu[component], kernel.inverse_sigma[component]);
                let z = quantile(u, (kernel.low - mu) * inverse, (kernel.high - mu) * inverse);
                kernel.value((mu + z / inverse).clamp(kernel.low, kernel.high))
            }
        }
    }
}

impl NumericKernel {
    /// Whether a point of the line is within the bounds; outside every kernel is zero.
    fn is_inside(&self, x: f64) -> bool {
        // A rounding error of ln must not turn the bound itself away.
        let slack = 1e-12 * (self.high - self.low);
        self.low - slack <= x && x <= self.high + slack
    }

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

pub(super) fn categorical(values: &[f64], choices: usize, config: KernelConfig) -> Kernel {
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

/// The line the kernels of a numeric parameter live on, and how wide they may be.
pub(super) struct Line {
    low: f64,
    high: f64,
    count: usize,
    least: f64,
    most: f64,
    endpoints: bool,
}

impl Line {
    /// Prepares the line for `count` observations.
    pub(super) fn new(distribution: &Distribution, count: usize, config: KernelConfig) -> Self {
        let (low, high) = match distribution {
            Distribution::Float(d) if d.is_log() => (d.low().ln(), d.high().ln()),
            other => other.transformed_bounds(),
        };
        let range = high - low;
        let (least, most) = if config.magic_clip {
            (range / (count as f64 + 2.0).min(100.0), range)
        } else {
            (1e-12, f64::INFINITY)
        };
        Self {
            low,
            high,
            count,
            least,
            most: most.max(least),
            endpoints: config.endpoints,
        }
    }

    /// Finds the width of each kernel: the distance to the farther neighbour, within limits.
    ///
    /// Takes (index, mu) in order of mu, and hands out (index, width).
    pub(super) fn bandwidths(
        &self,
        sorted: impl Iterator<Item = (usize, f64)>,
        mut put: impl FnMut(usize, f64),
    ) {
        let mut sorted = sorted.peekable();
        let mut left_neighbour = self.low;
        let mut is_first = true;
        let strict = !self.endpoints && self.count >= 2;
        while let Some((index, mu)) = sorted.next() {
            let next = sorted.peek().map(|(_, next)| *next);
            let left = mu - left_neighbour;
            let right = next.unwrap_or(self.high) - mu;
            let width = if strict && is_first {
                right
            } else if strict && next.is_none() {
                left
            } else {
                left.max(right)
            };
            // Observations outside of the current range can make a width negative or too large.
            put(index, width.clamp(self.least, self.most));
            left_neighbour = mu;
            is_first = false;
        }
    }

    /// 1 / (sigma * mass within the bounds) of a kernel; the mass is left out where mu is outside.
    pub(super) fn factor(&self, mu: f64, sigma: f64) -> f64 {
        // Beyond this the tail is less than half a unit in the last place of 1.
        const FAR: f64 = 8.3;
        if mu < self.low || mu > self.high {
            return 1.0 / sigma;
        }
        let (a, b) = ((self.low - mu) / sigma, (self.high - mu) / sigma);
        let below = if a < -FAR { 0.0 } else { cdf(a) };
        let above = if b > FAR { 0.0 } else { cdf(-b) };
        1.0 / (sigma * (1.0 - below - above))
    }

    /// Adds the prior and makes the kernels.
    pub(super) fn kernel(
        &self,
        distribution: &Arc<Distribution>,
        mut mu: Vec<f64>,
        mut sigma: Vec<f64>,
        mut factors: Vec<f64>,
    ) -> Kernel {
        let (middle, range) = (0.5 * (self.low + self.high), self.high - self.low);
        mu.push(middle);
        sigma.push(range);
        factors.push(self.factor(middle, range));
        let kinds = distribution.step().map(|_| self.kinds(&mu, &sigma));
        let outside = mu
            .iter()
            .zip(&sigma)
            .enumerate()
            .filter(|(_, (mu, _))| **mu < self.low || **mu > self.high)
            .map(|(i, (mu, s))| (i, -log_mass((self.low - mu) / s, (self.high - mu) / s)))
            .collect();
        sigma.iter_mut().for_each(|sigma| *sigma = 1.0 / *sigma);
        let kernel = NumericKernel {
            distribution: distribution.clone(),
            low: self.low,
            high: self.high,
            mu,
            inverse_sigma: sigma,
            factors,
            outside,
        };
        match kinds {
            Some(kinds) => Kernel::Stepped { kernel, kinds },
            None => Kernel::Continuous(kernel),
        }
    }

    fn kinds(&self, mu: &[f64], sigma: &[f64]) -> Kinds {
        let mut known: HashMap<(u64, u64), u32> = HashMap::new();
        let mut parameters = Vec::new();
        let of_component = mu
            .iter()
            .zip(sigma)
            .map(|(mu, sigma)| {
                *known
                    .entry((mu.to_bits(), sigma.to_bits()))
                    .or_insert_with(|| {
                        let log_total = log_mass((self.low - mu) / sigma, (self.high - mu) / sigma);
                        parameters.push((*mu, 1.0 / sigma, log_total));
                        parameters.len() as u32 - 1
                    })
            })
            .collect();
        Kinds {
            of_component,
            parameters,
        }
    }
}
