//! Small-sequence forecasting networks on candle, trained fast and judged honestly.
//!
//! ```
//! use std::ops::ControlFlow;
//! use btc_models::{Forecaster, Hyperparameters, ModelType, NetworkConfig};
//! use btc_models::{SeriesFrame, TrainConfig, fit};
//! use candle_core::{Device, Tensor};
//! use chrono::{DateTime, Days};
//!
//! // Daily rows: when each was known, and its values.
//! let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
//! let values: Vec<f64> = (0..120)
//!     .flat_map(|day| {
//!         let day = f64::from(day);
//!         [100.0 + (day / 5.0).sin(), 10.0 + (day / 5.0).cos()]
//!     })
//!     .collect();
//! let frame = SeriesFrame::new(
//!     (0..120).map(|day| start + Days::new(day)).collect(),
//!     vec!["close".into(), "volume".into()],
//!     Tensor::from_vec(values, (120, 2), &Device::Cpu)?,
//!     "close",
//! )?;
//!
//! // Fit on the first 100 days, keep the weights of the best epoch.
//! let network = NetworkConfig::new(ModelType::Lstm, &Hyperparameters::default());
//! let config = TrainConfig::default().with_epochs(10).with_seed(42);
//! let forecaster = fit(&network, &frame.slice(0..100)?, &config, &Device::Cpu, |_| {
//!     Ok(ControlFlow::Continue(()))
//! })?;
//!
//! // Store it, read it back, and forecast each of the last days from the days before.
//! let dir = tempfile::tempdir().unwrap();
//! forecaster.save(&dir.path().join("model"))?;
//! let forecaster = Forecaster::load(&dir.path().join("model"), &Device::Cpu)?;
//! for forecast in forecaster.forecast_at(&frame, 100..119)? {
//!     assert!(forecast.intervals.iter().all(|i| i.low < forecast.point));
//! }
//! # Ok::<(), btc_models::Error>(())
//! ```

mod baseline;
mod bundle;
mod error;
mod eval;
mod fit;
mod forecast;
mod network;
pub mod nn;
mod series;
mod transform;
#[cfg(test)]
#[path = "../tests/it/vectors.rs"]
mod vectors;

pub use candle_core;

pub use baseline::{Baseline, VarianceModel};
pub use bundle::{BundleInfo, MANIFEST_FILE, WEIGHTS_FILE, validate_bundle};
pub use error::{Error, Result};
pub use eval::{backtest, metrics, stats};
pub use fit::{
    CallbackError, EpochLogs, Forecaster, NetworkModel, TrainConfig, TrainingRange, fit,
};
pub use forecast::{FittedModel, Forecast, Interval, Model};
pub use network::{
    AttentionConfig, CnnConfig, CnnLstmConfig, ConvLstmConfig, DLinearConfig, EncoderDecoderConfig,
    GruConfig, Hyperparameters, LstmConfig, ModelType, NLinearConfig, NetworkConfig, NetworkSpec,
    PatchTstConfig, TcnConfig, register_network,
};
pub use nn::layers::Activation;
pub use nn::loss::Loss;
pub use nn::optimizer::{Optimizer, Schedule};
pub use series::SeriesFrame;
pub use transform::{FeatureTransform, ScalerKind, Target, Unused};
