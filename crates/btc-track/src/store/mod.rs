//! Where runs and models are kept.

mod check;
#[cfg(any(feature = "server", feature = "sqlite"))]
pub(crate) mod deadline;
mod memory;
mod once;
mod page;
#[cfg(feature = "rest")]
mod rest;
mod source;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use check::*;
pub use check::{
    MAX_EXPERIMENT_TAG_LENGTH, MAX_KEY_LENGTH, MAX_PARAM_LENGTH, MAX_REGISTRY_TAG_LENGTH,
    MAX_TAG_LENGTH, finite,
};
pub use memory::MemoryStore;
pub(crate) use page::*;
#[cfg(feature = "rest")]
pub use rest::{RestArtifacts, RestConfig, RestStore};
#[cfg(feature = "sqlite")]
pub(crate) use source::with_parents;
pub(crate) use source::{
    InUse, PROMPT_TAG, Sources, Which, is_prompt, location_of, place, resolve,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{Durability, SqliteStore};

use std::fmt::Debug;

use crate::entity::*;
use crate::error::Result;

/// Which lifecycle stages a search returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViewType {
    /// Only active things.
    #[default]
    ActiveOnly,
    /// Only deleted things.
    DeletedOnly,
    /// Both.
    All,
}

impl ViewType {
    /// Whether this view shows things of `stage`.
    pub fn shows(self, stage: LifecycleStage) -> bool {
        match self {
            Self::ActiveOnly => stage == LifecycleStage::Active,
            Self::DeletedOnly => stage == LifecycleStage::Deleted,
            Self::All => true,
        }
    }
}

/// One page of results.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// Ask with this token for the next page; none on the last page.
    pub next_page_token: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next_page_token: None,
        }
    }
}

/// An experiment to be created.
#[derive(Debug, Clone, Default)]
pub struct NewExperiment {
    /// Its name, not empty.
    pub name: String,
    /// Where its artifacts lie; none lets the store choose.
    pub artifact_location: Option<String>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A change of an experiment.
#[derive(Debug, Clone)]
pub enum ExperimentChange {
    /// Gives it another name.
    Rename(String),
    /// Deletes it and its runs; both can be restored.
    Delete,
    /// Restores it and the runs that were deleted with it.
    Restore,
    /// Sets or replaces a tag.
    SetTag(Tag),
    /// Removes a tag.
    DeleteTag(String),
}

/// A run to be created.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// The experiment.
    pub experiment_id: String,
    /// Its name; none lets the store choose.
    pub run_name: Option<String>,
    /// Who started it; may be empty.
    pub user_id: String,
    /// Milliseconds since 1970 UTC; none takes the store's clock.
    pub start_time: Option<i64>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A change of a run's own fields; none leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct RunUpdate {
    /// How far it has come.
    pub status: Option<RunStatus>,
    /// Milliseconds since 1970 UTC.
    pub end_time: Option<i64>,
    /// Its name.
    pub run_name: Option<String>,
}

/// Values to log together, all or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Metric values, appended.
    pub metrics: Vec<Metric>,
    /// Parameters, which never change.
    pub params: Vec<Param>,
    /// Tags, set or replaced.
    pub tags: Vec<Tag>,
    /// Metric values that also belong to a logged model.
    pub model_metrics: Vec<ModelMetric>,
}

/// A search of runs.
#[derive(Debug, Clone)]
pub struct RunQuery {
    /// The experiments to look in.
    pub experiment_ids: Vec<String>,
    /// See [`crate::search`]; empty lets every run pass.
    pub filter: String,
    /// Such as `metrics.mape ASC`; the default is the newest first.
    pub order_by: Vec<String>,
    /// Active or deleted runs.
    pub view: ViewType,
    /// At most so many runs a page.
    pub max_results: usize,
    /// The token of the page before.
    pub page_token: Option<String>,
}

impl RunQuery {
    /// All active runs of some experiments, the newest first, at most 1000 a page.
    pub fn new<S: Into<String>>(experiment_ids: impl IntoIterator<Item = S>) -> Self {
        Self {
            experiment_ids: experiment_ids.into_iter().map(Into::into).collect(),
            filter: String::new(),
            order_by: Vec::new(),
            view: ViewType::ActiveOnly,
            max_results: 1000,
            page_token: None,
        }
    }

    /// Only runs that the filter lets pass.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = filter.into();
        self
    }

    /// Orders by one more key.
    #[must_use]
    pub fn with_order(mut self, order: impl Into<String>) -> Self {
        self.order_by.push(order.into());
        self
    }

    /// At most `max_results` runs a page.
    #[must_use]
    pub fn with_max_results(mut self, max_results: usize) -> Self {
        self.max_results = max_results;
        self
    }
}

/// A data set on which metrics of logged models were measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetFilter {
    /// Its name.
    pub name: String,
    /// Its digest; none means any.
    pub digest: Option<String>,
}

impl DatasetFilter {
    /// Whether a metric was measured on it.
    pub fn is_of(&self, metric: &ModelMetric) -> bool {
        metric.dataset_name == self.name
            && self
                .digest
                .as_ref()
                .is_none_or(|digest| metric.dataset_digest == *digest)
    }
}

/// A search of anything but runs.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// See [`crate::search`]; empty lets everything pass.
    pub filter: String,
    /// Such as `name DESC`.
    pub order_by: Vec<String>,
    /// Of logged models: only metrics on these data sets count; empty means all.
    pub datasets: Vec<DatasetFilter>,
    /// Active or deleted things, where they can be deleted.
    pub view: ViewType,
    /// At most so many a page.
    pub max_results: usize,
    /// The token of the page before.
    pub page_token: Option<String>,
}

impl Default for SearchQuery {
    fn default() -> Self {
        Self {
            filter: String::new(),
            order_by: Vec::new(),
            datasets: Vec::new(),
            view: ViewType::ActiveOnly,
            max_results: 1000,
            page_token: None,
        }
    }
}

impl SearchQuery {
    /// Everything active that `filter` lets pass, at most 1000 a page.
    pub fn filtered(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            ..Self::default()
        }
    }
}

/// One bucket of a downsampled metric history.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricBucket {
    /// The first value in the bucket, by step.
    pub first: Metric,
    /// The smallest value.
    pub min: Metric,
    /// The largest value.
    pub max: Metric,
    /// The last value in the bucket, by step.
    pub last: Metric,
    /// How many values it stands for, NaN included.
    pub count: u64,
}

/// A logged model to be created.
#[derive(Debug, Clone, Default)]
pub struct NewLoggedModel {
    /// The experiment.
    pub experiment_id: String,
    /// Its name; empty lets the store choose.
    pub name: String,
    /// Free text.
    pub model_type: String,
    /// The run that logs it.
    pub source_run_id: Option<RunId>,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A change of a logged model.
#[derive(Debug, Clone)]
pub enum LoggedModelChange {
    /// Its files have come further.
    Status(LoggedModelStatus),
    /// Sets or replaces tags.
    SetTags(Vec<Tag>),
    /// Removes a tag.
    DeleteTag(String),
    /// Adds parameters.
    LogParams(Vec<Param>),
    /// Deletes it.
    Delete,
}

/// What [`TrackingStore::purge`] has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// The runs that are gone.
    pub run_ids: Vec<RunId>,
    /// The experiments that are gone.
    pub experiment_ids: Vec<String>,
    /// The artifact folders nobody refers to any more, those of an earlier
    /// purge included as long as [`TrackingStore::artifacts_deleted`] has not
    /// named them.
    pub artifact_uris: Vec<String>,
    /// Deleted runs and logged models that stay, because a registered version
    /// needs their files.
    pub kept: Vec<String>,
    /// Folders that could not be deleted, and why.
    pub left: Vec<(String, String)>,
}

/// Keeps experiments, runs and logged models.
///
/// Implementations can be used from several threads; each method is one
/// transaction: it happens as a whole or not at all. Once a method that
/// writes has returned, what it wrote survives the death of the process.
pub trait TrackingStore: Debug + Send + Sync {
    /// Creates an experiment.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken, also by a deleted experiment.
    fn create_experiment(&self, new: &NewExperiment) -> Result<Experiment>;
    /// The experiment with an id, deleted or not.
    fn experiment(&self, id: &str) -> Result<Experiment>;
    /// The experiment with a name, deleted or not.
    fn experiment_by_name(&self, name: &str) -> Result<Experiment>;
    /// Searches experiments, the newest first unless ordered otherwise.
    fn search_experiments(&self, query: &SearchQuery) -> Result<Page<Experiment>>;
    /// Changes an experiment.
    fn change_experiment(&self, id: &str, change: &ExperimentChange) -> Result<()>;

    /// Creates a run in an active experiment.
    fn create_run(&self, new: &NewRun) -> Result<Run>;
    /// The run with an id, deleted or not.
    fn run(&self, id: &str) -> Result<Run>;
    /// Changes a run's own fields.
    fn update_run(&self, id: &str, update: &RunUpdate) -> Result<RunInfo>;
    /// Deletes a run or restores it.
    fn set_run_lifecycle(&self, id: &str, stage: LifecycleStage) -> Result<()>;
    /// Logs values, all or none. Exact duplicates of a metric value count once.
    ///
    /// # Errors
    ///
    /// `ParamChanged` if a parameter has another value already; `Inactive`
    /// if the run is deleted.
    fn log_batch(&self, id: &str, batch: &Batch) -> Result<()>;
    /// Adds the description of a logged model, as clients before MLflow 3 send
    /// it, to the list in the run's tag `mlflow.log-model.history`. The list
    /// may grow beyond what other tags may hold.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such run, `Inactive` if it is deleted.
    fn record_model(&self, id: &str, model: &serde_json::Value) -> Result<()>;
    /// Removes a tag of a run.
    fn delete_run_tag(&self, id: &str, key: &str) -> Result<()>;
    /// Adds data sets, and logged models by their ids, to the inputs of a run.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` if a data set has no name or digest; `Inactive` if
    /// the run is deleted.
    fn log_inputs(&self, id: &str, inputs: &[DatasetInput], models: &[String]) -> Result<()>;
    /// Adds models to the outputs of a run.
    fn log_outputs(&self, id: &str, outputs: &[ModelOutput]) -> Result<()>;
    /// Searches runs; ties are broken by run id, so that pages never overlap.
    fn search_runs(&self, query: &RunQuery) -> Result<Page<Run>>;
    /// All values of a metric in the order (timestamp, step, value); empty if
    /// the run has no such metric.
    fn metric_history(
        &self,
        id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Metric>>;
    /// A metric's values in at most `buckets` buckets of neighbouring steps.
    fn metric_buckets(&self, id: &str, key: &str, buckets: usize) -> Result<Vec<MetricBucket>>;

    /// Creates a logged model.
    fn create_logged_model(&self, new: &NewLoggedModel) -> Result<LoggedModel>;
    /// The logged model with an id.
    fn logged_model(&self, id: &str) -> Result<LoggedModel>;
    /// Changes a logged model.
    fn change_logged_model(&self, id: &str, change: &LoggedModelChange) -> Result<()>;
    /// Searches logged models, the newest first unless ordered otherwise.
    fn search_logged_models(
        &self,
        experiment_ids: &[String],
        query: &SearchQuery,
    ) -> Result<Page<LoggedModel>>;

    /// Removes for good what was deleted before `deleted_before` (milliseconds
    /// since 1970 UTC), except what a registered version needs. The caller
    /// deletes the artifacts and says so with
    /// [`artifacts_deleted`](Self::artifacts_deleted).
    ///
    /// # Errors
    ///
    /// `InvalidParameter` if another program removes things from this store.
    fn purge(&self, deleted_before: i64) -> Result<Purged>;
    /// What [`TrackingStore::purge`] would remove; nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`purge`](Self::purge).
    fn purgeable(&self, deleted_before: i64) -> Result<Purged>;
    /// Notes that purged artifact folders are gone; until then every purge
    /// names them again.
    ///
    /// # Errors
    ///
    /// As [`purge`](Self::purge).
    fn artifacts_deleted(&self, uris: &[String]) -> Result<()>;
}

/// A registered model to be created.
#[derive(Debug, Clone, Default)]
pub struct NewRegisteredModel {
    /// Its name, not empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A change of a registered model.
#[derive(Debug, Clone)]
pub enum RegisteredModelChange {
    /// Gives it another name; its versions follow.
    Rename(String),
    /// Replaces the description.
    Description(String),
    /// Sets or replaces a tag.
    SetTag(Tag),
    /// Removes a tag.
    DeleteTag(String),
    /// Points an alias to a version, taking it from the version that had it.
    SetAlias(String, u64),
    /// Removes an alias.
    DeleteAlias(String),
}

/// A model version to be created.
#[derive(Debug, Clone, Default)]
pub struct NewModelVersion {
    /// The registered model.
    pub name: String,
    /// Creates the registered model in the same transaction if it is missing.
    pub create_model: bool,
    /// The URI of the model's folder.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<RunId>,
    /// The logged model it was made from.
    pub model_id: Option<String>,
    /// A link to the run.
    pub run_link: String,
    /// The hash of the files that the source names; none pins nothing.
    pub content: Option<String>,
    /// Free text.
    pub description: String,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Aliases that point to it from the start.
    pub aliases: Vec<String>,
}

/// A change of a model version.
#[derive(Debug, Clone)]
pub enum ModelVersionChange {
    /// Replaces the description.
    Description(String),
    /// Moves it to a stage, archiving the others in that stage on request.
    Stage {
        /// The new stage.
        stage: Stage,
        /// Whether the other versions in that stage become archived.
        archive_existing: bool,
    },
    /// Sets or replaces a tag.
    SetTag(Tag),
    /// Removes a tag.
    DeleteTag(String),
}

/// Keeps registered models and their versions.
///
/// The same contract as [`TrackingStore`].
pub trait RegistryStore: Debug + Send + Sync {
    /// Creates a registered model without versions.
    fn create_registered_model(&self, new: &NewRegisteredModel) -> Result<RegisteredModel>;
    /// The registered model with a name.
    fn registered_model(&self, name: &str) -> Result<RegisteredModel>;
    /// Changes a registered model.
    fn change_registered_model(
        &self,
        name: &str,
        change: &RegisteredModelChange,
    ) -> Result<RegisteredModel>;
    /// Deletes a registered model and its versions.
    fn delete_registered_model(&self, name: &str) -> Result<()>;
    /// Searches registered models, by name unless ordered otherwise.
    fn search_registered_models(&self, query: &SearchQuery) -> Result<Page<RegisteredModel>>;

    /// Creates a version, numbered one higher than any before it.
    fn create_model_version(&self, new: &NewModelVersion) -> Result<ModelVersion>;
    /// Creates a version unless there is one of the same run and source; that one, the oldest if
    /// there are several, gets the tags and aliases. Says whether it was there.
    ///
    /// However many callers register one run at once, one version stays, and all of them get it.
    /// Stores with transactions do it in one. Without, as here, a caller who finds that another
    /// was earlier deletes its own version, so that for a moment there may be two.
    fn register_model_version(&self, new: &NewModelVersion) -> Result<(ModelVersion, bool)> {
        once::register(self, new)
    }
    /// A version of a registered model.
    fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion>;
    /// The version an alias points to.
    fn model_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion>;
    /// Changes a version.
    fn change_model_version(
        &self,
        name: &str,
        version: u64,
        change: &ModelVersionChange,
    ) -> Result<ModelVersion>;
    /// Deletes a version; its number is not used again.
    fn delete_model_version(&self, name: &str, version: u64) -> Result<()>;
    /// Searches versions of all models, by name and then the newest first
    /// unless ordered otherwise.
    fn search_model_versions(&self, query: &SearchQuery) -> Result<Page<ModelVersion>>;
    /// A version with pinned content whose files lie at an artifact URI, below
    /// it or above it, as name and number.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn pinned_at(&self, uri: &str) -> Result<Option<(String, u64)>>;
}
