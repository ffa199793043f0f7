//! A store's limits and tables, set before it is opened.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::error::Result;
use crate::store::FeatureStore;

/// What a store is to be opened with; made by [`FeatureStore::builder`].
///
/// ```
/// # use btc_features::FeatureStore;
/// # let dir = tempfile::tempdir().unwrap();
/// let store = FeatureStore::builder(dir.path())
///     .memory_limit(512 << 20)
///     .target_partitions(2)
///     .init("bitcoin")?;
/// assert_eq!(store.config().project, "bitcoin");
/// # Ok::<(), btc_features::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct FeatureStoreBuilder {
    repo_dir: PathBuf,
    memory: Option<usize>,
    partitions: Option<usize>,
    tables: HashMap<String, Arc<dyn TableProvider>>,
}

impl FeatureStore {
    /// Sets limits and tables before a store is opened.
    pub fn builder(repo_dir: impl AsRef<Path>) -> FeatureStoreBuilder {
        FeatureStoreBuilder {
            repo_dir: repo_dir.as_ref().to_path_buf(),
            memory: None,
            partitions: None,
            tables: HashMap::new(),
        }
    }
}

impl FeatureStoreBuilder {
    /// Lets requests use no more than `bytes` of memory for what they hold; see
    /// [`FeatureStore::with_memory_limit`].
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Lets requests use this many threads; see
    /// [`FeatureStore::with_target_partitions`].
    pub fn target_partitions(mut self, partitions: usize) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Reads the rows of a source from a table; see
    /// [`FeatureStore::with_table`].
    pub fn table(mut self, source: impl Into<String>, table: Arc<dyn TableProvider>) -> Self {
        self.tables.insert(source.into(), table);
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    ///
    /// As [`FeatureStore::open`], and [`Error::DataFusion`] if DataFusion
    /// refuses a limit.
    ///
    /// [`Error::DataFusion`]: crate::Error::DataFusion
    pub fn open(self) -> Result<FeatureStore> {
        let store = FeatureStore::open(&self.repo_dir)?;
        self.configured(store)
    }

    /// Opens the store, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// As [`FeatureStore::init`] and [`Self::open`].
    pub fn init(self, project: &str) -> Result<FeatureStore> {
        let store = FeatureStore::init(&self.repo_dir, project)?;
        self.configured(store)
    }

    fn configured(self, mut store: FeatureStore) -> Result<FeatureStore> {
        if let Some(bytes) = self.memory {
            store = store.with_memory_limit(bytes)?;
        }
        if let Some(partitions) = self.partitions {
            store = store.with_target_partitions(partitions)?;
        }
        let tables = self.tables.into_iter();
        Ok(tables.fold(store, |store, (source, table)| {
            store.with_table(source, table)
        }))
    }
}
