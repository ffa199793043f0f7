//! Why something failed, as a caller can act on it and a person can read it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why market data could not be fetched, read or stored.
///
/// No message ever holds an API key: texts and URLs are redacted before they get here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A service refuses more requests for now.
    #[error("{service} refuses more requests: {problem}; {}", come_back(*.retry_after))]
    RateLimited {
        /// The service, as its host is called.
        service: String,
        /// What the service says.
        problem: String,
        /// How long to stay away, where that is known.
        retry_after: Option<Duration>,
    },
    /// A service refuses the API key.
    #[error(
        "{service} refuses the API key: {problem}; check the key, a free one is at https://www.alphavantage.co/support/#api-key"
    )]
    Unauthorized {
        /// The service, as its host is called.
        service: String,
        /// What the service says.
        problem: String,
    },
    /// A service answered with something else than the data asked for.
    #[error("cannot understand the answer of {what}: {problem}")]
    Malformed {
        /// Whose answer it is.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A service answered with an HTTP status other than success.
    #[error("{url} answers with HTTP status {status}")]
    Status {
        /// The address, without secrets.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection could not be made, or broke.
    #[error("cannot read {url}")]
    Transport {
        /// The address, without secrets.
        url: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No whole answer within the time allowed.
    #[error("no whole answer from {url} within {} s", .waited.as_secs())]
    Timeout {
        /// The address, without secrets.
        url: String,
        /// The time spent waiting.
        waited: Duration,
    },
    /// An answer is larger than allowed.
    #[error("the answer of {url} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The address, without secrets.
        url: String,
        /// The most bytes an answer may have.
        limit: usize,
    },
    /// A series that should be daily has larger steps.
    #[error("{series} comes in steps of {step_days} days, not daily; thinned data is refused")]
    Sampled {
        /// The series.
        series: String,
        /// The usual distance between two points.
        step_days: i64,
    },
    /// A service gave nothing to work with.
    #[error("{service} gives no data: {problem}")]
    NoData {
        /// The service, as its host is called.
        service: String,
        /// What is missing.
        problem: String,
    },
    /// The data folder is empty.
    #[error("{} holds no data yet; pull data first", .path.display())]
    NotPulled {
        /// The data folder, or that of one table.
        path: PathBuf,
    },
    /// A source that is not one of this crate's failed.
    #[error("source {name} failed")]
    Source {
        /// The source.
        name: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting cannot be used.
    #[error("{problem}")]
    Config {
        /// What is wrong and what to do.
        problem: String,
    },
    /// Another process is changing the data folder.
    #[error("another process is changing {}; wait for it to end, then try again", .path.display())]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// The data folder holds data of another kind.
    #[error("{} {problem}", .path.display())]
    OtherData {
        /// The data folder.
        path: PathBuf,
        /// What it holds and what to do.
        problem: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is not what its place says it is.
    #[error("{} cannot be used: {problem}", .path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file can be read in more than one way.
    #[error(
        "{} can be read in more than one way: {problem}; say which with the option {option}: \
         {answers}",
        .path.display()
    )]
    Unclear {
        /// The file.
        path: PathBuf,
        /// What is unclear, and where.
        problem: String,
        /// The option that tells it.
        option: &'static str,
        /// What can be answered.
        answers: &'static str,
    },
    /// A file is not the one that the manifest knows: somebody else has changed it.
    #[error(
        "{} is not what the manifest says; restore it from a copy, or start in an empty folder",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link cannot be made.
    #[error(
        "cannot make the symbolic link {}; the data folder has to be on a file system with symbolic links",
        .path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A Parquet file cannot be read or written.
    #[error("cannot read or write the Parquet file {}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table cannot be put together.
    #[error("cannot put the table together")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// Tells whether a service failed, rather than this program, its settings or the disk.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unauthorized { .. }
                | Self::Malformed { .. }
                | Self::Status { .. }
                | Self::Transport { .. }
                | Self::Timeout { .. }
                | Self::TooLarge { .. }
                | Self::Sampled { .. }
                | Self::NoData { .. }
                | Self::Source { .. }
        )
    }

    /// Tells whether the service as a whole cannot be reached, so that asking for more is in vain.
    /// One server error may be that of one series only; a `repeated` one is not.
    pub(crate) fn is_unreachable(&self, repeated: bool) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } | Self::RateLimited { .. } => true,
            Self::Status { status, .. } => repeated && *status >= 500,
            _ => false,
        }
    }

    /// The error of the source `name`: one of this crate as it is, any other with the name.
    pub(crate) fn source(name: &str, error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(source) => Self::Source {
                name: name.to_owned(),
                source,
            },
        }
    }

    /// The message with those of its causes: what a person needs who sees nothing else.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let message = error.to_string();
            // Some libraries repeat their cause in their own message.
            if !text.ends_with(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
        text
    }

    /// Tells whether a service has no such thing, rather than failing to give it.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. } | Self::NoData { .. })
    }

    pub(crate) fn config(problem: impl Into<String>) -> Self {
        Self::Config {
            problem: problem.into(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed {
            what: what.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn invalid(path: &Path, problem: impl Into<String>) -> Self {
        Self::InvalidFile {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}

fn come_back(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs()) {
        None => "try again later".to_owned(),
        Some(seconds @ 0..=119) => format!("try again in {seconds} s"),
        Some(seconds @ 120..=7199) => format!("try again in {} min", seconds.div_ceil(60)),
        Some(seconds) => format!("try again in {} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_says_when_to_come_back() {
        let message = |seconds: Option<u64>| {
            Error::RateLimited {
                service: "a".into(),
                problem: "b".into(),
                retry_after: seconds.map(Duration::from_secs),
            }
            .to_string()
        };
        assert!(message(None).ends_with("try again later"));
        assert!(message(Some(30)).ends_with("in 30 s"));
        assert!(message(Some(121)).ends_with("in 3 min"));
        assert!(message(Some(86_400)).ends_with("in 24 h"));
    }
}
