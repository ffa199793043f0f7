//! Record runs and register models; a server the MLflow client can talk to.
//!
//! ```
//! use btc_track::{
//!     ActiveRun, RegisterBest, RunSpec, RunStatus, TrackingClient, register_best,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let (root, bundle) = (folder.path().join("artifacts"), folder.path().join("bundle"));
//! # std::fs::create_dir(&bundle)?;
//! # std::fs::write(bundle.join("forecaster.json"), "{}")?;
//! let client = TrackingClient::in_memory(&root)?;
//! let experiment = client.get_or_create_experiment("price")?;
//!
//! let run = ActiveRun::start(&client, &experiment.experiment_id, RunSpec::named("0"))?;
//! run.log_param("units", 64)?;
//! run.log_metric("MAPE", 2.5, 0)?;
//! run.log_artifacts(&bundle, "model")?;
//! run.end(RunStatus::Finished)?;
//!
//! let request = RegisterBest::new("price", "MAPE", "bitcoin-regression").with_alias("champion");
//! let best = register_best(&client, &request, &|_, _| Ok(Vec::new()))?;
//! assert_eq!(best.version.version, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The words are MLflow's: an *experiment* groups *runs*; a run has
//! parameters, metrics, tags and artifacts; a *registered model* has numbered
//! *versions*, each made from a run, and *aliases* that point to versions.
//!
//! | module | what it holds |
//! |---|---|
//! | [`entity`] | the things that are recorded |
//! | [`store`] | where they are kept: the traits and their implementations |
//! | [`search`] | the filter language |
//! | [`artifact`] | files |
//! | `mlmodel`, `mlproject` | MLflow's description files (feature `yaml`) |
//! | `server` | MLflow's REST surface (feature `server`) |
//! | `conformance` | what every store must do (feature `conformance`) |

mod active_run;
pub mod artifact;
mod client;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod content;
mod copy;
pub mod entity;
mod error;
#[cfg(feature = "yaml")]
pub mod mlmodel;
#[cfg(feature = "yaml")]
pub mod mlproject;
#[cfg(any(feature = "server", feature = "rest"))]
mod proto;
#[cfg(feature = "rest")]
mod proto_read;
mod provenance;
mod register;
pub mod search;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
#[cfg(feature = "system-metrics")]
mod system_metrics;

pub use active_run::{ActiveRun, RunSpec};
pub use artifact::{
    ArtifactPath, ArtifactRepository, ArtifactUri, LocalArtifacts, Upload, Written,
};
pub use client::TrackingClient;
pub use clock::{Clock, ManualClock, SystemClock};
pub use content::content_hash;
pub use copy::{COPIED_FROM_TAG, Copied, CopySelection, copy};
pub use entity::*;
pub use error::{Error, Result};
pub use provenance::{Provenance, git_commit};
pub use register::{
    ArtifactFolder, Direction, RegisterBest, RegisterRun, Registered, Validate,
    WORSE_THAN_NAIVE_TAG, finished_runs, open_artifacts, register_best, register_run,
};
pub use store::*;
#[cfg(feature = "system-metrics")]
pub use system_metrics::SYSTEM_METRICS_PREFIX;

/// The README's examples are tests too.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
