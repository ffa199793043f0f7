//! The folder of a feature store: its settings and what lies where.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::write_whole;

/// The settings of a store, in its folder.
pub(crate) const CONFIG_FILE: &str = "feature_store.toml";
/// The applied definitions, in the store's folder.
pub(crate) const REGISTRY_FILE: &str = "registry.toml";

/// The settings in `feature_store.toml`.
///
/// ```
/// # use btc_features::StoreConfig;
/// let config = StoreConfig::new("bitcoin");
/// assert_eq!(config.online_store, std::path::Path::new("online_store.db"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The name of the project, which the online store's tables start with.
    pub project: String,
    /// The database of the online store; a relative path starts at the folder.
    #[serde(default = "online_store")]
    pub online_store: PathBuf,
}

fn online_store() -> PathBuf {
    "online_store.db".into()
}

impl StoreConfig {
    /// The settings of a project, with everything in its own folder.
    pub fn new(project: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            online_store: online_store(),
        }
    }

    /// Puts the online store elsewhere.
    #[must_use]
    pub fn with_online_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.online_store = path.into();
        self
    }

    /// Reads the settings of the store in `repo_dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there are none or they cannot be read,
    /// [`Error::Corrupt`] if they are not understood.
    pub fn read(repo_dir: &Path) -> Result<Self> {
        let path = repo_dir.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let config: Self = toml::from_str(&text).map_err(|error| Error::Corrupt {
            path: path.clone(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        config.check(&path)?;
        Ok(config)
    }

    /// Writes the settings of the store in `repo_dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be written, [`Error::Corrupt`] if the
    /// project's name cannot be one.
    pub fn write(&self, repo_dir: &Path) -> Result<()> {
        let path = repo_dir.join(CONFIG_FILE);
        self.check(&path)?;
        let text = toml::to_string(self).expect("the settings are a table of strings");
        write_whole(&path, text.as_bytes())
    }

    fn check(&self, path: &Path) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.project.is_empty() || !self.project.chars().all(allowed) {
            return Err(Error::Corrupt {
                path: path.to_path_buf(),
                reason: format!(
                    "the project is called {:?}; use letters, digits, '_' and '-'",
                    self.project
                ),
            });
        }
        // Tables of the online store start with the project's name.
        let folded = self.project.to_ascii_lowercase();
        if folded == "sqlite" || folded.starts_with("sqlite_") {
            return Err(Error::Corrupt {
                path: path.to_path_buf(),
                reason: format!(
                    "the project is called {:?}, and SQLite keeps names that start with \
                     \"sqlite_\" to itself; choose another",
                    self.project
                ),
            });
        }
        Ok(())
    }
}
