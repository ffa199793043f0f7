//! How a series is prepared for a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FeatureTransform, ScalerKind, ScalerSpec, Target, TargetSpec, TransformSpec};
use crate::{Error, Result};

/// By which rows the series of a [`Panel`](crate::Panel) are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PanelScaling {
    /// Each by its own training rows, so that a large one looks like a small one.
    #[default]
    PerSeries,
    /// All by the training rows of all of them, so that their sizes can be told apart.
    Shared,
}

named!(PanelScaling, "panel scaling", {
    PerSeries => "per-series",
    Shared => "shared",
});

/// How features and target are transformed and scaled before a model sees them.
///
/// ```
/// use btc_models::{FeatureTransform, PreprocessConfig, Target};
///
/// let config = PreprocessConfig::default()
///     .with_target(Target::Difference)
///     .with_transform("holiday", FeatureTransform::Level);
/// assert_eq!(config.clip, Some(5.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PreprocessConfig {
    /// What is predicted.
    pub target: Target,
    /// How features are scaled, and the target if it is a level.
    pub scaler: ScalerKind,
    /// The transform of features without an entry in `transforms`.
    pub transform: FeatureTransform,
    /// The transforms of single features, by their names.
    pub transforms: BTreeMap<String, FeatureTransform>,
    /// Scaled features are cut to plus and minus this.
    pub clip: Option<f64>,
    /// Rows over which a missing feature keeps its last value.
    pub max_staleness: usize,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        Self {
            target: Target::LogReturn,
            scaler: ScalerKind::Standard,
            transform: FeatureTransform::Auto,
            transforms: BTreeMap::new(),
            clip: Some(5.0),
            max_staleness: 10,
        }
    }
}

impl PreprocessConfig {
    /// Sets what is predicted.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Sets how features are scaled.
    #[must_use]
    pub fn with_scaler(mut self, scaler: ScalerKind) -> Self {
        self.scaler = scaler;
        self
    }

    /// Sets the transform of features that have none of their own.
    #[must_use]
    pub fn with_default_transform(mut self, transform: FeatureTransform) -> Self {
        self.transform = transform;
        self
    }

    /// Sets the transform of one feature.
    #[must_use]
    pub fn with_transform(mut self, feature: &str, transform: FeatureTransform) -> Self {
        self.transforms.insert(feature.to_owned(), transform);
        self
    }

    /// Sets what scaled features are cut to; `None` for no limit.
    #[must_use]
    pub fn with_clip(mut self, clip: Option<f64>) -> Self {
        self.clip = clip;
        self
    }

    /// Sets the rows over which a missing feature keeps its last value.
    #[must_use]
    pub fn with_max_staleness(mut self, rows: usize) -> Self {
        self.max_staleness = rows;
        self
    }

    /// The transform of a feature, before the training rows decide on
    /// [`FeatureTransform::Auto`].
    pub(crate) fn transform_of(&self, feature: &str) -> FeatureTransform {
        let transform = self.transforms.get(feature).unwrap_or(&self.transform);
        match transform {
            FeatureTransform::Auto if self.target == Target::Level => FeatureTransform::Level,
            transform => transform.clone(),
        }
    }

    /// Rows before a window that a frame with these columns may need.
    pub(crate) fn lookback(&self, names: &[String]) -> usize {
        let each = names.iter().map(|name| self.transform_of(name).lookback());
        each.max().unwrap_or(0)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if let Some(clip) = self.clip.filter(|clip| !(0.0 < *clip && clip.is_finite())) {
            return Err(Error::invalid("clip", clip, "positive"));
        }
        self.target.validate()?;
        self.scaler.validate()?;
        let mut transforms = self.transforms.values().chain([&self.transform]);
        transforms.try_for_each(TransformSpec::validate)
    }
}
