//! What can go wrong, by what a caller can do about it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::series::Frequency;

/// What can go wrong while fitting, storing or applying a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The series has fewer rows than the operation needs.
    #[error(
        "the series has {rows} rows, but {needed} are needed; take a longer series, or ask for less"
    )]
    SeriesTooShort {
        /// Rows there are.
        rows: usize,
        /// Rows that would be enough.
        needed: usize,
    },
    /// The input series is not what it must be.
    #[error("the series cannot be used: {reason}")]
    InvalidSeries {
        /// What is wrong, and where.
        reason: String,
    },
    /// A configuration value is out of its range.
    #[error("{name} is {value}, but must be {expected}")]
    InvalidConfig {
        /// The name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A name is not one of those that exist.
    #[error("there is no {what} called {name:?}{}; known are {}", did_you_mean(.suggestion), .known.join(", "))]
    UnknownName {
        /// The kind of thing that was looked for.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// Something of the caller's own is needed that is not registered in this process.
    #[error("no {what} called {name:?} is registered{}; call `btc_models::{register}` for the type \
             that has this name before it is needed; known are {}", did_you_mean(.suggestion), .known.join(", "))]
    NotRegistered {
        /// The kind of thing that was looked for.
        what: &'static str,
        /// The function of this crate that registers it.
        register: &'static str,
        /// The name as given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// Another implementation is registered under the name.
    #[error("the name {name:?} of a {what} is taken; choose another")]
    NameTaken {
        /// The kind of thing that was registered.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Settings of a registered implementation cannot be read.
    #[error("the settings of the {what} {name:?} cannot be used: {reason}")]
    CustomSettings {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The series lacks a feature that the model was trained on.
    #[error(
        "the model needs the feature {feature:?}, which the series lacks; join it or train anew"
    )]
    MissingFeature {
        /// The feature's name.
        feature: String,
    },
    /// Instants do not lie on the grid of the series' frequency.
    #[error(
        "{count} instants are not on a grid of {frequency}, the first at {}; give the frequency, \
         or call the series irregular", listed(.first)
    )]
    OffGrid {
        /// The frequency that was given or is that of most rows.
        frequency: Frequency,
        /// The number of instants off the grid.
        count: usize,
        /// The first few of them.
        first: Vec<DateTime<Utc>>,
    },
    /// Rows are missing in a window.
    #[error("the window up to {until} lacks {count} rows, the first at {}", listed(.missing))]
    Holes {
        /// When the window's last row is known.
        until: DateTime<Utc>,
        /// The number of rows that are missing.
        count: usize,
        /// When they should be known, at most [`MAX_MISSING`](crate::MAX_MISSING) of them.
        missing: Vec<DateTime<Utc>>,
    },
    /// A value has no logarithm, and what is predicted needs one.
    #[error(
        "the value {value} known at {at} is not positive, so it has no log return; predict the \
         difference or the level instead"
    )]
    NotPositive {
        /// The value.
        value: f64,
        /// When it was known.
        at: DateTime<Utc>,
    },
    /// The model forecasts another column than the one the series names.
    #[error("the model forecasts {expected:?}, but the target of the series is {found:?}")]
    OtherTarget {
        /// The column that the model forecasts.
        expected: String,
        /// The series' target.
        found: String,
    },
    /// A feature agrees so well with the target one row later that it must contain it.
    #[error(
        "the feature {feature:?} at a row is the target of the next row (median difference \
         {median_percent:.3} %); join it as of the time it is known, or leave it out"
    )]
    TargetInDisguise {
        /// The feature's name.
        feature: String,
        /// The median absolute difference in percent.
        median_percent: f64,
    },
    /// One series of several cannot be used.
    #[error("the series {series:?} of the panel cannot be used")]
    InPanel {
        /// The series' name.
        series: String,
        /// Why not.
        source: Box<Error>,
    },
    /// Training left the range of numbers.
    #[error("training diverged in epoch {epoch}; lower the learning rate or clip gradients")]
    Diverged {
        /// The epoch, counted from 0.
        epoch: usize,
    },
    /// A model's forecast changes with rows that were not known at its origin.
    #[error(
        "the forecast of {model:?} from row {row} depends on later rows; a model must use the rows \
         up to its origin alone"
    )]
    LookAhead {
        /// The model's name.
        model: String,
        /// The origin.
        row: usize,
    },
    /// A comparison was stopped before its end.
    #[error(
        "stopped after {done} of {total} parts; with a checkpoint, the same call goes on from there"
    )]
    Stopped {
        /// Parts that are finished.
        done: usize,
        /// All parts.
        total: usize,
    },
    /// The data as they were known at an origin could not be had.
    #[error("the data as known at {at} cannot be used")]
    Vintage {
        /// The origin.
        at: DateTime<Utc>,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The callback given to the training loop failed.
    #[error("the callback after an epoch failed")]
    Callback(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored model cannot be used.
    #[error("the model bundle at {} cannot be used: {reason}", path.display())]
    Bundle {
        /// The bundle's directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that cannot be written as a graph of ONNX.
    #[error("the model cannot be written for ONNX: {reason}")]
    NotExportable {
        /// What there is no way to write.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done: `read`, `write`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tensor operation failed.
    #[cfg(feature = "nn")]
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

/// What kind of error it is: who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for cannot be, whatever the data: a name or a setting.
    Usage,
    /// The data are too few, contradict themselves, or are not what the model needs.
    Data,
    /// A stored model is damaged, or of a format that is not known.
    Corrupt,
    /// A file cannot be read or written.
    Io,
    /// The caller ended it.
    Stopped,
    /// Code that the caller gave failed or broke its contract.
    Caller,
    /// Numbers left their range.
    Numeric,
}

impl Error {
    /// What kind of error it is.
    ///
    /// ```
    /// use btc_models::{Baseline, ErrorKind};
    ///
    /// let error = "prophet".parse::<Baseline>().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Usage);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidConfig { .. }
            | Self::UnknownName { .. }
            | Self::NotRegistered { .. }
            | Self::NotExportable { .. }
            | Self::NameTaken { .. } => ErrorKind::Usage,
            Self::SeriesTooShort { .. }
            | Self::InvalidSeries { .. }
            | Self::OffGrid { .. }
            | Self::Holes { .. }
            | Self::NotPositive { .. }
            | Self::MissingFeature { .. }
            | Self::OtherTarget { .. }
            | Self::TargetInDisguise { .. } => ErrorKind::Data,
            Self::Bundle { .. } | Self::CustomSettings { .. } => ErrorKind::Corrupt,
            Self::InPanel { source, .. } => source.kind(),
            Self::Io { .. } => ErrorKind::Io,
            Self::Stopped { .. } => ErrorKind::Stopped,
            Self::LookAhead { .. } | Self::Vintage { .. } | Self::Callback(_) => ErrorKind::Caller,
            Self::Diverged { .. } => ErrorKind::Numeric,
            #[cfg(feature = "nn")]
            Self::Tensor(_) => ErrorKind::Numeric,
        }
    }
}

/// The first few instants, as a message names them.
fn listed(instants: &[DateTime<Utc>]) -> String {
    let first: Vec<String> = instants.iter().take(3).map(DateTime::to_string).collect();
    first.join(", ")
}

/// The one of the `known` names that is nearest to `name`, if it is near.
fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let distance = |candidate: &str| strsim::levenshtein(&lower, &candidate.to_lowercase());
    known
        .iter()
        .map(|candidate| (distance(candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate.to_string())
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|name| format!(" (did you mean {name:?}?)"))
        .unwrap_or_default()
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid(
        name: &'static str,
        value: impl ToString,
        expected: &'static str,
    ) -> Self {
        Self::InvalidConfig {
            name,
            value: value.to_string(),
            expected,
        }
    }

    pub(crate) fn series(reason: impl Into<String>) -> Self {
        Self::InvalidSeries {
            reason: reason.into(),
        }
    }

    /// An error of one series of several.
    pub(crate) fn in_panel(series: &str, source: Self) -> Self {
        Self::InPanel {
            series: series.to_owned(),
            source: Box::new(source),
        }
    }

    /// The error for a `name` that is not among `known`, with the nearest one named.
    pub(crate) fn unknown(what: &'static str, name: &str, known: &[&str]) -> Self {
        Self::UnknownName {
            what,
            name: name.to_owned(),
            suggestion: nearest(name, known),
            known: known.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// The error for a `name` that the function `register` was not called for.
    pub(crate) fn not_registered(
        what: &'static str,
        register: &'static str,
        name: &str,
        known: &[&str],
    ) -> Self {
        Self::NotRegistered {
            what,
            register,
            name: name.to_owned(),
            suggestion: nearest(name, known),
            known: known.iter().map(|name| name.to_string()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["LSTM", "GRU", "ConvLSTM2D"];
        let message = |name| Error::unknown("model type", name, &known).to_string();
        assert!(
            message("ltsm").contains("did you mean \"LSTM\"?"),
            "{}",
            message("ltsm")
        );
        assert!(message("convlstm").contains("did you mean \"ConvLSTM2D\"?"));
        assert!(!message("prophet").contains("did you mean"));
        assert!(message("prophet").ends_with("known are LSTM, GRU, ConvLSTM2D"));
    }
}
