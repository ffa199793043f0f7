//! What the pages and the API look things up in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use btc_track::TrackingClient;
use btc_tune::Storage;

/// What the pages show: the stores of one project.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) client: TrackingClient,
    pub(crate) studies: Arc<dyn Storage>,
    features_dir: Arc<PathBuf>,
    pub(crate) failures: FailureLog,
}

/// Takes a line for each request that failed through no fault of the client.
#[derive(Clone, Default)]
pub(crate) struct FailureLog(pub(crate) Option<Arc<LogLine>>);

type LogLine = dyn Fn(&str) + Send + Sync;

impl fmt::Debug for FailureLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailureLog")
            .field(&self.0.is_some())
            .finish()
    }
}

impl State {
    /// Joins the stores; `features_dir` may not exist yet.
    pub fn new(
        client: TrackingClient,
        studies: Arc<dyn Storage>,
        features_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            client,
            studies,
            features_dir: Arc::new(features_dir.into()),
            failures: FailureLog::default(),
        }
    }

    /// Gives `log` a line for each request that failed through no fault of the
    /// client: the request, the error and its causes, which the answer does not
    /// tell.
    #[must_use]
    pub fn with_failure_log(mut self, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.failures = FailureLog(Some(Arc::new(log)));
        self
    }

    pub(crate) fn features_dir(&self) -> &Path {
        &self.features_dir
    }
}
