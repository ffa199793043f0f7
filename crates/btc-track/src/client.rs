//! Runs, artifacts and registered models of one place, as a program uses them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::artifact::{ArtifactRepository, LocalArtifacts};
use crate::clock::{Clock, SystemClock};
use crate::content::content_hash;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// Everything that records runs and registers models, behind one handle.
///
/// Cloning it is cheap; clones share the stores.
#[derive(Debug, Clone)]
pub struct TrackingClient {
    /// Experiments, runs and logged models.
    pub tracking: Arc<dyn TrackingStore>,
    /// Registered models.
    pub registry: Arc<dyn RegistryStore>,
    /// Files.
    pub artifacts: Arc<dyn ArtifactRepository>,
    /// Tells the time of everything the client logs.
    pub clock: Arc<dyn Clock>,
}

impl TrackingClient {
    /// Keeps runs and models in the SQLite file `db_path` and files below
    /// `artifact_root`; both are created if need be.
    ///
    /// Once the last clone is dropped the file is complete in itself.
    ///
    /// # Errors
    ///
    /// `Store` if the file cannot be opened; `InvalidParameter` if it belongs
    /// to another program.
    #[cfg(feature = "sqlite")]
    pub fn open(db_path: &Path, artifact_root: &Path) -> Result<Self> {
        Self::open_with(
            db_path,
            artifact_root,
            Durability::default(),
            Arc::new(SystemClock),
        )
    }

    /// As [`TrackingClient::open`], with a durability and a clock.
    ///
    /// # Errors
    ///
    /// As [`TrackingClient::open`].
    #[cfg(feature = "sqlite")]
    pub fn open_with(
        db_path: &Path,
        artifact_root: &Path,
        durability: Durability,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let store = Arc::new(SqliteStore::open_with(db_path, durability, clock.clone())?);
        let artifacts = Arc::new(LocalArtifacts::new(artifact_root));
        Ok(Self {
            tracking: store.clone(),
            registry: store,
            artifacts,
            clock,
        })
    }

    /// Opens a SQLite file that is there, and changes nothing by doing so: to
    /// read, or to change what is in it.
    ///
    /// # Errors
    ///
    /// `Store` if there is no file or it cannot be opened; `InvalidParameter`
    /// if it belongs to another program.
    #[cfg(feature = "sqlite")]
    pub fn open_existing(db_path: &Path, artifact_root: &Path) -> Result<Self> {
        let clock = Arc::new(SystemClock);
        let store = Arc::new(SqliteStore::open_existing(db_path, clock.clone())?);
        Ok(Self {
            tracking: store.clone(),
            registry: store,
            artifacts: Arc::new(LocalArtifacts::new(artifact_root)),
            clock,
        })
    }

    /// Keeps runs and models only as long as the client lives, and files below
    /// `artifact_root`.
    ///
    /// # Errors
    ///
    /// None at present; a store may need resources that are not there.
    pub fn in_memory(artifact_root: &Path) -> Result<Self> {
        Ok(Self::in_memory_with(artifact_root, Arc::new(SystemClock)))
    }

    /// As [`TrackingClient::in_memory`], with a clock.
    pub fn in_memory_with(artifact_root: &Path, clock: Arc<dyn Clock>) -> Self {
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let artifacts = Arc::new(LocalArtifacts::new(artifact_root));
        Self {
            tracking: store.clone(),
            registry: store,
            artifacts,
            clock,
        }
    }

    /// The time of the client's clock.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default()
    }

    /// The experiment called `name`, created if it is missing.
    ///
    /// # Errors
    ///
    /// `Inactive` if it is deleted.
    pub fn get_or_create_experiment(&self, name: &str) -> Result<Experiment> {
        let new = NewExperiment {
            name: name.to_owned(),
            ..Default::default()
        };
        let experiment = match self.tracking.experiment_by_name(name) {
            Err(error) if error.is_not_found() => match self.tracking.create_experiment(&new) {
                // Another process was quicker.
                Err(Error::AlreadyExists { .. }) => self.tracking.experiment_by_name(name),
                created => created,
            },
            found => found,
        }?;
        match experiment.lifecycle_stage {
            LifecycleStage::Active => Ok(experiment),
            LifecycleStage::Deleted => Err(Error::Inactive {
                what: "experiment",
                id: name.to_owned(),
            }),
        }
    }

    /// The experiment with a name, or else with an id.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is neither.
    pub fn experiment(&self, name_or_id: &str) -> Result<Experiment> {
        match self.tracking.experiment_by_name(name_or_id) {
            Err(error) if error.is_not_found() => self.tracking.experiment(name_or_id),
            found => found,
        }
    }

    /// All active experiments, the newest first.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn experiments(&self) -> Result<Vec<Experiment>> {
        let mut query = SearchQuery::default();
        all_pages(|token| {
            query.page_token = token;
            self.tracking.search_experiments(&query)
        })
    }

    /// One page of runs; `page_token` is that of the page before.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let client = btc_track::TrackingClient::in_memory(folder.path())?;
    /// let page = client.search_runs(&["0"], "metrics.mape < 5", &["metrics.mape ASC"], 10, None)?;
    /// assert!(page.items.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidFilter` with the position of a mistake in the filter or ordering.
    pub fn search_runs<S: AsRef<str>, O: AsRef<str>>(
        &self,
        experiment_ids: &[S],
        filter: &str,
        order_by: &[O],
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Run>> {
        let mut query = RunQuery::new(experiment_ids.iter().map(|id| id.as_ref().to_owned()))
            .with_filter(filter)
            .with_max_results(max_results);
        query.order_by = order_by.iter().map(|key| key.as_ref().to_owned()).collect();
        query.page_token = page_token.map(str::to_owned);
        self.tracking.search_runs(&query)
    }

    /// The run with an id.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub fn run(&self, id: &str) -> Result<Run> {
        self.tracking.run(id)
    }

    /// Deletes a run; [`TrackingClient::restore_run`] brings it back.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub fn delete_run(&self, id: &str) -> Result<()> {
        self.tracking.set_run_lifecycle(id, LifecycleStage::Deleted)
    }

    /// Restores a deleted run.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none, `Inactive` if its experiment is deleted.
    pub fn restore_run(&self, id: &str) -> Result<()> {
        self.tracking.set_run_lifecycle(id, LifecycleStage::Active)
    }

    /// Writes one artifact to a local file, which appears whole or not at
    /// all, and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such artifact, `Artifact` if the file cannot
    /// be written.
    pub fn download(&self, uri: &str, path: &str, output: &Path) -> Result<u64> {
        let (mut content, _) = self.artifacts.open(uri, path)?;
        let failed = |source| Error::Artifact {
            action: "write",
            path: output.to_owned(),
            source,
        };
        let mut file = btc_files::NewFile::create(output).map_err(failed)?;
        let size = std::io::copy(&mut content, &mut file).map_err(failed)?;
        file.finish().map_err(failed)?;
        Ok(size)
    }

    /// Writes everything in a folder of artifacts into an existing local folder.
    ///
    /// # Errors
    ///
    /// As [`TrackingClient::download`]; files written until then stay.
    pub fn download_folder(&self, uri: &str, path: &str, output: &Path) -> Result<()> {
        for file in self.artifacts.list(uri, path)? {
            // Every repository gives paths that stay below their folder.
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let place = output.join(name);
            if file.is_dir {
                std::fs::create_dir_all(&place).map_err(Error::artifact("write", &place))?;
                self.download_folder(uri, &file.path, &place)?;
            } else {
                self.download(uri, &file.path, &place)?;
            }
        }
        Ok(())
    }

    /// Removes for good what was deleted before `deleted_before` (milliseconds
    /// since 1970 UTC), with its artifacts. What a registered version needs
    /// stays, whatever its source is called.
    ///
    /// Folders that cannot be deleted are named in [`Purged::left`]: those of
    /// another repository are left to it, the others are tried again by the
    /// next call.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn gc(&self, deleted_before: i64) -> Result<Purged> {
        let mut purged = self.tracking.purge(deleted_before)?;
        let (mut deleted, mut elsewhere) = (Vec::new(), Vec::new());
        for uri in std::mem::take(&mut purged.artifact_uris) {
            match self.artifacts.delete(&uri, "") {
                Ok(()) => deleted.push(uri),
                Err(error) => {
                    if matches!(error, Error::InvalidParameter { .. }) {
                        elsewhere.push(uri.clone());
                    }
                    purged.left.push((uri, describe(&error)));
                }
            }
        }
        self.tracking
            .artifacts_deleted(&[deleted.as_slice(), &elsewhere].concat())?;
        purged.artifact_uris = deleted;
        Ok(purged)
    }

    /// What [`TrackingClient::gc`] would remove.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn purgeable(&self, deleted_before: i64) -> Result<Purged> {
        self.tracking.purgeable(deleted_before)
    }

    /// All values of a metric, in the order (timestamp, step, value).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such run; a metric it lacks has no values.
    pub fn metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>> {
        all_pages(|token| {
            self.tracking
                .metric_history(run_id, key, MAX_PAGE, token.as_deref())
        })
    }

    /// Creates a registered model without versions.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken.
    pub fn create_registered_model(&self, name: &str) -> Result<RegisteredModel> {
        let new = NewRegisteredModel {
            name: name.to_owned(),
            ..Default::default()
        };
        self.registry.create_registered_model(&new)
    }

    /// All registered models, by name.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn registered_models(&self) -> Result<Vec<RegisteredModel>> {
        let mut query = SearchQuery::default();
        all_pages(|token| {
            query.page_token = token;
            self.registry.search_registered_models(&query)
        })
    }

    /// Creates a version of a registered model, numbered one higher than any
    /// before it, and pins the content of the files it points to.
    ///
    /// # Errors
    ///
    /// `NotFound` if the model is missing, unless `new` creates it, and if the
    /// source names nothing; `InvalidParameter` if a file of it is no plain file.
    pub fn create_model_version(&self, new: &NewModelVersion) -> Result<ModelVersion> {
        self.registry.create_model_version(&self.pinned(new)?)
    }

    /// As [`RegistryStore::register_model_version`], pinning the content of the
    /// files as [`create_model_version`](Self::create_model_version) does.
    ///
    /// # Errors
    ///
    /// As [`create_model_version`](Self::create_model_version).
    pub fn register_model_version(&self, new: &NewModelVersion) -> Result<(ModelVersion, bool)> {
        self.registry.register_model_version(&self.pinned(new)?)
    }

    fn pinned(&self, new: &NewModelVersion) -> Result<NewModelVersion> {
        let mut new = new.clone();
        // A server pins the content of what it keeps itself.
        if new.content.is_none()
            && !is_prompt(&new.tags)
            && let Ok(uri) = self.download_uri(&new.source)
            && self.artifacts.local_path(&uri).is_some()
        {
            new.content = content_hash(&*self.artifacts, &uri)?;
        }
        Ok(new)
    }

    /// Checks that the files of a version are those that were registered, and
    /// returns their URI. A version without files has nothing to check.
    ///
    /// # Errors
    ///
    /// `ContentChanged` if they are not; `NotFound` if what the source names is
    /// missing; as [`content_hash`] if a file cannot be read.
    pub fn verify_version(&self, version: &ModelVersion) -> Result<String> {
        let uri = self.version_uri(version)?;
        if version.content.is_some() {
            check_content(version, content_hash(&*self.artifacts, &uri))?;
        }
        Ok(uri)
    }

    /// Writes the files of a version into an existing, empty local folder and
    /// checks that they are those that were registered.
    ///
    /// # Errors
    ///
    /// As [`TrackingClient::download_folder`] and
    /// [`TrackingClient::verify_version`].
    pub fn download_version(&self, version: &ModelVersion, output: &Path) -> Result<()> {
        self.download_folder(&self.version_uri(version)?, "", output)?;
        if version.content.is_none() {
            return Ok(());
        }
        let copy = LocalArtifacts::new(output);
        check_content(version, content_hash(&copy, "mlflow-artifacts:/"))
    }

    fn version_uri(&self, version: &ModelVersion) -> Result<String> {
        match &version.location {
            Some(uri) => Ok(uri.clone()),
            None => self.download_uri(&version.source),
        }
    }

    /// A version of a registered model.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion> {
        self.registry.model_version(name, version)
    }

    /// The version an alias points to.
    ///
    /// # Errors
    ///
    /// `NotFound` if the model or the alias is missing.
    pub fn model_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        self.registry.model_version_by_alias(name, alias)
    }

    /// All versions of a registered model, the newest first.
    ///
    /// # Errors
    ///
    /// `NotFound` if the model is missing.
    pub fn model_versions(&self, name: &str) -> Result<Vec<ModelVersion>> {
        self.registry.registered_model(name)?;
        let quoted = quote(name)?;
        let mut query = SearchQuery::filtered(format!("name = {quoted}"));
        all_pages(|token| {
            query.page_token = token;
            self.registry.search_model_versions(&query)
        })
    }

    /// The version with the highest number.
    ///
    /// # Errors
    ///
    /// `NotFound` if the model is missing or has no version.
    pub fn latest_version(&self, name: &str) -> Result<ModelVersion> {
        let model = self.registry.registered_model(name)?;
        let latest = model
            .latest_versions
            .into_iter()
            .max_by_key(|version| version.version);
        latest.ok_or_else(|| Error::not_found("model version", format!("{name}/latest")))
    }

    /// Points an alias to a version, taking it from the version that had it.
    ///
    /// # Errors
    ///
    /// `NotFound` if the version is missing.
    pub fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<()> {
        let change = RegisteredModelChange::SetAlias(alias.to_owned(), version);
        self.registry
            .change_registered_model(name, &change)
            .map(|_| ())
    }

    /// Removes an alias.
    ///
    /// # Errors
    ///
    /// `NotFound` if the model or the alias is missing.
    pub fn delete_alias(&self, name: &str, alias: &str) -> Result<()> {
        self.registry.model_version_by_alias(name, alias)?;
        let change = RegisteredModelChange::DeleteAlias(alias.to_owned());
        self.registry
            .change_registered_model(name, &change)
            .map(|_| ())
    }

    /// Sets or replaces a tag of a version.
    ///
    /// # Errors
    ///
    /// `NotFound` if the version is missing.
    pub fn set_model_version_tag(
        &self,
        name: &str,
        version: u64,
        key: &str,
        value: &str,
    ) -> Result<()> {
        let change = ModelVersionChange::SetTag(Tag::new(key, value));
        self.registry
            .change_model_version(name, version, &change)
            .map(|_| ())
    }

    /// Resolves `runs:/RUN/path`, `models:/m-ID`, `models:/NAME/VERSION` and
    /// `models:/NAME@ALIAS` to the URI of the files.
    ///
    /// # Errors
    ///
    /// `NotFound` if what the URI names is missing.
    pub fn download_uri(&self, uri: &str) -> Result<String> {
        resolve(uri, self)
    }

    /// The local folder of a version's files, if they are on this computer,
    /// after checking that they are those that were registered.
    ///
    /// # Errors
    ///
    /// As [`TrackingClient::verify_version`].
    pub fn model_path(&self, version: &ModelVersion) -> Result<Option<PathBuf>> {
        let uri = self.version_uri(version)?;
        let Some(path) = self.artifacts.local_path(&uri) else {
            return Ok(None);
        };
        // Also without a pinned content nothing but plain files may be read.
        check_content(version, content_hash(&*self.artifacts, &uri))?;
        Ok(Some(path))
    }
}

impl Sources for TrackingClient {
    fn run_folder(&self, id: &str) -> Result<String> {
        Ok(self.tracking.run(id)?.info.artifact_uri)
    }

    fn model_folder(&self, id: &str) -> Result<String> {
        Ok(self.tracking.logged_model(id)?.artifact_uri)
    }

    fn version_source(&self, name: &str, which: Which<'_>) -> Result<String> {
        let version = match which {
            Which::Number(version) => self.registry.model_version(name, version)?,
            Which::Alias(alias) => self.registry.model_version_by_alias(name, alias)?,
            Which::Latest => self.latest_version(name)?,
        };
        Ok(version.location.unwrap_or(version.source))
    }
}

pub(crate) fn is_model_id(name: &str) -> bool {
    let digits = name.strip_prefix("m-").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(crate) fn join_uri(uri: &str, path: &str) -> String {
    if path.is_empty() {
        uri.to_owned()
    } else {
        format!("{uri}/{path}")
    }
}

/// Refuses files that are not those that were registered, or no plain files.
fn check_content(version: &ModelVersion, found: Result<Option<String>>) -> Result<()> {
    let found = match (found, &version.content) {
        (Ok(_), None) => return Ok(()),
        (Ok(found), Some(_)) if found == version.content => return Ok(()),
        (Ok(found), _) => found.unwrap_or_else(|| "that of nothing, the files are gone".to_owned()),
        (Err(Error::InvalidParameter { message }), _) => format!("unknown, for {message}"),
        (Err(error), _) => return Err(error),
    };
    Err(Error::ContentChanged {
        version: format!("{} {}", version.name, version.version),
        expected: version
            .content
            .clone()
            .unwrap_or_else(|| "never taken".to_owned()),
        found,
    })
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A name as a quoted text of the filter language, which has no escapes.
pub(crate) fn quote(name: &str) -> Result<String> {
    match (name.contains('\''), name.contains('"')) {
        (false, _) => Ok(format!("'{name}'")),
        (true, false) => Ok(format!("\"{name}\"")),
        _ => Err(Error::invalid(format!(
            "the name {name:?} has both kinds of quotes"
        ))),
    }
}

/// Collects all pages of a search.
pub(crate) fn all_pages<T>(
    mut page: impl FnMut(Option<String>) -> Result<Page<T>>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut token = None;
    loop {
        let next = page(token.take())?;
        items.extend(next.items);
        token = next.next_page_token;
        if token.is_none() {
            return Ok(items);
        }
    }
}
