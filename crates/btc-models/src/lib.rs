//! Small-sequence forecasting networks on candle, trained fast and judged honestly.
//!
//! ```
//! use std::ops::ControlFlow;
//! use btc_models::{Forecaster, Hyperparameters, ModelType, NetworkConfig};
//! use btc_models::{SeriesFrame, TrainConfig, fit};
//! use candle_core::Device;
//! use chrono::{DateTime, Days};
//!
//! // Daily rows: when each was known, and its values.
//! let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
//! let days = (0..120).map(|day| start + Days::new(day)).collect();
//! let wave = |day: i32| (f64::from(day) / 5.0).sin();
//! let close = ("close", (0..120).map(|day| 100.0 + wave(day)).collect());
//! let volume = ("volume", (0..120).map(|day| 10.0 + wave(day + 8)).collect());
//! let frame = SeriesFrame::new(days, [close, volume], "close")?;
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
//!     assert!(forecast.intervals().iter().all(|i| i.low < forecast.point()));
//! }
//! # Ok::<(), btc_models::Error>(())
//! ```

#[macro_use]
mod names;

mod baseline;
#[cfg(feature = "nn")]
mod bundle;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod eval;
mod files;
#[cfg(feature = "nn")]
mod fit;
#[cfg_attr(
    not(feature = "nn"),
    allow(dead_code, reason = "networks alone calibrate intervals")
)]
mod forecast;
#[cfg(feature = "nn")]
mod network;
#[cfg(feature = "nn")]
pub mod nn;
#[cfg(feature = "onnx")]
pub mod onnx;
mod registry;
#[cfg_attr(
    not(feature = "nn"),
    allow(dead_code, reason = "networks alone go on from their own forecasts")
)]
mod series;
#[cfg_attr(
    not(feature = "nn"),
    allow(
        dead_code,
        unused_imports,
        reason = "networks alone apply what was fitted"
    )
)]
mod transform;
#[cfg(test)]
#[path = "../tests/it/vectors.rs"]
mod vectors;

#[cfg(feature = "nn")]
pub use candle_core;

pub use baseline::{Baseline, SeasonalNaive, VarianceModel};
#[cfg(feature = "nn")]
pub use bundle::{BundleInfo, MANIFEST_FILE, ONNX_FILE, PANEL_FILE, WEIGHTS_FILE, validate_bundle};
pub use error::{Error, ErrorKind, Result};
pub use eval::{backtest, metrics, stats};
#[cfg(feature = "nn")]
pub use fit::{
    Callback, CallbackError, CallbackSpec, EpochLogs, Forecaster, NetworkModel, OnEpochEnd,
    PanelForecaster, Schedule, ScheduleSpec, TrainConfig, TrainingProgress, TrainingRange, fit,
    fit_panel, register_callback, register_schedule,
};
pub use forecast::{
    FitContext, FittedModel, Forecast, Interval, MAX_HORIZON, Model, Quantiles, Step,
};
#[cfg(feature = "nn")]
pub use network::{
    AttentionConfig, CnnConfig, CnnLstmConfig, ConvLstmConfig, DLinearConfig, EncoderDecoderConfig,
    GruConfig, Hyperparameters, LstmConfig, ModelType, NLinearConfig, NetworkConfig, NetworkSpec,
    PatchTstConfig, TcnConfig, register_network,
};
#[cfg(feature = "nn")]
pub use nn::layers::Activation;
#[cfg(feature = "nn")]
pub use nn::loss::{Loss, LossSpec, register_loss};
#[cfg(feature = "nn")]
pub use nn::optimizer::{Optimizer, OptimizerSpec, OptimizerStep, register_optimizer};
pub use registry::{Custom, Named};
pub use series::{
    Category, Frequency, Hole, HolePolicy, MAX_MISSING, MAX_STEPS, Panel, Role, SeriesFrame, Split,
};
pub use transform::{
    FeatureTransform, PanelScaling, PreprocessConfig, ScalerKind, ScalerSpec, Target, TargetSpec,
    TransformSpec, Unused, register_scaler, register_target, register_transform,
};
