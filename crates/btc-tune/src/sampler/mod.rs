//! How parameters get their values.

mod announce;
mod auto;
mod brute_force;
mod cmaes;
mod gp;
mod grid;
mod kind;
mod nsga2;
mod partial_fixed;
mod qmc;
mod random;
pub(crate) mod sobol;
pub(crate) mod tpe;

use std::fmt::Debug;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Map, Value};

use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::{FrozenTrial, Param, StudyDirection, StudyId};

pub use auto::AutoSampler;
pub use brute_force::BruteForceSampler;
pub use cmaes::CmaEsSampler;
pub use gp::GpSampler;
pub(crate) use gp::regret_bound as gp_regret_bound;
pub use grid::GridSampler;
pub use kind::SamplerKind;
pub use nsga2::{Nsga2Config, Nsga2Sampler};
pub use partial_fixed::PartialFixedSampler;
pub use qmc::{QmcSampler, QmcSequence};
pub use random::RandomSampler;
pub use tpe::{TpeConfig, TpeSampler};

/// A study as samplers and pruners see it.
#[derive(Debug, Clone, Copy)]
pub struct StudyView<'a> {
    /// Identifies the study within its storage.
    pub id: StudyId,
    /// Its name.
    pub name: &'a str,
    /// One direction per objective.
    pub directions: &'a [StudyDirection],
    /// Its trials in the order of their ordinals ([`Trial::ordinal`](crate::Trial::ordinal)), which are
    /// their numbers here: one that was tried again is shown once, by its latest try.
    pub trials: &'a [Arc<FrozenTrial>],
}

/// Values for several parameters at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RelativeSample {
    /// The values; those the objective does not ask for are dropped.
    pub params: Vec<Param>,
    /// System attributes to keep with the trial.
    pub system_attrs: Map<String, Value>,
}

/// Chooses parameter values.
///
/// A sampler keeps no state that matters: what it returns depends on its settings, the trials it is
/// shown and the number of the new trial alone. That is why a study that was resumed goes on as if it
/// had never stopped. Numbers are ordinals, so that trials that were broken off and tried again do not
/// matter either. Caches are allowed. Methods may be called from several threads at once.
pub trait Sampler: Debug + Send + Sync {
    /// Chooses values for the parameters the sampler expects trial number `trial` to have.
    ///
    /// # Errors
    ///
    /// [`Error::SeveralObjectives`](crate::Error::SeveralObjectives) or
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if it cannot serve the study.
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        let _ = (study, trial);
        Ok(RelativeSample::default())
    }

    /// Chooses the value of one parameter that [`sample_relative`](Self::sample_relative) left open;
    /// returns its internal representation. `trial` has the values chosen so far.
    ///
    /// # Errors
    ///
    /// As [`sample_relative`](Self::sample_relative).
    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64>;

    /// Whether there is nothing left to try; asked before each new trial.
    fn is_exhausted(&self, study: StudyView<'_>) -> bool {
        let _ = study;
        false
    }
}

/// The generator of one decision: the same for the same seed, trial and purpose.
pub(crate) fn generator(seed: u64, trial: usize, purpose: &str) -> Xoshiro256PlusPlus {
    // Names are hashed by FNV-1a and all parts are mixed by the finaliser of SplitMix64, so that
    // neighbouring seeds and numbers start far apart.
    let name = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mixed = mix(mix(mix(seed) ^ trial as u64) ^ name);
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
