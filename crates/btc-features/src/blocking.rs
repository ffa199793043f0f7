//! Work that reads files, kept off the threads that requests are driven by.

use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;

use crate::error::{Error, Result};

/// Runs what reads files beside the other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    SpawnedTask::spawn_blocking(work)
        .await
        .map_err(|error| Error::from(DataFusionError::External(Box::new(error))))?
}
