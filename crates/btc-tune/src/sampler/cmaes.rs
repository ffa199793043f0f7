//! Evolution of a normal distribution by its covariance: CMA-ES.
//!
//! Hansen (2016), arXiv:1604.00772, with negative weights ("active" update). Nothing but the generation
//! of a trial is stored: the distribution is worked out again from the trials.

use std::sync::{Arc, Mutex};

use rand::Rng;

use super::tpe::normal;
use super::{RelativeSample, Sampler, StudyView, generator, random};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, TrialState};
use crate::linalg::{Matrix, dot};
use crate::search_space::{SearchSpace, intersection_search_space};
use crate::sync::lock;

const GENERATION: &str = "cma:generation";

/// Samples from a normal distribution that moves and stretches towards good values.
///
/// For studies with one objective and numeric parameters that do not change; others are sampled at
/// random. Strong where parameters depend on each other and some hundred trials are at hand.
#[derive(Debug)]
pub struct CmaEsSampler {
    seed: u64,
    cache: Mutex<Option<Evolution>>,
}

/// The distribution after some generations, with the trials that made it.
#[derive(Debug, Clone)]
struct Evolution {
    space: SearchSpace,
    generation: u64,
    /// Position and trial of every solution that was used, to recognise the study.
    used: Vec<(usize, Arc<FrozenTrial>)>,
    state: State,
}

impl CmaEsSampler {
    /// Creates a sampler; the same seed and history give the same values.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cache: Mutex::new(None),
        }
    }

    /// Lives through all generations that are complete.
    fn evolve(&self, study: StudyView<'_>, space: &SearchSpace) -> Evolution {
        let mut slot = lock(&self.cache);
        let known = slot.take().filter(|known| {
            known.space == *space
                && known.used.iter().all(|(position, trial)| {
                    study
                        .trials
                        .get(*position)
                        .is_some_and(|other| Arc::ptr_eq(other, trial))
                })
        });
        let mut evolution = known.unwrap_or_else(|| Evolution {
            space: space.clone(),
            generation: 0,
            used: Vec::new(),
            state: State::new(space.len()),
        });
        let direction = study.directions.first().copied().unwrap_or_default();
        loop {
            let size = evolution.state.population();
            let generation: Vec<(usize, &Arc<FrozenTrial>)> = study
                .trials
                .iter()
                .enumerate()
                .filter(|(_, trial)| {
                    trial.state == TrialState::Complete
                        && trial.system_attrs.get(GENERATION).and_then(|g| g.as_u64())
                            == Some(evolution.generation)
                })
                .filter(|(_, trial)| space.keys().all(|name| trial.parameter(name).is_some()))
                .take(size)
                .collect();
            if generation.len() < size {
                break;
            }
            let solutions = generation
                .iter()
                .map(|(_, trial)| {
                    let value = trial.value().unwrap_or(f64::INFINITY);
                    (normalise(trial, space), direction.as_loss(value))
                })
                .collect();
            evolution
                .used
                .extend(generation.iter().map(|(i, trial)| (*i, (*trial).clone())));
            evolution.state.tell(solutions);
            evolution.generation += 1;
        }
        *slot = Some(evolution.clone());
        evolution
    }
}

/// The parameters of a trial in the unit cube.
fn normalise(trial: &FrozenTrial, space: &SearchSpace) -> Vec<f64> {
    space
        .iter()
        .map(|(name, distribution)| {
            let (low, high) = distribution.transformed_bounds();
            let internal = trial.parameter(name).map_or(0.0, |param| param.internal);
            let x = (distribution.transform(internal) - low) / (high - low);
            if x.is_finite() { x } else { 0.5 }
        })
        .collect()
}

impl Sampler for CmaEsSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        if study.directions.len() > 1 {
            return Err(Error::SeveralObjectives {
                operation: "CMA-ES",
                objectives: study.directions.len(),
            });
        }
        let complete = study
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Complete);
        let mut space = intersection_search_space(complete);
        space.retain(|_, d| !d.is_single() && d.choices_len().is_none());
        if space.is_empty() {
            return Ok(RelativeSample::default());
        }
        let evolution = self.evolve(study, &space);
        let mut rng = generator(self.seed, trial, "\0relative");
        let point = evolution.state.ask(&mut rng);
        let params = space
            .into_iter()
            .zip(point)
            .map(|((name, distribution), x)| {
                let (low, high) = distribution.transformed_bounds();
                let internal = distribution.untransform(low + x * (high - low));
                Param {
                    name,
                    distribution,
                    internal,
                }
            })
            .collect();
        let mut sample = RelativeSample {
            params,
            ..RelativeSample::default()
        };
        sample
            .system_attrs
            .insert(GENERATION.to_owned(), evolution.generation.into());
        Ok(sample)
    }

    fn sample_independent(
        &self,
        _study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        Ok(random::sample(
            distribution,
            &mut generator(self.seed, trial.number, name),
        ))
    }
}

/// Mean, step size, covariance and paths, in the unit cube. Names follow the tutorial.
#[derive(Debug, Clone)]
struct State {
    generation: i32,
    mean: Vec<f64>,
    sigma: f64,
    covariance: Matrix,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    /// Eigenvectors and square roots of the eigenvalues of the covariance.
    basis: Matrix,
    scales: Vec<f64>,
    weights: Vec<f64>,
    constants: Constants,
}

#[derive(Debug, Clone, Copy)]
struct Constants {
    parents: usize,
    mu_eff: f64,
    c_1: f64,
    c_mu: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_c: f64,
    chi: f64,
}

impl State {
    fn new(n: usize) -> Self {
        let d = n as f64;
        let population = 4 + (3.0 * d.ln()).floor() as usize;
        let parents = population / 2;
        let raw: Vec<f64> = (1..=population)
            .map(|i| ((population as f64 + 1.0) / 2.0).ln() - (i as f64).ln())
            .collect();
        let effective =
            |w: &[f64]| w.iter().sum::<f64>().powi(2) / w.iter().map(|w| w * w).sum::<f64>();
        let (mu_eff, mu_eff_minus) = (effective(&raw[..parents]), effective(&raw[parents..]));
        let c_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1 - 1e-8)
            .min(2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff));
        let least = (1.0 + c_1 / c_mu)
            .min(1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0))
            .min((1.0 - c_1 - c_mu) / (d * c_mu));
        let positive: f64 = raw.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = raw.iter().filter(|w| **w < 0.0).map(|w| w.abs()).sum();
        let weights = raw
            .iter()
            .map(|w| {
                if *w >= 0.0 {
                    w / positive
                } else {
                    least * w / negative
                }
            })
            .collect();
        let c_sigma = (mu_eff + 2.0) / (d + mu_eff + 5.0);
        let constants = Constants {
            parents,
            mu_eff,
            c_1,
            c_mu,
            c_sigma,
            d_sigma: 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma,
            c_c: (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d),
            chi: d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d)),
        };
        Self {
            generation: 0,
            mean: vec![0.5; n],
            sigma: 1.0 / 6.0,
            covariance: Matrix::identity(n),
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            basis: Matrix::identity(n),
            scales: vec![1.0; n],
            weights,
            constants,
        }
    }

    fn population(&self) -> usize {
        self.weights.len()
    }

    /// Draws a point of the unit cube; outside of it draws again, and in the end cuts it off.
    fn ask(&self, rng: &mut impl Rng) -> Vec<f64> {
        let n = self.mean.len();
        let mut point = vec![0.0; n];
        for _ in 0..10 * n {
            let steps: Vec<f64> = self
                .scales
                .iter()
                // The half keeps the argument off zero.
                .map(|scale| {
                    scale
                        * normal::inverse(
                            (rng.random::<u64>() >> 11) as f64 / 2_f64.powi(53) + 2_f64.powi(-54),
                        )
                })
                .collect();
            let moved = self.basis.times(&steps);
            point = self
                .mean
                .iter()
                .zip(moved)
                .map(|(m, y)| m + self.sigma * y)
                .collect();
            if point.iter().all(|x| (0.0..=1.0).contains(x)) {
                return point;
            }
        }
        point.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
        point
    }

    /// Learns from a generation of (point, loss).
    fn tell(&mut self, mut solutions: Vec<(Vec<f64>, f64)>) {
        let Constants {
            parents,
            mu_eff,
            c_1,
            c_mu,
            c_sigma,
            d_sigma,
            c_c,
            chi,
        } = self.constants;
        let n = self.mean.len();
        let d = n as f64;
        self.generation += 1;
        solutions.sort_by(|a, b| a.1.total_cmp(&b.1));
        let steps: Vec<Vec<f64>> = solutions
            .iter()
            .map(|(x, _)| {
                x.iter()
                    .zip(&self.mean)
                    .map(|(x, m)| (x - m) / self.sigma)
                    .collect()
            })
            .collect();
        let mut step = vec![0.0; n];
        for (weight, y) in self.weights[..parents].iter().zip(&steps) {
            step.iter_mut().zip(y).for_each(|(s, y)| *s += weight * y);
        }
        self.mean
            .iter_mut()
            .zip(&step)
            .for_each(|(m, y)| *m += self.sigma * y);

        let whitened = self.whiten(&step);
        let keep = (c_sigma * (2.0 - c_sigma) * mu_eff).sqrt();
        for (p, w) in self.path_sigma.iter_mut().zip(whitened) {
            *p = (1.0 - c_sigma) * *p + keep * w;
        }
        let length = dot(&self.path_sigma, &self.path_sigma).sqrt();
        self.sigma *= (c_sigma / d_sigma * (length / chi - 1.0)).exp();
        // A step size out of all proportion would make every number infinite.
        self.sigma = self.sigma.clamp(1e-12, 1e6);

        let expected = (1.0 - (1.0 - c_sigma).powi(2 * (self.generation + 1))).sqrt();
        let stall = if length / expected < (1.4 + 2.0 / (d + 1.0)) * chi {
            1.0
        } else {
            0.0
        };
        let keep = stall * (c_c * (2.0 - c_c) * mu_eff).sqrt();
        for (p, y) in self.path_c.iter_mut().zip(&step) {
            *p = (1.0 - c_c) * *p + keep * y;
        }
        let weights: Vec<f64> = self
            .weights
            .iter()
            .zip(&steps)
            .map(|(weight, y)| {
                if *weight >= 0.0 {
                    return *weight;
                }
                let w = self.whiten(y);
                weight * d / (dot(&w, &w) + 1e-8)
            })
            .collect();
        let decay = 1.0 + c_1 * (1.0 - stall) * c_c * (2.0 - c_c)
            - c_1
            - c_mu * self.weights.iter().sum::<f64>();
        for i in 0..n {
            for j in 0..=i {
                let rank_one = self.path_c[i] * self.path_c[j];
                let rank_mu: f64 = weights
                    .iter()
                    .zip(&steps)
                    .map(|(weight, y)| weight * y[i] * y[j])
                    .sum();
                let value = decay * self.covariance.at(i, j) + c_1 * rank_one + c_mu * rank_mu;
                self.covariance.set(i, j, value);
                self.covariance.set(j, i, value);
            }
        }
        let (values, basis) = self.covariance.eigen();
        self.scales = values
            .into_iter()
            .map(|value| value.max(1e-16).sqrt())
            .collect();
        self.basis = basis;
    }

    /// C^(-1/2) y.
    fn whiten(&self, y: &[f64]) -> Vec<f64> {
        let n = y.len();
        let along: Vec<f64> = (0..n)
            .map(|k| (0..n).map(|i| self.basis.at(i, k) * y[i]).sum::<f64>() / self.scales[k])
            .collect();
        self.basis.times(&along)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_closes_in_on_a_tilted_valley() {
        let mut state = State::new(3);
        let mut rng = generator(1, 0, "test");
        let loss = |x: &[f64]| {
            (x[0] - 0.3).powi(2) + 100.0 * (x[1] - 2.0 * x[0]).powi(2) + (x[2] - 0.7).powi(2)
        };
        for _ in 0..120 {
            let generation = (0..state.population())
                .map(|_| {
                    let x = state.ask(&mut rng);
                    let value = loss(&x);
                    (x, value)
                })
                .collect();
            state.tell(generation);
        }
        assert!(loss(&state.mean) < 1e-6, "{:?}", state.mean);
    }
}
