//! Independent uniform sampling.

use rand::Rng;

use super::{Sampler, StudyView, generator};
use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::FrozenTrial;

/// Draws every parameter uniformly, on the logarithmic scale where its distribution says so.
#[derive(Debug, Clone)]
pub struct RandomSampler {
    seed: u64,
}

impl RandomSampler {
    /// Creates a sampler; the same seed gives the same values.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Sampler for RandomSampler {
    fn sample_independent(
        &self,
        _study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        Ok(sample(
            distribution,
            &mut generator(self.seed, trial.number, name),
        ))
    }
}

/// Draws one value; returns its internal representation.
pub(crate) fn sample(distribution: &Distribution, rng: &mut impl Rng) -> f64 {
    if let Some(choices) = distribution.choices_len() {
        return rng.random_range(0..choices) as f64;
    }
    let (low, high) = distribution.transformed_bounds();
    let x = if low < high {
        low + (high - low) * rng.random::<f64>()
    } else {
        low
    };
    distribution.untransform(x)
}
