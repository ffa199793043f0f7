//! Define-by-run hyperparameter optimisation on the database layout of Optuna.
//!
//! A [`Study`] runs an objective many times. The objective asks its [`Trial`] for parameter values as it
//! needs them, reports how it goes, and returns what is to be minimised or maximised. A [`Sampler`]
//! chooses the values, a [`Pruner`] ends trials that go badly, and a [`Storage`] keeps everything, where
//! Optuna and its dashboard can read and continue it.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::sync::Arc;
//! use btc_tune::{FloatDistribution, InMemoryStorage, ObjectiveError, Study, TpeSampler};
//!
//! let storage = Arc::new(InMemoryStorage::new());
//! let study = Study::builder("rate", storage).sampler(TpeSampler::new(42)).create()?;
//! study.optimize(NonZeroUsize::new(30).unwrap(), |trial| {
//!     let rate = trial.suggest_float("rate", FloatDistribution::log(1e-5, 1.0)?)?;
//!     let layers = trial.suggest_int("layers", 1..=4)?;
//!     let mut loss = 1.0;
//!     for epoch in 0..5 {
//!         loss *= 0.6 + 0.1 * (rate.log10() + 3.0).abs().min(3.0);
//!         trial.report(epoch, loss)?;
//!         if trial.should_prune()? {
//!             return Err(ObjectiveError::Pruned);
//!         }
//!     }
//!     Ok(loss + 0.01 * layers as f64)
//! })?;
//! let best = study.best_trial()?;
//! assert!(best.value().unwrap() < 0.2);
//! assert_eq!(best.params().count(), 2);
//! # Ok::<(), btc_tune::Error>(())
//! ```
//!
//! # Features
//!
//! * `sqlite` (default): [`SqliteStorage`], studies in a SQLite file with the tables of Optuna.
//! * `conformance`: the cases every [`Storage`] passes, for implementors.

mod attr;
mod best;
mod choice;
mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod decimal;
mod distribution;
mod error;
mod frozen;
#[cfg(test)]
mod golden;
mod hypervolume;
mod importance;
mod linalg;
mod names;
pub mod plot;
mod pruner;
mod sampler;
mod search_space;
mod storage;
mod study;
mod sync;
mod table;
mod terminator;
mod trial;

pub use attr::Attr;
pub use choice::Choice;
pub use clock::{Clock, FixedClock, SystemClock};
pub use distribution::{CategoricalDistribution, Distribution, FloatDistribution, IntDistribution};
pub use error::{Error, ErrorKind, Result};
pub use frozen::{
    FrozenStudy, FrozenTrial, Param, StudyDirection, StudyId, StudySummary, TrialId, TrialState,
};
pub use importance::ImportanceEvaluator;
pub use pruner::{
    HyperbandConfig, HyperbandPruner, MedianPruner, NopPruner, PatientPruner, PercentileConfig,
    PercentilePruner, PrunedTrials, Pruner, PrunerKind, SuccessiveHalvingConfig,
    SuccessiveHalvingPruner, ThresholdPruner, Verdict, WilcoxonPruner,
};
pub use sampler::{
    AutoSampler, BruteForceSampler, CmaEsSampler, GpSampler, GridSampler, Nsga2Config,
    Nsga2Sampler, PartialFixedSampler, QmcSampler, QmcSequence, RandomSampler, RelativeSample,
    Sampler, SamplerKind, StudyView, TpeConfig, TpeSampler,
};
pub use search_space::{SearchSpace, group_search_space, intersection_search_space};
#[cfg(feature = "sqlite")]
pub use storage::SqliteStorage;
pub use storage::{
    AttrScope, Heartbeat, InMemoryStorage, JournalStorage, NewTrial, Storage, TrialUpdate,
    check_storage_url, existing_storage_from_url, storage_from_url,
};
pub use study::{
    Callback, HeartbeatConfig, OnFailure, OptimizeOptions, Parallelism, Study, StudyBuilder,
    TrialRef,
};
pub use table::TrialTable;
pub use terminator::Terminator;
pub use trial::{ObjectiveError, Outcome, Trial};
