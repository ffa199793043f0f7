//! From a frame to scaled features, fitted on training rows.

use serde::{Deserialize, Serialize};

use crate::series::SeriesFrame;
use crate::transform::channels::Channel;
use crate::transform::scaler::{Scaler, quantile};
use crate::transform::{
    FeatureTransform, PanelScaling, PreprocessConfig, TrainingPart, TransformSpec,
};
use crate::{Error, Result};

/// Why a feature of the series is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unused {
    /// It has no value in the training rows.
    Empty,
    /// It does not vary in the training rows.
    Constant,
    /// It equals another feature in all training rows.
    Duplicate {
        /// The other feature.
        of: String,
    },
    /// Its values are no numbers.
    NotNumeric {
        /// The type of the column.
        data_type: String,
    },
}

impl std::fmt::Display for Unused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("it has no value"),
            Self::Constant => f.write_str("it does not vary"),
            Self::Duplicate { of } => write!(f, "it equals {of}"),
            Self::NotNumeric { data_type } => write!(f, "not numeric: {data_type}"),
        }
    }
}

/// A feature with what is made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) transform: FeatureTransform,
    pub(crate) scaler: Scaler,
    /// The scaled value that stands for a missing one: the training rows' mean.
    pub(crate) fill: f64,
}

/// Everything that turns a frame into the numbers a network sees, fitted on training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Preprocessor {
    pub(crate) features: Vec<Feature>,
    pub(crate) clip: Option<f64>,
    pub(crate) max_staleness: usize,
    /// What the network sees beside the features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) channels: Vec<Channel>,
}

impl Feature {
    /// Fits to the values that the transform made of the training rows.
    pub(crate) fn fit(
        name: &str,
        transform: FeatureTransform,
        transformed: &[f64],
        config: &PreprocessConfig,
    ) -> Self {
        let scaler = Scaler::fit(&config.scaler, transformed);
        let scaled = transformed.iter().map(|x| scaler.apply(*x));
        let scaled: Vec<f64> = scaled.filter(|x| x.is_finite()).collect();
        let mean = scaled.iter().sum::<f64>() / scaled.len().max(1) as f64;
        Self {
            name: name.to_owned(),
            transform,
            scaler,
            fill: config.clip.map_or(mean, |clip| mean.clamp(-clip, clip)),
        }
    }

    /// What stands for a transformed value in a window.
    pub(crate) fn scaled(&self, x: f64) -> f64 {
        let x = self.scaler.apply(x);
        if x.is_finite() { x } else { self.fill }
    }

    /// Checks that it is one that a fit can have made.
    pub(crate) fn validate(&self) -> Result<()> {
        self.transform.validate()?;
        self.scaler.validate()?;
        match self.fill.is_finite() {
            true => Ok(()),
            false => Err(Error::series(format!("{:?} has no fill", self.name))),
        }
    }
}

/// Keeps the last value over at most `limit` missing rows.
pub(super) fn forward_fill(values: &mut [f64], limit: usize) {
    let mut last = None;
    for (row, value) in values.iter_mut().enumerate() {
        if value.is_finite() {
            last = Some((row, *value));
        } else {
            *value = match last {
                Some((since, last)) if row - since <= limit => last,
                _ => f64::NAN,
            };
        }
    }
}

/// Refuses a feature that at each row is the target of the next row.
///
/// The median difference must be below 0.3 % and below half of what the last known value has:
/// a target that hardly moves agrees with everything known of it.
fn refuse_target(name: &str, values: &[f64], target: &[f64]) -> Result<()> {
    let median = |values: &[f64]| {
        let mut differences: Vec<f64> = values
            .iter()
            .zip(&target[1..])
            .map(|(x, next)| (x / next - 1.0).abs())
            .filter(|difference| difference.is_finite())
            .collect();
        differences.sort_by(f64::total_cmp);
        (30 <= differences.len()).then(|| quantile(&differences, 0.5))
    };
    match (median(values), median(target)) {
        (Some(feature), Some(naive)) if feature < 0.003 && feature < 0.5 * naive => {
            Err(Error::TargetInDisguise {
                feature: name.to_owned(),
                median_percent: 100.0 * feature,
            })
        }
        _ => Ok(()),
    }
}

/// Whether all finite values are one.
fn is_constant<'a>(values: impl IntoIterator<Item = &'a f64>) -> bool {
    let mut finite = values.into_iter().filter(|x| x.is_finite());
    let first = finite.next();
    finite.all(|x| Some(x) == first)
}

impl Preprocessor {
    /// Fits to the rows of all parts before the end of their windows; also returns the features
    /// that are not used.
    pub(crate) fn fit(
        parts: &[TrainingPart<'_>],
        config: &PreprocessConfig,
        scaling: PanelScaling,
    ) -> Result<(Self, Vec<(String, Unused)>)> {
        let Some(TrainingPart { frame, .. }) = parts.first() else {
            return Err(Error::series("there is none"));
        };
        let column = |name: &str| -> Vec<Vec<f64>> {
            let each = parts.iter().map(|part| {
                let known = part.frame.column(name).unwrap_or_default();
                known[..part.ends.end].to_vec()
            });
            each.collect()
        };
        let targets = column(frame.target_name());
        let mut features: Vec<Feature> = Vec::new();
        let mut kept: Vec<(&String, Vec<Vec<f64>>)> = Vec::new();
        let mut unused = Vec::new();
        for name in frame.names() {
            let is_target = name == frame.target_name();
            let mut columns = column(name);
            if !is_target {
                for (values, target) in columns.iter().zip(&targets) {
                    refuse_target(name, values, target)?;
                }
                if columns.iter().flatten().all(|x| !x.is_finite()) {
                    unused.push((name.clone(), Unused::Empty));
                    continue;
                }
                let same = |others: &[Vec<f64>]| {
                    let pairs = columns.iter().flatten().zip(others.iter().flatten());
                    pairs
                        .into_iter()
                        .all(|(x, y)| x == y || (x.is_nan() && y.is_nan()))
                };
                let of = if same(&targets) {
                    Some(frame.target_name())
                } else {
                    let other = kept.iter().find(|(_, other)| same(other));
                    other.map(|(name, _)| name.as_str())
                };
                if let Some(of) = of {
                    let of = of.to_owned();
                    unused.push((name.clone(), Unused::Duplicate { of }));
                    continue;
                }
                kept.push((name, columns.clone()));
            }
            let mut all = columns.iter().flatten();
            let transform = match config.transform_of(name) {
                FeatureTransform::Auto if all.all(|x| 0.0 < *x || x.is_nan()) => {
                    FeatureTransform::LogDifference
                }
                FeatureTransform::Auto => FeatureTransform::Difference,
                transform => transform,
            };
            for values in &mut columns {
                forward_fill(values, config.max_staleness);
                *values = transform.apply(values);
            }
            let constant = match scaling {
                PanelScaling::Shared => is_constant(columns.iter().flatten()),
                PanelScaling::PerSeries => columns.iter().all(is_constant),
            };
            if !is_target && constant {
                unused.push((name.clone(), Unused::Constant));
                continue;
            }
            features.push(Feature::fit(name, transform, &columns.concat(), config));
        }
        let fitted = Self {
            features,
            clip: config.clip,
            max_staleness: config.max_staleness,
            channels: Vec::new(),
        };
        Ok((fitted, unused))
    }

    /// The same features and channels, scaled by the rows of one part alone.
    pub(crate) fn refitted(&self, part: &TrainingPart<'_>, config: &PreprocessConfig) -> Self {
        let features = self.features.iter().map(|feature| {
            let known = part.frame.column(&feature.name).unwrap_or_default();
            let mut values = known[..part.ends.end].to_vec();
            forward_fill(&mut values, config.max_staleness);
            let transform = feature.transform.clone();
            let values = transform.apply(&values);
            Feature::fit(&feature.name, transform, &values, config)
        });
        let channels = self.channels.iter();
        Self {
            features: features.collect(),
            clip: self.clip,
            max_staleness: self.max_staleness,
            channels: channels.map(|own| own.refitted(part, config)).collect(),
        }
    }

    /// Checks that it is one that [`fit`](Self::fit) can have made.
    pub(crate) fn validate(&self) -> Result<()> {
        self.features.iter().try_for_each(Feature::validate)?;
        self.channels.iter().try_for_each(Channel::validate)?;
        if self.features.is_empty() || self.clip.is_some_and(|clip| clip <= 0.0) {
            return Err(Error::series("its features or their limit"));
        }
        Ok(())
    }

    /// Rows before a window that its first row needs.
    pub(crate) fn lookback(&self) -> usize {
        self.features
            .iter()
            .map(|feature| feature.transform.lookback())
            .chain(self.channels.iter().map(Channel::lookback))
            .max()
            .unwrap_or(0)
    }

    /// Adds channels beside the features.
    pub(crate) fn with_channels(mut self, channels: Vec<Channel>) -> Self {
        self.channels = channels;
        self
    }

    /// Numbers in a row of a window.
    pub(crate) fn width(&self) -> usize {
        self.features.len() + self.channels.len()
    }

    /// The scaled features and channels of all rows, row by row. A row depends on no row after it,
    /// but for the values of columns that are known ahead.
    pub(crate) fn apply(&self, frame: &SeriesFrame) -> Result<Series> {
        let width = self.width();
        let mut data = vec![0f32; frame.rows() * width];
        for (at, feature) in self.features.iter().enumerate() {
            let Some(values) = frame.column(&feature.name) else {
                return Err(Error::MissingFeature {
                    feature: feature.name.clone(),
                });
            };
            let mut values = values.to_vec();
            forward_fill(&mut values, self.max_staleness);
            for (row, x) in feature.transform.apply(&values).into_iter().enumerate() {
                data[row * width + at] = self.clipped(feature.scaled(x));
            }
        }
        for (at, channel) in (self.features.len()..).zip(&self.channels) {
            let values = channel.values(frame, self.max_staleness)?;
            for (row, x) in values.into_iter().enumerate() {
                data[row * width + at] = self.clipped(x);
            }
        }
        Ok(Series { data, width })
    }

    fn clipped(&self, x: f64) -> f32 {
        self.clip.map_or(x, |clip| x.clamp(-clip, clip)) as f32
    }
}

/// Scaled features of consecutive rows. Windows are views of it until a batch is put together.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) data: Vec<f32>,
    pub(crate) width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::frame::tests::frame;

    #[test]
    fn a_missing_value_keeps_the_last_one_for_a_while() {
        let nan = f64::NAN;
        let mut values = [nan, 1.0, nan, nan, nan, 2.0];
        forward_fill(&mut values, 2);
        assert!(values[0].is_nan() && values[4].is_nan());
        assert_eq!((values[2], values[3], values[5]), (1.0, 1.0, 2.0));
    }

    fn fit(frame: &SeriesFrame, rows: usize) -> Result<(Preprocessor, Vec<(String, Unused)>)> {
        let parts = [TrainingPart::rows(frame, rows)];
        Preprocessor::fit(
            &parts,
            &PreprocessConfig::default(),
            PanelScaling::default(),
        )
    }

    fn walk(rows: usize) -> Vec<f64> {
        (0..rows)
            .map(|i| 100.0 + ((i * 7919) % 23) as f64)
            .collect()
    }

    #[test]
    fn features_without_information_are_left_out_and_named() {
        let target = walk(60);
        let frame = frame(&[
            ("load", target.clone()),
            ("copy", target),
            ("flat", vec![3.0; 60]),
            ("none", vec![f64::NAN; 60]),
            ("good", (0..60).map(|i| f64::from(i * i % 17)).collect()),
        ]);
        let (fitted, unused) = fit(&frame, 50).unwrap();
        let names: Vec<_> = fitted.features.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["load", "good"]);
        assert_eq!(
            unused[0],
            ("copy".into(), Unused::Duplicate { of: "load".into() })
        );
        assert_eq!(unused[1], ("flat".into(), Unused::Constant));
        assert_eq!(unused[2], ("none".into(), Unused::Empty));
    }

    #[test]
    fn the_next_target_among_the_features_is_refused() {
        let target = walk(60);
        let mut next = target[1..].to_vec();
        next.push(f64::NAN);
        let frame = frame(&[("load", target), ("next", next)]);
        let error = fit(&frame, 60).unwrap_err();
        assert!(matches!(error, Error::TargetInDisguise { feature, .. } if feature == "next"));
    }

    #[test]
    fn later_rows_change_neither_the_fit_nor_earlier_rows() {
        let price = walk(60);
        let mut changed = price.clone();
        changed[50..].iter_mut().for_each(|x| *x *= 3.0);
        let (a, b) = (frame(&[("price", price)]), frame(&[("price", changed)]));
        let (fit_a, _) = fit(&a, 50).unwrap();
        let (fit_b, _) = fit(&b, 50).unwrap();
        assert_eq!(fit_a, fit_b);
        let (series_a, series_b) = (fit_a.apply(&a).unwrap(), fit_a.apply(&b).unwrap());
        assert_eq!(series_a.data[..50], series_b.data[..50]);
        assert_ne!(series_a.data[50..], series_b.data[50..]);
    }

    #[test]
    fn a_series_of_several_is_scaled_by_its_own_rows_if_told_so() {
        let large: Vec<f64> = walk(60).iter().map(|x| 1e6 * x).collect();
        let with_size =
            |values: Vec<f64>, size: f64| frame(&[("load", values), ("size", vec![size; 60])]);
        let frames = [with_size(walk(60), 1.0), with_size(large, 2.0)];
        let parts: Vec<TrainingPart<'_>> = frames
            .iter()
            .map(|frame| TrainingPart::rows(frame, 50))
            .collect();
        let config = PreprocessConfig::default()
            .with_default_transform(FeatureTransform::Level)
            .with_clip(None);
        let names = |fitted: &Preprocessor| -> Vec<String> {
            fitted.features.iter().map(|f| f.name.clone()).collect()
        };
        // What tells the series apart is of use only if all are scaled alike.
        let (shared, unused) = Preprocessor::fit(&parts, &config, PanelScaling::Shared).unwrap();
        assert_eq!(
            (names(&shared), unused.len()),
            (vec!["load".into(), "size".into()], 0)
        );
        let (fitted, unused) = Preprocessor::fit(&parts, &config, PanelScaling::PerSeries).unwrap();
        assert_eq!(names(&fitted), ["load"]);
        assert_eq!(unused, [("size".to_owned(), Unused::Constant)]);
        let rows = |at: usize| {
            let own = fitted.refitted(&parts[at], &config);
            own.apply(&frames[at]).unwrap().data
        };
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(rows(0).iter().zip(&rows(1)).all(near));
        let shared = |at: usize| shared.apply(&frames[at]).unwrap().data[0];
        assert!(1.0 < (shared(0) - shared(1)).abs());
    }
}
