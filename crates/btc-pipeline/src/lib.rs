//! The life of a Bitcoin price model as functions: retrieve, tune, register,
//! predict.
//!
//! The five libraries below know nothing of each other; what joins them is
//! here. A trial that is also a run, a feature table that becomes a tensor, a
//! model bundle that becomes a registered version: each is one function.
//!
//! ```no_run
//! use std::sync::Arc;
//! use btc_pipeline::{Project, SERVICE, feature_store, frame, training_table};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let project = Project::new("demo");
//! let store = feature_store(&project)?;
//! let table = training_table(&project, &store, SERVICE, None).await?;
//! let frame = frame(&table, 60)?;
//! println!("{} days of {} features", frame.series.rows(), frame.series.names().len());
//! # Ok(())
//! # }
//! ```

mod backtest;
mod bundles;
mod champion;
mod columns;
mod comparable;
mod definitions;
mod error;
mod exclusion;
mod frame;
mod holdout;
mod instants;
mod objective;
mod observer;
mod predict;
mod project;
mod register;
mod registration;
mod sample;
mod scores;
mod search;
mod search_config;
mod source;
mod space;
mod split;
mod study;
mod table;
mod tags;
mod text;
mod verdict;
mod vintage;
mod window;
mod workflow;

pub use backtest::{BacktestConfig, OnProgress, PastData};
pub use bundles::{BUNDLE, FOLDS};
pub use champion::{ChampionModel, champion_model};
pub use columns::{EVENT_TIMESTAMP, FREQUENCY_KEY, PRICE, frequency_of, with_frequency};
pub use definitions::{
    BLOCKCHAIN_VIEW, OHLCV_VIEW, SERVICE, builtin_definitions, declared, definitions,
    definitions_of, feature_store, preview_store,
};
pub use error::{Error, ErrorKind, Result};
pub use exclusion::{Exclusion, LeftOut};
pub use frame::{TrainingFrame, frame, frame_for, frame_of, frame_of_columns};
pub use instants::close_of;
pub use observer::{Event, Observer};
pub use predict::{PredictConfig, Prediction, forecast_experiment, load_version, predict};
pub use project::Project;
pub use register::{CHAMPION_BY_TAG, RegisterConfig, register_best};
pub use registration::Registration;
pub use sample::{SAMPLE_LAST_DAY, retrieve_sample};
pub use scores::{METRIC, Scores};
pub use search::{SearchOutcome, search};
pub use search_config::{DEFAULT_FOLDS, DEFAULT_PREDICTION_LENGTH, SearchConfig};
pub use source::{PastTables, Retrieval, ServiceTables, TableFn, TableSource};
pub use space::{Proposal, SearchSpace, Space, SpaceFn, TIMESTEPS};
pub use split::{DEFAULT_HOLDOUT, Split};
pub use study::{StudyConfig, open_study};
pub use table::training_table;
pub use tags::{CHAMPION, VERDICT_TAG};
pub use verdict::{SIGNIFICANCE_LEVEL, Verdict};
pub use vintage::vintage_table;
pub use window::Window;
pub use workflow::Workflow;

/// The README's example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
