//! The kernels of one parameter: where they are, how wide they are, how much of them is within bounds.

use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng;

use super::normal::{cdf, log_mass, quantile};
use crate::distribution::Distribution;

/// Settings of the kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KernelConfig {
    pub(crate) prior_weight: f64,
    pub(crate) magic_clip: bool,
    pub(crate) endpoints: bool,
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
    pub(super) distribution: Arc<Distribution>,
    low: f64,
    high: f64,
    pub(super) mu: Vec<f64>,
    pub(super) inverse_sigma: Vec<f64>,
    /// Per component: 1 / (sigma * mass within the bounds).
    pub(super) factors: Vec<f64>,
    /// Components centred out of bounds, with -ln of their mass, which their factor leaves out: it can
    /// be too large for a float.
    pub(super) outside: Vec<(usize, f64)>,
}

/// The distinct (mu, sigma) among the components of a stepped parameter.
#[derive(Debug, Clone)]
pub(super) struct Kinds {
    of_component: Vec<u32>,
    /// mu, 1 / sigma and ln of the mass within the bounds.
    parameters: Vec<(f64, f64, f64)>,
}

impl Kernel {
    pub(super) fn discrete_terms(&self, x: f64) -> Vec<f64> {
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

    pub(super) fn sample(&self, component: usize, rng: &mut impl Rng) -> f64 {
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
    pub(super) fn is_inside(&self, x: f64) -> bool {
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    low: f64,
    high: f64,
    least: f64,
    most: f64,
    /// Whether the outermost kernels reach to their neighbour only, not to the bounds.
    strict: bool,
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
            least,
            most: most.max(least),
            strict: !config.endpoints && count >= 2,
        }
    }

    /// The width of a kernel between its neighbours: the distance to the farther one, within limits.
    pub(super) fn width(&self, left: Option<f64>, mu: f64, right: Option<f64>) -> f64 {
        let to_left = mu - left.unwrap_or(self.low);
        let to_right = right.unwrap_or(self.high) - mu;
        let width = if self.strict && left.is_none() {
            to_right
        } else if self.strict && right.is_none() {
            to_left
        } else {
            to_left.max(to_right)
        };
        // Observations outside of the current range can make a width negative or too large.
        width.clamp(self.least, self.most)
    }

    /// Finds the width of each kernel.
    ///
    /// Takes (index, mu) in order of mu, and hands out (index, width).
    pub(super) fn bandwidths(
        &self,
        sorted: impl Iterator<Item = (usize, f64)>,
        mut put: impl FnMut(usize, f64),
    ) {
        let mut sorted = sorted.peekable();
        let mut left = None;
        while let Some((index, mu)) = sorted.next() {
            let right = sorted.peek().map(|(_, next)| *next);
            put(index, self.width(left, mu, right));
            left = Some(mu);
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
