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
//! println!("{} days of {} features", frame.rows(), frame.names().len());
//! # Ok(())
//! # }
//! ```

mod definitions;
mod error;
mod objective;
mod observer;
mod predict;
mod project;
mod register;
mod sample;
mod scores;
mod space;
mod split;
mod study;
mod table;
mod text;

pub use definitions::{
    BLOCKCHAIN_VIEW, OHLCV_VIEW, SERVICE, builtin_definitions, definitions, feature_store,
};
pub use error::{Error, ErrorKind, Result};
pub use objective::{BUNDLE, SearchConfig, SearchOutcome, search};
pub use observer::{Event, Observer};
pub use predict::{PredictConfig, Prediction, forecast_experiment, load_version, predict};
pub use project::Project;
pub use register::{CHAMPION, RegisterConfig, Registration, register_best};
pub use sample::{SAMPLE_LAST_DAY, retrieve_sample};
pub use scores::{METRIC, Scores};
pub use space::{SearchSpace, TIMESTEPS};
pub use split::Split;
pub use study::{PrunerKind, SamplerKind, StudyConfig, open_study};
pub use table::{EVENT_TIMESTAMP, PRICE, close_of, frame, frame_of, training_table};
