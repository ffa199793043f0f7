//! What is made of a series before a model sees it.

pub(crate) mod channels;
mod config;
mod feature;
mod preprocess;
pub(crate) mod scaler;
mod target;

pub use config::{PanelScaling, PreprocessConfig};
pub use feature::{FeatureTransform, TransformSpec, register_transform};
pub use preprocess::Unused;
pub(crate) use preprocess::{Preprocessor, Series};
pub use scaler::{ScalerKind, ScalerSpec, register_scaler};
pub(crate) use target::TargetScaler;
pub use target::{Target, TargetSpec, register_target};

/// The rows of one series that something is fitted to.
#[derive(Debug, Clone)]
pub(crate) struct TrainingPart<'a> {
    pub(crate) frame: &'a crate::series::SeriesFrame,
    /// The rows that windows end in; features are fitted to all rows before their end.
    pub(crate) ends: std::ops::Range<usize>,
    /// The rows that are known when the last target is.
    pub(crate) known: usize,
}

impl<'a> TrainingPart<'a> {
    /// The first `rows` rows of a frame, for features alone.
    pub(crate) fn rows(frame: &'a crate::series::SeriesFrame, rows: usize) -> Self {
        Self {
            frame,
            ends: 0..rows,
            known: rows,
        }
    }
}
