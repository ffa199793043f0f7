//! What can go wrong.

use std::convert::Infallible;

use crate::frozen::TrialState;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a study failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A study of this name exists; load it with `load_if_exists(true)`.
    #[error("a study called {name:?} exists already; load it, delete it, or choose another name")]
    DuplicatedStudy {
        /// The name that is taken.
        name: String,
    },
    /// No study has this name or identifier.
    #[error("no study is called {name:?} in this storage")]
    UnknownStudy {
        /// The name, or `#id` where only the identifier is known.
        name: String,
    },
    /// No trial has this identifier or number.
    #[error("no trial {trial} in this storage")]
    UnknownTrial {
        /// The identifier or number asked for.
        trial: String,
    },
    /// Finished trials never change.
    #[error("trial {number} is {state} and can no longer change")]
    TrialFinished {
        /// The number of the trial within its study.
        number: usize,
        /// The state it ended in.
        state: TrialState,
    },
    /// A parameter name was used before with another kind of distribution.
    #[error("parameter {name:?} cannot take this distribution: {reason}")]
    IncompatibleDistribution {
        /// The parameter.
        name: String,
        /// What differs.
        reason: String,
    },
    /// A distribution has bounds, a step or a choice that make no sense.
    #[error("invalid distribution: {reason}")]
    InvalidDistribution {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A categorical distribution needs at least one choice.
    #[error("a categorical parameter needs at least one choice")]
    EmptyChoices,
    /// A value fixed by the queue, or given by a caller, does not fit its parameter.
    #[error("parameter {name:?} cannot be {value}: {reason}")]
    InvalidParameter {
        /// The parameter.
        name: String,
        /// The value as text.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The values of a trial do not fit the study.
    #[error("trial {number} cannot end like this: {reason}")]
    InvalidOutcome {
        /// The number of the trial within its study.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// A setting of a sampler, pruner or study makes no sense.
    #[error("invalid setting: {reason}")]
    InvalidSetting {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Nothing of this kind has this name.
    #[error("there is no {what} {name:?}{}; there are: {}", did_you_mean(*suggestion), known.join(", "))]
    UnknownName {
        /// The kind of thing, such as `sampler`.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<&'static str>,
        /// Every name there is.
        known: Vec<&'static str>,
    },
    /// The operation has a meaning for studies with one objective only.
    #[error("{operation} needs a study with one objective; this one has {objectives}")]
    SeveralObjectives {
        /// What was asked for.
        operation: &'static str,
        /// The number of objectives of the study.
        objectives: usize,
    },
    /// No trial is complete yet.
    #[error("no trial of study {study:?} is complete")]
    NoCompleteTrial {
        /// The study.
        study: String,
    },
    /// Trials are complete, but each of them violates a constraint.
    #[error("no complete trial of study {study:?} satisfies its constraints")]
    NoFeasibleTrial {
        /// The study.
        study: String,
    },
    /// The objective of a trial failed and the study was told to stop then.
    #[error("the objective of trial {number} failed")]
    Objective {
        /// The number of the trial within its study.
        number: usize,
        /// What the objective returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written by another version of the table layout.
    #[error("{location} has table layout {found:?} but this program knows {expected:?}; {advice}")]
    SchemaVersion {
        /// The file.
        location: String,
        /// The version found.
        found: String,
        /// The version this crate reads and writes.
        expected: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// What is stored cannot be understood.
    #[error("{what} in the storage is not readable: {reason}")]
    Malformed {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A storage URL names no storage this crate has.
    #[error("cannot open the storage {url:?}: {reason}")]
    InvalidUrl {
        /// The URL as given.
        url: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The storage itself failed: disk, lock, permissions.
    #[error("cannot {operation}")]
    Storage {
        /// What was being done, with the place.
        operation: String,
        /// What the storage reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a caller can do about an [`Error`], for instance when it chooses an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for makes no sense: a setting, a distribution, a value or a URL. Ask otherwise.
    Usage,
    /// The study or trial does not exist, or has no trial of the kind that was asked for.
    NotFound,
    /// What is stored contradicts what was asked for: a name that is taken, a trial that has ended, a
    /// parameter with another distribution.
    Conflict,
    /// The objective failed, not the study.
    Objective,
    /// The storage failed, or holds what cannot be read.
    Storage,
}

impl Error {
    /// What a caller can do about it.
    ///
    /// ```
    /// use btc_tune::ErrorKind;
    /// let error = btc_tune::storage_from_url("oracle://").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Usage);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidDistribution { .. }
            | Self::EmptyChoices
            | Self::InvalidParameter { .. }
            | Self::InvalidOutcome { .. }
            | Self::InvalidSetting { .. }
            | Self::UnknownName { .. }
            | Self::SeveralObjectives { .. }
            | Self::InvalidUrl { .. } => ErrorKind::Usage,
            Self::UnknownStudy { .. }
            | Self::UnknownTrial { .. }
            | Self::NoCompleteTrial { .. }
            | Self::NoFeasibleTrial { .. } => ErrorKind::NotFound,
            Self::DuplicatedStudy { .. }
            | Self::TrialFinished { .. }
            | Self::IncompatibleDistribution { .. } => ErrorKind::Conflict,
            Self::Objective { .. } => ErrorKind::Objective,
            Self::SchemaVersion { .. } | Self::Malformed { .. } | Self::Storage { .. } => {
                ErrorKind::Storage
            }
        }
    }

    pub(crate) fn storage(
        operation: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage {
            operation: operation.into(),
            source: source.into(),
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

// Lets `suggest_float` take both a checked distribution, whose conversion
// cannot fail, and a plain range, whose conversion can.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
