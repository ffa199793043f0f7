//! What can go wrong between the stages, what kind of failure it is, and what helps.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use btc_models::Frequency;
use chrono::{DateTime, NaiveDate, Utc};

use crate::exclusion::LeftOut;
use crate::instants::list_of_instants;

/// What can go wrong between the stages of the workflow.
///
/// A stage's own error is kept as the source, so that a caller can tell an
/// upstream failure from a missing object ([`Error::kind`]). What a person can
/// do about it says [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Pulling or reading market data failed.
    #[error(transparent)]
    Ingest(#[from] btc_ingest::Error),
    /// Declaring or joining features failed.
    #[error(transparent)]
    Features(#[from] btc_features::Error),
    /// Fitting or applying a network failed.
    #[error(transparent)]
    Models(#[from] btc_models::Error),
    /// The study or its storage failed.
    #[error(transparent)]
    Tune(#[from] btc_tune::Error),
    /// The tracking store, the registry or the artifacts failed.
    #[error(transparent)]
    Track(#[from] btc_track::Error),
    /// A table's columns could not be put together or converted.
    #[error("a table's columns cannot be put together")]
    Arrow(#[source] arrow::error::ArrowError),
    /// The caller's own source of tables failed.
    #[error("the source of the training table failed")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no stored data to work on.
    #[error("there is no market data under {}", path.display())]
    NoData {
        /// The data folder that was looked into.
        path: PathBuf,
    },
    /// The data has no row for a day that was asked for.
    #[error("there is no value for {day}: the data {}", range(.first, .last))]
    DayNotThere {
        /// The day that was asked for.
        day: NaiveDate,
        /// The first day of the data, if it has one.
        first: Option<NaiveDate>,
        /// The last day of the data, if it has one.
        last: Option<NaiveDate>,
    },
    /// The data was first fetched after the instant whose state was asked for.
    #[error("what was known at {at} is not stored: the data as fetched {}", fetched(.first, .last))]
    NoVintage {
        /// The instant that was asked for.
        at: DateTime<Utc>,
        /// When the oldest stored revision was fetched.
        first: Option<DateTime<Utc>>,
        /// When the newest stored revision was fetched.
        last: Option<DateTime<Utc>>,
    },
    /// A source keeps its newest state alone, so that what was known earlier cannot be told.
    #[error("the source {source_name:?} keeps no revisions: what it held earlier is not stored")]
    NoRevisions {
        /// The source's name.
        source_name: String,
    },
    /// The data is too short for the split that was asked for.
    #[error(
        "{rows} rows are too few: {needed} are needed for {holdout} days of hold-out, \
         {selection} of selection and training windows of {timesteps}"
    )]
    TooShort {
        /// Rows of the table.
        rows: usize,
        /// Rows that would do.
        needed: usize,
        /// Rows of the hold-out.
        holdout: usize,
        /// Rows of the selection set.
        selection: usize,
        /// Rows of one window.
        timesteps: usize,
    },
    /// The selection set cannot be cut into that many blocks.
    #[error("{selection} days of selection cannot be cut into {folds} blocks")]
    Folds {
        /// Blocks that were asked for.
        folds: usize,
        /// Rows of the selection set.
        selection: usize,
    },
    /// The rows of a model's context have holes, and that was not allowed.
    #[error(
        "{} of the rows that the forecast rests on are not in the data: {}",
        missing.len(),
        list_of_instants(missing)
    )]
    Holes {
        /// The instants without a row, ascending.
        missing: Vec<DateTime<Utc>>,
    },
    /// The registered model forecasts another number of rows ahead than was asked for.
    #[error("model {model:?} version {version} forecasts {trained} rows ahead, not {asked}")]
    OtherHorizon {
        /// The registered model's name.
        model: String,
        /// Its version.
        version: u64,
        /// The model's horizon.
        trained: usize,
        /// The horizon that was asked for.
        asked: usize,
    },
    /// The registered model forecasts another column than was asked for.
    #[error("model {model:?} version {version} forecasts {trained:?}, not {asked:?}")]
    OtherColumn {
        /// The registered model's name.
        model: String,
        /// Its version.
        version: u64,
        /// The model's column.
        trained: String,
        /// The column that was asked for.
        asked: String,
    },
    /// The table is of another frequency than the rows that the registered model was trained on.
    #[error(
        "model {model:?} version {version} was trained on rows every {trained}, and the table has \
         a row every {found}"
    )]
    OtherFrequency {
        /// The registered model's name.
        model: String,
        /// Its version.
        version: u64,
        /// The model's frequency.
        trained: Frequency,
        /// The table's.
        found: Frequency,
    },
    /// The registered model has another window than the one that was asked for.
    #[error(
        "model {model:?} version {version} was trained on windows of {trained} rows, not {asked}"
    )]
    OtherWindow {
        /// The registered model's name.
        model: String,
        /// Its version.
        version: u64,
        /// The model's rows in a window.
        trained: usize,
        /// The rows that were asked for.
        asked: usize,
    },
    /// No model of this name is registered.
    #[error("no model is called {name:?}; {}", there_are(.known))]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The models there are.
        known: Vec<String>,
    },
    /// The model has no such version.
    #[error("model {model:?} has no version {version}; there are: {}", numbers(.known))]
    UnknownVersion {
        /// The registered model's name.
        model: String,
        /// The version that was asked for.
        version: u64,
        /// The versions there are.
        known: Vec<u64>,
    },
    /// No experiment has this name or id.
    #[error("there is no experiment {name:?}; {}", there_are(.known))]
    UnknownExperiment {
        /// The name or id that was asked for.
        name: String,
        /// The experiments there are.
        known: Vec<String>,
    },
    /// No run of the experiment can be registered.
    #[error(
        "experiment {experiment:?} has nothing to register by {metric:?}{}",
        left_out_text(.left_out)
    )]
    NothingToRegister {
        /// The experiment's name.
        experiment: String,
        /// The metric that was to decide.
        metric: String,
        /// The runs that were looked at, and why each does not count.
        left_out: Vec<LeftOut>,
    },
    /// The best run is worse than repeating the last value, by a test on the hold-out.
    #[error(
        "the best run, {run}, is worse than the naive forecast: MAE relative to naive \
         {relative_mae:.4} over the hold-out, p {p:.4}; nothing is registered"
    )]
    WorseThanNaive {
        /// The run's name.
        run: String,
        /// Its mean absolute error relative to the naive forecast's.
        relative_mae: f64,
        /// The p-value, adjusted for every look at these days.
        p: f64,
    },
    /// The training table lacks a column.
    #[error("the training table has no column {column:?}; {}", there_are(.known))]
    MissingColumn {
        /// The column that was looked for.
        column: String,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A column that must hold numbers does not.
    #[error("column {column:?} of the training table is not numeric: {data_type}")]
    NotNumeric {
        /// The column's name.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// The column that is to be forecast has no value.
    #[error("column {column:?} of the training table has no value")]
    EmptyColumn {
        /// The column's name.
        column: String,
    },
    /// The column of instants holds something else.
    #[error("column {column:?} of the training table holds no instants: {data_type}")]
    NoInstants {
        /// The column's name.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// A row does not say when it was known.
    #[error("row {row} of the training table does not say when it was known")]
    MissingInstant {
        /// The row, counted from 0.
        row: usize,
    },
    /// A file of the project could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// No trial of the study can be judged on today's window.
    #[error(
        "none of the {trials} trials of study {study:?} can be compared on today's window{}",
        left_out_text(.left_out)
    )]
    NoCompleteTrial {
        /// The study's name.
        study: String,
        /// Trials in the study.
        trials: usize,
        /// The complete trials that could not be judged, and why.
        left_out: Vec<LeftOut>,
    },
    /// The trials of a study were measured in another way than today's would be.
    #[error(
        "the trials of study {study:?} were measured by {}, and this search measures {expected}: \
         the two cannot be compared",
        found.as_deref().unwrap_or("something that it does not name")
    )]
    OtherMeasure {
        /// The study's name.
        study: String,
        /// The measure that the study names, if it names one.
        found: Option<String>,
        /// The measure of this search.
        expected: &'static str,
    },
    /// The naive forecast has no error over the selection set, so nothing can be relative to it.
    #[error(
        "column {column:?} does not change from {first_target} to {last_target}: nothing can be \
         better than repeating its last value"
    )]
    NothingToForecast {
        /// The column that is forecast.
        column: String,
        /// The first instant of the selection set.
        first_target: DateTime<Utc>,
        /// Its last instant.
        last_target: DateTime<Utc>,
    },
    /// The search was told to stop; the running trial is failed and queued again.
    #[error("the trial was interrupted")]
    Interrupted,
}

/// The result of a workflow function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a caller may want to tell errors apart, for example by exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A wrong argument.
    Usage,
    /// Something asked for by name does not exist.
    NotFound,
    /// A service of somebody else failed.
    Upstream,
    /// Anything else.
    Failure,
}

impl Error {
    /// Tells what kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        use ErrorKind::{Failure, NotFound, Usage};
        match self {
            Self::Ingest(error) => ingest_kind(error),
            Self::Features(error) => features_kind(error),
            Self::Models(error) => models_kind(error),
            Self::Tune(error) => tune_kind(error),
            Self::Track(error) => track_kind(error),
            Self::NoData { .. }
            | Self::DayNotThere { .. }
            | Self::NoVintage { .. }
            | Self::NoRevisions { .. }
            | Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownExperiment { .. }
            | Self::NothingToRegister { .. } => NotFound,
            Self::OtherWindow { .. }
            | Self::OtherFrequency { .. }
            | Self::OtherHorizon { .. }
            | Self::OtherColumn { .. }
            | Self::MissingColumn { .. }
            | Self::NotNumeric { .. }
            | Self::Folds { .. }
            | Self::OtherMeasure { .. }
            | Self::TooShort { .. } => Usage,
            Self::Arrow(_)
            | Self::Source(_)
            | Self::Holes { .. }
            | Self::WorseThanNaive { .. }
            | Self::EmptyColumn { .. }
            | Self::NoInstants { .. }
            | Self::MissingInstant { .. }
            | Self::Io { .. }
            | Self::NoCompleteTrial { .. }
            | Self::NothingToForecast { .. }
            | Self::Interrupted => Failure,
        }
    }

    /// What a person can do about it, in words of the workflow: no flag and no command.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoData { .. } => "retrieve data first, or take the synthetic market",
            Self::DayNotThere { .. } => "choose a day of the data, or retrieve newer data",
            Self::NoVintage { .. } => {
                "judge days after the data was first fetched, or use the newest revisions"
            }
            Self::NoRevisions { .. } => "use the newest revisions, or other features",
            Self::TooShort { .. } => {
                "shorten the hold-out, the selection set or the window, or retrieve more data"
            }
            Self::Folds { .. } => "take fewer blocks, or a longer selection set",
            Self::Holes { .. } => "retrieve the missing rows, or allow holes",
            Self::OtherWindow { .. } => "leave the window to the model",
            Self::OtherHorizon { .. } => "leave the horizon to the model, or search for another",
            Self::OtherColumn { .. } => "leave the column to the model, or search for another",
            Self::OtherFrequency { .. } => "take rows of the model's frequency, or another model",
            Self::UnknownModel { .. } => "register a model first, or name another",
            Self::UnknownExperiment { .. } => "run a search first, or name another experiment",
            Self::NothingToRegister { .. } => "run a search first, or choose by another metric",
            Self::WorseThanNaive { .. } => {
                "search on, or allow a model that is worse than the naive forecast"
            }
            Self::MissingColumn { .. } | Self::NotNumeric { .. } => {
                "name another column, or add it to the feature service"
            }
            Self::OtherMeasure { .. } => {
                "give the search another experiment name, or a new version of this one"
            }
            Self::NoCompleteTrial { .. } => "the runs of the trials tell why each ended",
            Self::NothingToForecast { .. } => "choose another column, or a longer selection set",
            _ => return None,
        })
    }

    /// The error of a column that is not among those of `table`.
    pub(crate) fn missing_column(table: &RecordBatch, column: &str) -> Self {
        let fields = table.schema_ref().fields().iter();
        Self::MissingColumn {
            column: column.to_owned(),
            known: fields.map(|field| field.name().clone()).collect(),
        }
    }
}

fn ingest_kind(error: &btc_ingest::Error) -> ErrorKind {
    match error {
        _ if error.is_upstream() => ErrorKind::Upstream,
        btc_ingest::Error::NotPulled { .. } => ErrorKind::NotFound,
        btc_ingest::Error::Config { .. } => ErrorKind::Usage,
        _ => ErrorKind::Failure,
    }
}

fn features_kind(error: &btc_features::Error) -> ErrorKind {
    use btc_features::Error as E;
    match error {
        E::UnknownObject { .. } | E::SourceMissing { .. } => ErrorKind::NotFound,
        E::Conflict(_)
        | E::InvalidDefinition { .. }
        | E::SchemaMismatch { .. }
        | E::Collision { .. }
        | E::InvalidRequest(_) => ErrorKind::Usage,
        _ => ErrorKind::Failure,
    }
}

fn models_kind(error: &btc_models::Error) -> ErrorKind {
    use btc_models::Error as E;
    match error {
        // What the workflow's own code said there.
        E::Callback(source) | E::Vintage { source, .. } => source
            .downcast_ref::<Error>()
            .map_or(ErrorKind::Failure, Error::kind),
        E::InvalidConfig { .. }
        | E::UnknownName { .. }
        | E::NotRegistered { .. }
        | E::SeriesTooShort { .. } => ErrorKind::Usage,
        E::InPanel { source, .. } => models_kind(source),
        _ => ErrorKind::Failure,
    }
}

fn tune_kind(error: &btc_tune::Error) -> ErrorKind {
    use btc_tune::Error as E;
    match error {
        E::UnknownStudy { .. } | E::UnknownTrial { .. } => ErrorKind::NotFound,
        E::InvalidUrl { .. }
        | E::InvalidSetting { .. }
        | E::UnknownName { .. }
        | E::InvalidDistribution { .. }
        | E::IncompatibleDistribution { .. }
        | E::InvalidParameter { .. }
        | E::EmptyChoices
        | E::SeveralObjectives { .. }
        | E::DuplicatedStudy { .. } => ErrorKind::Usage,
        _ => ErrorKind::Failure,
    }
}

fn track_kind(error: &btc_track::Error) -> ErrorKind {
    use btc_track::Error as E;
    match error {
        _ if error.is_not_found() => ErrorKind::NotFound,
        E::InvalidParameter { .. } | E::InvalidFilter { .. } | E::AlreadyExists { .. } => {
            ErrorKind::Usage
        }
        // A server of somebody else: an answer that blames the request, or none at all.
        E::Remote { status, .. } if (400..500).contains(status) => ErrorKind::Usage,
        E::Remote { .. } => ErrorKind::Upstream,
        _ => ErrorKind::Failure,
    }
}

fn range<T: std::fmt::Display>(first: &Option<T>, last: &Option<T>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("runs from {first} to {last}"),
        _ => "is empty".to_owned(),
    }
}

fn fetched<T: std::fmt::Display>(first: &Option<T>, last: &Option<T>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("is from {first} to {last}"),
        _ => "has no instant of fetching".to_owned(),
    }
}

fn there_are(known: &[String]) -> String {
    match known {
        [] => "there is none".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}

fn numbers(known: &[u64]) -> String {
    let texts: Vec<String> = known.iter().map(u64::to_string).collect();
    texts.join(", ")
}

fn left_out_text(left_out: &[LeftOut]) -> String {
    match left_out.first() {
        None => String::new(),
        Some(first) => format!(
            ": {} are left out, the first of them {}: {}",
            left_out.len(),
            first.name,
            first.reason
        ),
    }
}

/// An error and its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
