//! The errors of this crate.

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a feature store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that nothing in the registry or the definitions has.
    #[error("no {kind} is called {name:?}{}", hint(suggestion.as_deref()))]
    UnknownObject {
        /// What was looked for, as `feature view`.
        kind: &'static str,
        /// The name that was not found.
        name: String,
        /// The closest name that does exist.
        suggestion: Option<String>,
    },

    /// Two objects that cannot both be there.
    #[error("{0}")]
    Conflict(String),

    /// A definition that cannot work, whatever the data.
    #[error("{object}: {reason}")]
    InvalidDefinition {
        /// The object, as `feature view "ohlcv"`.
        object: String,
        /// What is wrong and how to mend it.
        reason: String,
    },

    /// A definition that the columns of its source do not allow.
    #[error("{object}: {reason}")]
    SchemaMismatch {
        /// The object, as `feature view "ohlcv"`.
        object: String,
        /// What is wrong and how to mend it.
        reason: String,
    },

    /// A source whose files are not there yet.
    #[error(
        "source {name:?} has no file at {}; write its data first, \
         or correct the path of the source",
        path.display()
    )]
    SourceMissing {
        /// The source.
        name: String,
        /// Where its files were looked for.
        path: PathBuf,
    },

    /// A source whose files changed while a request read them: what had been
    /// planned for the old files was not carried out on the new.
    #[error(
        "source {name:?} changed while it was read ({} is another file now); ask again",
        path.display()
    )]
    SourceChanged {
        /// The source.
        name: String,
        /// The file, or where the files are.
        path: PathBuf,
    },

    /// A value that is not what its column is wanted for.
    #[error("{place}, column {column:?}, row {row} (from 0): {reason}")]
    InvalidValue {
        /// Where it is: a file, the entity rows, a registered table.
        place: String,
        /// The column.
        column: String,
        /// The number of the row there, from 0.
        row: usize,
        /// The value, and why it cannot be used.
        reason: String,
    },

    /// Two columns of a result would have one name.
    #[error("two columns of the result would be called {column:?}: {reason}")]
    Collision {
        /// The name.
        column: String,
        /// Who wants it, and what to do.
        reason: String,
    },

    /// Entity rows or a selection of features that cannot be answered.
    #[error("{0}")]
    InvalidRequest(String),

    /// Another process is writing, and has been for longer than a write takes.
    #[error(
        "another process has held {} for a minute; try again when it is done",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// A file of the store that cannot be understood.
    #[error("{} cannot be used: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },

    /// The memory limit of the store is too small for a request.
    #[error(
        "the memory limit was reached: {0}; raise it, or ask for fewer entity rows or features"
    )]
    MemoryLimit(String),

    /// A file or folder that cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// A Parquet file that cannot be read or written.
    #[error("cannot use the Parquet file {}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParquetError,
    },

    /// A failure of the online store's database.
    #[cfg(feature = "sqlite")]
    #[error("the online store {} failed while it {action}", path.display())]
    OnlineStore {
        /// The database file.
        path: PathBuf,
        /// What was being done, as `wrote "ohlcv"`.
        action: String,
        /// Why not: the database's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An Arrow kernel failed.
    #[error("a column cannot be converted")]
    Arrow(#[from] ArrowError),

    /// A query failed.
    #[error("the query failed")]
    DataFusion(#[source] Box<DataFusionError>),
}

/// What an error means for who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something named is not there: an object, or the files of a source.
    NotFound,
    /// What was asked for or declared cannot work, whatever the data.
    Invalid,
    /// The data are not what they are declared as.
    Data,
    /// Another try may go well: files changed meanwhile, or another process is
    /// writing.
    Retry,
    /// A limit was reached.
    Limit,
    /// The machine or a file failed.
    Failure,
}

impl Error {
    /// What the error means for who asked, as for an exit code or a status.
    ///
    /// ```
    /// # use btc_features::{Definitions, ErrorKind};
    /// let error = Definitions::new().entity("driver").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownObject { .. } | Self::SourceMissing { .. } => ErrorKind::NotFound,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Conflict(_)
            | Self::InvalidDefinition { .. }
            | Self::Collision { .. }
            | Self::InvalidRequest(_) => ErrorKind::Invalid,
            Self::SchemaMismatch { .. }
            | Self::InvalidValue { .. }
            | Self::Corrupt { .. }
            | Self::Parquet { .. } => ErrorKind::Data,
            Self::SourceChanged { .. } | Self::Locked { .. } => ErrorKind::Retry,
            Self::MemoryLimit(_) => ErrorKind::Limit,
            _ => ErrorKind::Failure,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Parquet { path, source }
    }

    pub(crate) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let suggestion = closest(name, known).map(str::to_owned);
        Self::UnknownObject {
            kind,
            name: name.to_owned(),
            suggestion,
        }
    }

    pub(crate) fn invalid(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidDefinition {
            object: object.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn mismatch(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::SchemaMismatch {
            object: object.into(),
            reason: reason.into(),
        }
    }
}

impl From<DataFusionError> for Error {
    /// Gives back an error of this crate that travelled through DataFusion,
    /// and tells a reached memory limit from other failures.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => Self::DataFusion(Box::new(DataFusionError::External(inner))),
            },
            DataFusionError::ResourcesExhausted(reason) => Self::MemoryLimit(reason),
            DataFusionError::Context(_, inner) => Self::from(*inner),
            DataFusionError::ArrowError(inner, _) => Self::Arrow(*inner),
            other => Self::DataFusion(Box::new(other)),
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::DataFusion(inner) => *inner,
            own => Self::External(Box::new(own)),
        }
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// The known name within a third of the letters of `name`, if there is one.
fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_pointed_out() {
        let error = Error::unknown("feature view", "ohclv", ["ohlcv", "blockchain"]);
        assert_eq!(
            error.to_string(),
            r#"no feature view is called "ohclv"; did you mean "ohlcv"?"#
        );
        let error = Error::unknown("feature view", "x", ["ohlcv"]);
        assert_eq!(error.to_string(), r#"no feature view is called "x""#);
    }

    #[test]
    fn an_own_error_survives_the_way_through_datafusion() {
        let error = Error::InvalidRequest("no rows".into());
        let back = Error::from(DataFusionError::from(error).context("while joining"));
        assert!(matches!(back, Error::InvalidRequest(reason) if reason == "no rows"));
    }
}
