//! The one folder that holds a project.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The folder of a project and where things lie in it.
///
/// ```
/// use btc_pipeline::Project;
///
/// let project = Project::new("/srv/btc");
/// assert_eq!(project.data_dir(), std::path::Path::new("/srv/btc/data"));
/// assert_eq!(project.studies(), std::path::Path::new("/srv/btc/studies.db"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// Names a project by its folder; nothing is read or written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Creates the folder if it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be created.
    pub fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.root).map_err(|source| Error::Io {
            action: "create",
            path: self.root.clone(),
            source,
        })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Market data: `raw/`, `processed/` and the manifest.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Feature definitions and their registry.
    pub fn features_dir(&self) -> PathBuf {
        self.root.join("features")
    }

    /// The studies, in Optuna's tables.
    pub fn studies(&self) -> PathBuf {
        self.root.join("studies.db")
    }

    /// Runs and registered models.
    pub fn tracking(&self) -> PathBuf {
        self.root.join("track.db")
    }

    /// Artifacts of runs and models.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Reports made by the commands.
    pub fn reports(&self) -> PathBuf {
        self.root.join("reports")
    }
}
