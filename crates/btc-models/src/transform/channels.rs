//! What a network sees beside the features: values known ahead, and what never changes.

use serde::{Deserialize, Serialize};

use super::preprocess::{Feature, forward_fill};
use super::{FeatureTransform, PreprocessConfig, TrainingPart, TransformSpec};
use crate::series::{Role, SeriesFrame};
use crate::{Error, Result};

/// One number in each row of a window that is no feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Channel {
    /// The value that a column known ahead has `step` steps later.
    Ahead {
        /// The column, and what is made of it.
        feature: Box<Feature>,
        /// Steps from the row to the value.
        step: usize,
    },
    /// A number that is the same in all rows, over its size in training.
    Static {
        /// Its name.
        name: String,
        /// Its size in training, or 1 if that is 0.
        scale: f64,
    },
    /// Whether the category that is the same in all rows is this word: 1 or 0.
    StaticCategory {
        /// The category's name.
        name: String,
        /// The word.
        word: String,
        /// All words that there were in training.
        words: Vec<String>,
    },
    /// Whether a row's category is this word: 1 or 0. A row without one, or with a word that there
    /// was not in training, is none of them.
    Category {
        /// The category's name.
        name: String,
        /// The word.
        word: String,
    },
}

impl Channel {
    /// The channels of series that are alike, from the training rows of all of them, where the
    /// values `steps` ahead are forecast.
    pub(crate) fn of(
        parts: &[TrainingPart<'_>],
        steps: std::ops::Range<usize>,
        config: &PreprocessConfig,
    ) -> Vec<Self> {
        let Some(TrainingPart { frame, .. }) = parts.first() else {
            return Vec::new();
        };
        let mut channels = Vec::new();
        for name in frame.names() {
            if frame.role(name) != Some(Role::KnownFuture) {
                continue;
            }
            // A calendar's values mean something as they are.
            let transform = match config.transforms.get(name) {
                None | Some(FeatureTransform::Auto) => FeatureTransform::Level,
                Some(transform) => transform.clone(),
            };
            let known = parts
                .iter()
                .map(|part| known(part, name, &transform, config));
            let known: Vec<f64> = known.flatten().collect();
            let feature = Box::new(Feature::fit(name, transform, &known, config));
            channels.extend(steps.clone().map(|step| Self::Ahead {
                feature: feature.clone(),
                step,
            }));
        }
        for name in frame.statics().keys() {
            let values = parts
                .iter()
                .filter_map(|part| part.frame.statics().get(name));
            let size = values.fold(0f64, |size, value| size.max(value.abs()));
            channels.push(Self::Static {
                name: name.clone(),
                scale: if size == 0.0 { 1.0 } else { size },
            });
        }
        for (name, category) in frame.static_categories() {
            let words = category.vocabulary.iter().cloned();
            channels.extend(words.map(|word| Self::StaticCategory {
                name: name.clone(),
                word,
                words: category.vocabulary.clone(),
            }));
        }
        for name in frame.category_names() {
            let words = frame.category(name).map(|(_, words)| words.to_vec());
            let words = words.unwrap_or_default().into_iter();
            channels.extend(words.map(|word| Self::Category {
                name: name.to_owned(),
                word,
            }));
        }
        channels
    }

    /// The same channel, scaled by the rows of one part alone; a static is not, as it tells the
    /// series apart.
    pub(crate) fn refitted(&self, part: &TrainingPart<'_>, config: &PreprocessConfig) -> Self {
        match self {
            Self::Ahead { feature, step } => {
                let transform = feature.transform.clone();
                let known = known(part, &feature.name, &transform, config);
                Self::Ahead {
                    feature: Box::new(Feature::fit(&feature.name, transform, &known, config)),
                    step: *step,
                }
            }
            other => other.clone(),
        }
    }

    /// Checks that it is one that [`of`](Self::of) can have made.
    pub(crate) fn validate(&self) -> Result<()> {
        let valid = match self {
            Self::Ahead { feature, step } => {
                feature.validate()?;
                0 < *step
            }
            Self::Static { scale, .. } => 0.0 < *scale && scale.is_finite(),
            Self::StaticCategory { .. } | Self::Category { .. } => true,
        };
        match valid {
            true => Ok(()),
            false => Err(Error::series(format!("the channel {self:?} is none"))),
        }
    }

    /// The channel's number in each row. One known ahead looks at the values up to its steps after
    /// the row, and no other looks beyond the row.
    ///
    /// # Errors
    ///
    /// The frame does not have what it needs.
    pub(crate) fn values(&self, frame: &SeriesFrame, max_staleness: usize) -> Result<Vec<f64>> {
        let rows = 0..frame.rows();
        let missing = |name: &String| Error::MissingFeature {
            feature: name.clone(),
        };
        match self {
            Self::Ahead { feature, step } => {
                let name = &feature.name;
                let Some(values) = values_ahead(frame, name) else {
                    frame.role(name).ok_or_else(|| missing(name))?;
                    return Err(Error::series(format!(
                        "{name:?} was known ahead in training; say so with `with_known_future`, \
                         and give its later values"
                    )));
                };
                let values = prepared(values.to_vec(), &feature.transform, max_staleness);
                let at = |row| values.get(frame.storage_row_at(row, *step)?).copied();
                Ok(rows
                    .map(|row| feature.scaled(at(row).unwrap_or(f64::NAN)))
                    .collect())
            }
            Self::Static { name, scale } => {
                let value = frame.statics().get(name).ok_or_else(|| missing(name))?;
                Ok(vec![value / scale; frame.rows()])
            }
            Self::StaticCategory { name, word, words } => {
                let categories = frame.static_categories();
                let category = categories.get(name).ok_or_else(|| missing(name))?;
                let code = category.codes.first().copied().flatten();
                let found = code.and_then(|code| category.vocabulary.get(code as usize));
                if let Some(found) = found.filter(|found| !words.contains(found)) {
                    return Err(Error::series(format!(
                        "its {name:?} is {found:?}, which the model does not know; it knows {}",
                        words.join(", ")
                    )));
                }
                Ok(vec![f64::from(found == Some(word)); frame.rows()])
            }
            Self::Category { name, word } => {
                let (codes, words) = frame.category(name).ok_or_else(|| missing(name))?;
                let is_word = |code: &Option<u32>| {
                    let found = code.and_then(|code| words.get(code as usize));
                    f64::from(found == Some(word))
                };
                Ok(codes.iter().map(is_word).collect())
            }
        }
    }

    /// The column and the steps of a value that a forecast from `row` needs and does not have.
    pub(crate) fn unknown_ahead(&self, frame: &SeriesFrame, row: usize) -> Option<usize> {
        let Self::Ahead { feature, step } = self else {
            return None;
        };
        let value = frame.covariate_at(&feature.name, row, *step);
        (!value.is_some_and(f64::is_finite)).then_some(*step)
    }

    pub(crate) fn lookback(&self) -> usize {
        match self {
            Self::Ahead { feature, .. } => feature.transform.lookback(),
            _ => 0,
        }
    }
}

/// All values of a column known ahead, from the first row of the storage on; none if it is not.
fn values_ahead<'a>(frame: &'a SeriesFrame, name: &str) -> Option<&'a [f64]> {
    (frame.role(name)? == Role::KnownFuture).then_some(())?;
    let at = frame.names().iter().position(|other| other == name)?;
    Some(&frame.storage().columns[at])
}

/// What the transform makes of the training rows of a column known ahead.
fn known(
    part: &TrainingPart<'_>,
    name: &str,
    transform: &FeatureTransform,
    config: &PreprocessConfig,
) -> Vec<f64> {
    let values = values_ahead(part.frame, name).unwrap_or_default();
    let start = part.frame.view().start;
    let end = values.len().min(start + part.ends.end);
    let known = prepared(values[..end].to_vec(), transform, config.max_staleness);
    known[start.min(end)..].to_vec()
}

fn prepared(mut values: Vec<f64>, transform: &FeatureTransform, max_staleness: usize) -> Vec<f64> {
    forward_fill(&mut values, max_staleness);
    transform.apply(&values)
}

#[cfg(test)]
mod tests {
    use crate::series::frame::tests::frame;

    use super::*;

    fn channels(frame: &SeriesFrame) -> Vec<Channel> {
        let config = PreprocessConfig::default();
        let channels = Channel::of(&[TrainingPart::rows(frame, 3)], 1..3, &config);
        assert!(channels.iter().all(|channel| channel.validate().is_ok()));
        channels
    }

    #[test]
    fn a_value_known_ahead_stands_in_the_row_that_it_is_ahead_of() {
        let frame = frame(&[("y", vec![1.0; 4]), ("x", vec![10.0, 20.0, 30.0, 40.0])]);
        let frame = frame.with_known_future(["x"]).unwrap();
        let day = |n| frame.known_at()[3] + chrono::Days::new(n);
        let later = vec![day(1)];
        let whole = frame
            .clone()
            .with_future(later, [("x", vec![50.0])])
            .unwrap();
        let [one, two] = &channels(&whole)[..] else {
            panic!()
        };
        let Channel::Ahead { feature, step: 1 } = one else {
            panic!()
        };
        let scaled = |values: [f64; 4]| values.map(|x| feature.scaler.apply(x)).to_vec();
        assert_eq!(feature.scaler.invert(0.0), 20.0); // The mean of the training rows.
        assert_eq!(
            one.values(&whole, 0).unwrap(),
            scaled([20.0, 30.0, 40.0, 50.0])
        );
        // What is not known is the mean.
        assert_eq!(
            two.values(&whole, 0).unwrap(),
            scaled([30.0, 40.0, 50.0, 20.0])
        );
        assert_eq!(
            (one.unknown_ahead(&whole, 3), two.unknown_ahead(&whole, 3)),
            (None, Some(2))
        );
        let part = whole.slice(1..3).unwrap();
        assert_eq!(
            one.values(&part, 0).unwrap(),
            scaled([20.0, 30.0, 40.0, 50.0])[1..3]
        );
    }

    #[test]
    fn a_place_that_training_did_not_know_is_an_error() {
        let plain = frame(&[("y", vec![1.0; 4])]);
        let at = |code, words: &[&str]| {
            let words = words.iter().map(|word| word.to_string()).collect();
            plain
                .clone()
                .with_static_category("place", code, words)
                .unwrap()
        };
        let channels = channels(&at(1, &["sea", "hill"]));
        let values = |frame: &SeriesFrame| -> Result<Vec<f64>> {
            let first = |channel: &Channel| Ok(channel.values(frame, 0)?[0]);
            channels.iter().map(first).collect()
        };
        assert_eq!(values(&at(1, &["sea", "hill"])).unwrap(), [0.0, 1.0]);
        // The word counts, not its code.
        assert_eq!(values(&at(1, &["hill", "sea"])).unwrap(), [1.0, 0.0]);
        let error = values(&at(0, &["moor"])).unwrap_err().to_string();
        assert!(error.contains("it knows sea, hill"), "{error}");
        assert!(matches!(values(&plain), Err(Error::MissingFeature { .. })));
    }
}
