//! The samplers that a name chooses.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{
    AutoSampler, CmaEsSampler, GpSampler, Nsga2Config, Nsga2Sampler, QmcSampler, QmcSequence,
    RandomSampler, Sampler, TpeSampler,
};
use crate::error::{Error, Result};

/// A sampler that needs nothing but a seed, chosen by its name.
///
/// ```
/// use std::sync::Arc;
///
/// use btc_tune::{InMemoryStorage, SamplerKind, Study};
///
/// let kind: SamplerKind = "cmaes".parse()?;
/// let study = Study::builder("s", Arc::new(InMemoryStorage::new()))
///     .shared_sampler(kind.build(7)?)
///     .create()?;
/// let error = "random-forest".parse::<SamplerKind>().unwrap_err();
/// assert!(error.to_string().contains("there are: auto, tpe"));
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SamplerKind {
    /// A Gaussian process, which makes the most of few trials, as long as it
    /// suits; else TPE.
    #[default]
    Auto,
    /// The tree-structured Parzen estimator, as Optuna's default.
    Tpe,
    /// A Gaussian process.
    Gp,
    /// Covariance matrix adaptation.
    CmaEs,
    /// The genetic algorithm NSGA-II, for several objectives.
    Nsga2,
    /// Sobol's sequence.
    Qmc,
    /// Independent draws.
    Random,
}

impl SamplerKind {
    /// Every one, in the order of a list to choose from.
    pub const ALL: [Self; 7] = [
        Self::Auto,
        Self::Tpe,
        Self::Gp,
        Self::CmaEs,
        Self::Nsga2,
        Self::Qmc,
        Self::Random,
    ];

    /// The name that chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tpe => "tpe",
            Self::Gp => "gp",
            Self::CmaEs => "cmaes",
            Self::Nsga2 => "nsga2",
            Self::Qmc => "qmc",
            Self::Random => "random",
        }
    }

    /// The sampler with its default settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if the sampler refuses them, which none does today.
    pub fn build(self, seed: u64) -> Result<Arc<dyn Sampler>> {
        Ok(match self {
            Self::Auto => Arc::new(AutoSampler::new(seed)),
            Self::Tpe => Arc::new(TpeSampler::new(seed)),
            Self::Gp => Arc::new(GpSampler::new(seed)),
            Self::CmaEs => Arc::new(CmaEsSampler::new(seed)),
            Self::Nsga2 => Arc::new(Nsga2Sampler::new(seed, Nsga2Config::default())?),
            Self::Qmc => Arc::new(QmcSampler::new(seed, QmcSequence::Sobol)),
            Self::Random => Arc::new(RandomSampler::new(seed)),
        })
    }
}

impl FromStr for SamplerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        crate::names::find("sampler", &Self::ALL, Self::name, text)
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{InMemoryStorage, Study};

    #[test]
    fn every_name_is_read_back_and_chooses_a_sampler_that_works() {
        for kind in SamplerKind::ALL {
            assert_eq!(kind.to_string().parse::<SamplerKind>().unwrap(), kind);
            let run = || {
                let study = Study::builder("s", Arc::new(InMemoryStorage::new()))
                    .shared_sampler(kind.build(3).unwrap())
                    .create()
                    .unwrap();
                let objective =
                    |trial: &mut crate::Trial| Ok(trial.suggest_float("x", -1.0..=1.0)?);
                study
                    .optimize(NonZeroUsize::new(15).unwrap(), objective)
                    .unwrap();
                let trials = study.trials().unwrap();
                trials
                    .iter()
                    .map(|trial| trial.value().unwrap().to_bits())
                    .collect::<Vec<_>>()
            };
            let values = run();
            assert_eq!(values.len(), 15, "{kind}");
            assert_eq!(values, run(), "{kind}: a seed decides");
        }
    }
}
