use std::path::PathBuf;

/// What can go wrong between the stages of the workflow.
///
/// A stage's own error is kept as the source, so that a caller can tell an
/// upstream failure from a missing object ([`Error::kind`]).
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
    /// There is no stored data to work on.
    #[error(
        "no market data under {}; run `btc data pull`, or `btc pipeline run --sample` for synthetic data",
        path.display()
    )]
    NoData {
        /// The data folder that was looked into.
        path: PathBuf,
    },
    /// The data does not reach the day that was asked for.
    #[error("{what}")]
    OutOfRange {
        /// Which day, which data, and what to do.
        what: String,
    },
    /// The data is too short for the split that was asked for.
    #[error(
        "{rows} rows are too few: {needed} are needed for {holdout} days of hold-out, \
         {selection} of selection and training windows of {timesteps}; \
         lower --holdout, --prediction-length or --timesteps, or pull more data"
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
    /// A setting contradicts the registered model or the data.
    #[error("{what}")]
    Mismatch {
        /// What contradicts what, and what to do.
        what: String,
    },
    /// Something that was asked for by name does not exist.
    #[error("{what}")]
    NotFound {
        /// What was looked for, where, and what there is.
        what: String,
    },
    /// The best run is no better than repeating the last close.
    #[error(
        "the best run, {run}, is no better than the naive forecast (MAE relative to naive \
         {relative_mae:.4}); nothing is registered; --allow-worse-than-naive registers it all the same"
    )]
    WorseThanNaive {
        /// The run's name.
        run: String,
        /// Its mean absolute error relative to the naive forecast's.
        relative_mae: f64,
    },
    /// A column of the training table is not what the workflow expects.
    #[error("column {column:?} of the training table {problem}")]
    Column {
        /// The column's name.
        column: String,
        /// What is wrong with it.
        problem: String,
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
    /// Every trial failed.
    #[error("none of the {trials} trials of study {study:?} completed; the runs tell why")]
    NoCompleteTrial {
        /// The study's name.
        study: String,
        /// Trials in the study.
        trials: usize,
    },
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
        match self {
            Self::Ingest(error) if error.is_upstream() => ErrorKind::Upstream,
            Self::NotFound { .. } | Self::NoData { .. } | Self::OutOfRange { .. } => {
                ErrorKind::NotFound
            }
            Self::Track(error) if error.is_not_found() => ErrorKind::NotFound,
            Self::Mismatch { .. } | Self::TooShort { .. } => ErrorKind::Usage,
            _ => ErrorKind::Failure,
        }
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
