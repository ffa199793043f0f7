//! What can go wrong, and the name MLflow has for it.

use std::io;
use std::path::PathBuf;

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while recording runs or registering models.
///
/// [`Error::code`] gives the code that MLflow uses for the same situation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing of that kind has that name or id.
    #[error("no {what} is called {id:?}")]
    NotFound {
        /// The kind of thing, such as `experiment`.
        what: &'static str,
        /// The name or id that was asked for.
        id: String,
    },
    /// The name is taken.
    #[error("{what} {id:?} already exists{hint}")]
    AlreadyExists {
        /// The kind of thing, such as `registered model`.
        what: &'static str,
        /// The name that is taken.
        id: String,
        /// What to do about it, or empty.
        hint: &'static str,
    },
    /// A parameter that was logged before was logged again with another value.
    #[error(
        "parameter {key:?} of run {run} is {old:?} and cannot become {new:?}; \
         logged parameters never change, so start a new run"
    )]
    ParamChanged {
        /// The run.
        run: String,
        /// The parameter's name.
        key: String,
        /// The value that was logged first.
        old: String,
        /// The value that was refused.
        new: String,
    },
    /// A run, experiment or model is deleted and must be restored first.
    #[error("{what} {id:?} is deleted; restore it first")]
    Inactive {
        /// The kind of thing.
        what: &'static str,
        /// Its name or id.
        id: String,
    },
    /// An argument has a value that is not allowed.
    #[error("{message}")]
    InvalidParameter {
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The files of a model version are not those that were registered.
    #[error(
        "the content of model version {version} has changed since it was registered: its hash \
         was {expected} and is {found}; register the files anew, or restore them"
    )]
    ContentChanged {
        /// Name and number.
        version: String,
        /// The hash that was registered.
        expected: String,
        /// The hash of what is there now.
        found: String,
    },
    /// A registered version needs a file as it is.
    #[error(
        "the files at {path:?} belong to version {version} of model {model:?} and cannot change; \
         delete the version first, or write to another place"
    )]
    ContentPinned {
        /// What was to be written or deleted.
        path: String,
        /// The registered model.
        model: String,
        /// The number of the version.
        version: u64,
    },
    /// A search filter or an ordering does not follow the grammar.
    #[error("{message} at position {position}")]
    InvalidFilter {
        /// What was expected.
        message: String,
        /// Byte offset in the text, from 0.
        position: usize,
    },
    /// No run of an experiment can be registered.
    #[error("no run of experiment {experiment:?} can be registered: {reason}")]
    NoCandidate {
        /// The experiment's name.
        experiment: String,
        /// Why each run was passed over.
        reason: String,
    },
    /// A file of an artifact could not be read or written.
    #[error("cannot {action} artifact {}", path.display())]
    Artifact {
        /// What was being done, such as `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Others have kept the store busy for too long; nothing was stored.
    #[error(
        "cannot {action}: other writers have kept it busy for too long; nothing was stored, try again"
    )]
    Busy {
        /// What was being done.
        action: &'static str,
    },
    /// The store failed.
    #[error("cannot {action}")]
    Store {
        /// What was being done.
        action: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server could not be reached, or broke off its answer.
    #[error("cannot talk to {uri}")]
    Unreachable {
        /// The server's address.
        uri: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another server refused a request.
    #[error("{uri} answered {status} {error_code}: {message}")]
    Remote {
        /// The server.
        uri: String,
        /// The HTTP status.
        status: u16,
        /// The server's error code.
        error_code: String,
        /// The server's message.
        message: String,
    },
    /// A file has a format that cannot be read.
    #[error("cannot read {file}: {message}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// Returns MLflow's error code for this error.
    ///
    /// ```
    /// let error = btc_track::Error::NotFound { what: "run", id: "r1".into() };
    /// assert_eq!(error.code(), "RESOURCE_DOES_NOT_EXIST");
    /// ```
    pub fn code(&self) -> &str {
        match self {
            // MLflow answers an unknown alias with the code of a wrong argument.
            Self::NotFound { what: "alias", .. } => "INVALID_PARAMETER_VALUE",
            Self::NotFound { .. } => "RESOURCE_DOES_NOT_EXIST",
            Self::NoCandidate { .. } => "RESOURCE_DOES_NOT_EXIST",
            Self::AlreadyExists { .. } => "RESOURCE_ALREADY_EXISTS",
            Self::ParamChanged { .. }
            | Self::Inactive { .. }
            | Self::InvalidParameter { .. }
            | Self::InvalidFilter { .. }
            | Self::ContentPinned { .. }
            | Self::Malformed { .. } => "INVALID_PARAMETER_VALUE",
            Self::Artifact { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "RESOURCE_DOES_NOT_EXIST"
            }
            Self::Busy { .. } => "TEMPORARILY_UNAVAILABLE",
            Self::ContentChanged { .. } => "INVALID_STATE",
            Self::Remote { error_code, .. } => error_code,
            Self::Artifact { .. } | Self::Store { .. } | Self::Unreachable { .. } => {
                "INTERNAL_ERROR"
            }
        }
    }

    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. }) || self.code() == "RESOURCE_DOES_NOT_EXIST"
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter {
            message: message.into(),
        }
    }

    pub(crate) fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            id: id.into(),
        }
    }

    pub(crate) fn artifact(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Artifact {
            action,
            path,
            source,
        }
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store {
            action: "use the tracking database".into(),
            source: Box::new(source),
        }
    }
}
