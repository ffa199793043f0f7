//! Points that fill the space evenly.

use rand::Rng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::sobol::{DIMENSIONS, Sobol};
use super::{RelativeSample, Sampler, StudyView, generator, random};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param};
use crate::search_space::intersection_search_space;

/// Which sequence fills the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QmcSequence {
    /// Sobol's sequence, for up to 64 parameters.
    #[default]
    Sobol,
    /// Halton's sequence, for up to 64 parameters; best for few.
    Halton,
}

/// Fills the numeric part of the search space evenly; trial number `n` takes point `n`.
///
/// The first trial and categorical parameters are sampled at random.
#[derive(Debug, Clone)]
pub struct QmcSampler {
    seed: u64,
    sequence: QmcSequence,
    scramble: bool,
}

impl QmcSampler {
    /// Creates a sampler whose sequence is shifted by the seed.
    pub fn new(seed: u64, sequence: QmcSequence) -> Self {
        Self {
            seed,
            sequence,
            scramble: true,
        }
    }

    /// Whether the sequence is shifted by the seed, or used as it is.
    #[must_use]
    pub fn with_scramble(mut self, scramble: bool) -> Self {
        self.scramble = scramble;
        self
    }

    /// The point of an index, in [0, 1).
    fn point(&self, index: u32, dimensions: usize) -> Vec<f64> {
        // One shift for the whole study, whatever the trial.
        let mut rng: Xoshiro256PlusPlus = generator(self.seed, 0, "\0qmc");
        let mut shifts = (0..dimensions).map(|_| if self.scramble { rng.random() } else { 0_u32 });
        let unit = |x: u32| f64::from(x) / 2_f64.powi(32);
        match self.sequence {
            QmcSequence::Sobol => {
                let point = Sobol::new(dimensions).point(index);
                point
                    .into_iter()
                    .map(|x| unit(x ^ shifts.next().unwrap_or(0)))
                    .collect()
            }
            QmcSequence::Halton => primes()
                .take(dimensions)
                .map(|base| {
                    (radical_inverse(index, base) + unit(shifts.next().unwrap_or(0))).fract()
                })
                .collect(),
        }
    }
}

fn primes() -> impl Iterator<Item = u32> {
    (2..).filter(|n: &u32| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    })
}

/// The digits of an index behind the point, in reverse.
fn radical_inverse(index: u32, base: u32) -> f64 {
    let (mut rest, mut scale, mut value) = (index, 1.0, 0.0);
    while rest > 0 {
        scale /= f64::from(base);
        value += f64::from(rest % base) * scale;
        rest /= base;
    }
    value
}

impl Sampler for QmcSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        let mut space = intersection_search_space(study.trials);
        space.retain(|_, d| !d.is_single() && d.choices_len().is_none());
        if space.is_empty() {
            return Ok(RelativeSample::default());
        }
        if space.len() > DIMENSIONS {
            return Err(Error::InvalidSetting {
                reason: format!(
                    "the sequences serve {DIMENSIONS} parameters, but the study has {}",
                    space.len()
                ),
            });
        }
        let point = self.point(u32::try_from(trial).unwrap_or(u32::MAX), space.len());
        let params = space
            .into_iter()
            .zip(point)
            .map(|((name, distribution), u)| {
                let (low, high) = distribution.transformed_bounds();
                let internal = distribution.untransform(low + u * (high - low));
                Param {
                    name,
                    distribution,
                    internal,
                }
            })
            .collect();
        Ok(RelativeSample {
            params,
            ..RelativeSample::default()
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halton_counts_in_primes() {
        let sampler = QmcSampler::new(0, QmcSequence::Halton).with_scramble(false);
        // 5 is 101 in base 2, 12 in base 3 and 10 in base 5.
        for (x, expected) in sampler
            .point(5, 3)
            .into_iter()
            .zip([0.625, 7.0 / 9.0, 0.04])
        {
            assert!((x - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn every_slice_gets_its_share() {
        for sequence in [QmcSequence::Sobol, QmcSequence::Halton] {
            let sampler = QmcSampler::new(9, sequence);
            for d in 0..3 {
                let mut counts = [0; 8];
                for index in 0..64 {
                    counts[(sampler.point(index, 3)[d] * 8.0) as usize] += 1;
                }
                assert!(
                    counts.iter().all(|count| (6..=10).contains(count)),
                    "{counts:?}"
                );
            }
        }
    }
}
