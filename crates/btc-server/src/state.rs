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
        }
    }

    pub(crate) fn features_dir(&self) -> &Path {
        &self.features_dir
    }
}
