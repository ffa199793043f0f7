//! What is made of a series before a model sees it.

pub(crate) mod channels;
mod config;
mod feature;
mod preprocess;
pub(crate) mod scaler;
mod target;

pub use config::PreprocessConfig;
pub use feature::{FeatureTransform, TransformSpec, register_transform};
pub use preprocess::Unused;
pub(crate) use preprocess::{Preprocessor, Series};
pub use scaler::{ScalerKind, ScalerSpec, register_scaler};
pub(crate) use target::TargetScaler;
pub use target::{Target, TargetSpec, register_target};
