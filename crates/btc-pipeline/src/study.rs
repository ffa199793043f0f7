//! The study of an experiment.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use btc_tune::{
    AutoSampler, CmaEsSampler, GpSampler, HeartbeatConfig, HyperbandConfig, HyperbandPruner,
    MedianPruner, NopPruner, PercentileConfig, PrunedTrials, QmcSampler, QmcSequence,
    RandomSampler, Storage, Study, StudyDirection, SuccessiveHalvingConfig,
    SuccessiveHalvingPruner, TpeSampler,
};

use crate::{Error, Result};

/// A trial whose process gave no sign of life for half a minute is failed and
/// tried once more.
const HEARTBEAT: HeartbeatConfig = HeartbeatConfig {
    interval: Duration::from_secs(10),
    grace: Duration::from_secs(30),
    max_retry: 1,
};

/// Validation errors go up and down from epoch to epoch, and a median of few
/// trials says little. Judged this rarely, a search finds what it finds without
/// pruning in half the epochs (`docs/pruning.md`).
const MEDIAN: PercentileConfig = PercentileConfig {
    n_startup_trials: 8,
    n_warmup_steps: 0,
    interval_steps: 5,
    n_min_trials: 1,
    pruned: PrunedTrials::Worse,
};

/// How a study chooses values, and which trials it ends early.
///
/// ```
/// use btc_pipeline::{PrunerKind, StudyConfig};
///
/// let config = StudyConfig { pruner: "hyperband".parse()?, ..StudyConfig::default() };
/// assert_eq!(config.pruner, PrunerKind::Hyperband);
/// # Ok::<(), btc_pipeline::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StudyConfig {
    /// The seed of the sampler.
    pub seed: u64,
    /// How values are chosen.
    pub sampler: SamplerKind,
    /// Which trials end early.
    pub pruner: PrunerKind,
}

/// How the values of a trial are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Sobol's sequence.
    Qmc,
    /// Independent draws.
    Random,
}

/// Which trials end early, by their validation MAE relative to naive after each epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrunerKind {
    /// Those that at every fifth epoch are worse than the median of the
    /// complete trials, once there are eight.
    #[default]
    Median,
    /// Those that fall behind in the bracket of Hyperband they are in.
    Hyperband,
    /// Those that are not among the best quarter at an epoch of 1, 4, 16, …
    SuccessiveHalving,
    /// None.
    None,
}

const SAMPLERS: [(&str, SamplerKind); 6] = [
    ("auto", SamplerKind::Auto),
    ("tpe", SamplerKind::Tpe),
    ("gp", SamplerKind::Gp),
    ("cmaes", SamplerKind::CmaEs),
    ("qmc", SamplerKind::Qmc),
    ("random", SamplerKind::Random),
];

const PRUNERS: [(&str, PrunerKind); 4] = [
    ("median", PrunerKind::Median),
    ("hyperband", PrunerKind::Hyperband),
    ("successive-halving", PrunerKind::SuccessiveHalving),
    ("none", PrunerKind::None),
];

fn find<T: Copy>(what: &'static str, known: &[(&str, T)], text: &str) -> Result<T> {
    let found = known.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, kind)| *kind)
        .ok_or_else(|| Error::UnknownName {
            what,
            name: text.to_owned(),
            known: known.iter().map(|(name, _)| (*name).to_owned()).collect(),
        })
}

fn name_of<T: PartialEq>(known: &[(&'static str, T)], kind: &T) -> &'static str {
    known
        .iter()
        .find(|(_, other)| other == kind)
        .map_or("", |(name, _)| name)
}

impl SamplerKind {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Tpe,
        Self::Gp,
        Self::CmaEs,
        Self::Qmc,
        Self::Random,
    ];
}

impl PrunerKind {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Median,
        Self::Hyperband,
        Self::SuccessiveHalving,
        Self::None,
    ];
}

impl FromStr for SamplerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        find("sampler", &SAMPLERS, text)
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&SAMPLERS, self))
    }
}

impl FromStr for PrunerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        find("pruner", &PRUNERS, text)
    }
}

impl fmt::Display for PrunerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&PRUNERS, self))
    }
}

/// Opens the study called `name`, creating it if it is new.
///
/// Its trials are sampled from the seed and their own numbers, so that a
/// resumed study goes on as an uninterrupted one would.
///
/// # Errors
///
/// [`crate::Error::Tune`] if the storage fails.
pub fn open_study(storage: Arc<dyn Storage>, name: &str, config: &StudyConfig) -> Result<Study> {
    let builder = Study::builder(name, storage)
        .direction(StudyDirection::Minimize)
        .heartbeat(HEARTBEAT)
        .load_if_exists(true);
    let seed = config.seed;
    let builder = match config.sampler {
        SamplerKind::Auto => builder.sampler(AutoSampler::new(seed)),
        SamplerKind::Tpe => builder.sampler(TpeSampler::new(seed)),
        SamplerKind::Gp => builder.sampler(GpSampler::new(seed)),
        SamplerKind::CmaEs => builder.sampler(CmaEsSampler::new(seed)),
        SamplerKind::Qmc => builder.sampler(QmcSampler::new(seed, QmcSequence::Sobol)),
        SamplerKind::Random => builder.sampler(RandomSampler::new(seed)),
    };
    let builder = match config.pruner {
        PrunerKind::Median => builder.pruner(MedianPruner::new(MEDIAN)?),
        PrunerKind::Hyperband => builder.pruner(HyperbandPruner::new(HyperbandConfig::default())?),
        PrunerKind::SuccessiveHalving => builder.pruner(SuccessiveHalvingPruner::new(
            SuccessiveHalvingConfig::default(),
        )?),
        PrunerKind::None => builder.pruner(NopPruner),
    };
    Ok(builder.create()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for (name, kind) in SAMPLERS {
            assert_eq!(name.parse::<SamplerKind>().unwrap(), kind);
            assert_eq!(kind.to_string(), name);
        }
        for (name, kind) in PRUNERS {
            assert_eq!(name.parse::<PrunerKind>().unwrap(), kind);
            assert_eq!(kind.to_string(), name);
        }
        let error = "hyperbnd".parse::<PrunerKind>().unwrap_err().to_string();
        assert!(error.contains("successive-halving"), "{error}");
    }
}
