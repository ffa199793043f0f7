//! The things that are recorded, in MLflow's words.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The id of a run: 32 hexadecimal digits.
pub type RunId = String;

/// Makes an enum of words with their wire spelling.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling that MLflow uses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    Error::invalid(format!(
                        concat!("unknown ", $what, " {:?}, expected one of {}"),
                        text,
                        known.join(", "),
                    ))
                })
            }
        }
    };
}

words! {
    /// How far a run has come.
    RunStatus ("run status") {
        /// It is being recorded.
        Running = "RUNNING",
        /// It waits to be started.
        Scheduled = "SCHEDULED",
        /// It ended well.
        Finished = "FINISHED",
        /// It ended with an error.
        Failed = "FAILED",
        /// It was stopped from outside.
        Killed = "KILLED",
    }
}

impl RunStatus {
    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}

words! {
    /// Whether something is in use or deleted (and can be restored).
    LifecycleStage ("lifecycle stage") {
        /// In use.
        Active = "active",
        /// Deleted, until restored or purged.
        Deleted = "deleted",
    }
}

words! {
    /// The stage of a model version.
    Stage ("model version stage") {
        /// Not staged.
        None = "None",
        /// Under trial.
        Staging = "Staging",
        /// In use.
        Production = "Production",
        /// Put away.
        Archived = "Archived",
    }
}

words! {
    /// How far a logged model's files have come.
    LoggedModelStatus ("logged model status") {
        /// Files are being written.
        Pending = "LOGGED_MODEL_PENDING",
        /// All files are there.
        Ready = "LOGGED_MODEL_READY",
        /// The upload failed.
        Failed = "LOGGED_MODEL_UPLOAD_FAILED",
    }
}

/// One measured value.
///
/// ```
/// let metric = btc_track::Metric::new("loss", 0.25, 1_700_000_000_000, 3);
/// assert_eq!(metric.step, 3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The metric's name.
    pub key: String,
    /// The value; infinities are stored as the largest finite numbers.
    pub value: f64,
    /// When it was measured, in milliseconds since 1970 UTC.
    pub timestamp: i64,
    /// The training step it belongs to.
    pub step: i64,
}

impl Metric {
    /// A value of `key` at `timestamp` (milliseconds since 1970 UTC) and `step`.
    pub fn new(key: impl Into<String>, value: f64, timestamp: i64, step: i64) -> Self {
        Self {
            key: key.into(),
            value,
            timestamp,
            step,
        }
    }
}

macro_rules! key_values {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The name.
            pub key: String,
            /// The value.
            pub value: String,
        }

        impl $name {
            /// Pairs a name with a value.
            pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
                Self { key: key.into(), value: value.into() }
            }
        }
    )+};
}

key_values! {
    /// An input of a run; once logged it never changes.
    Param
    /// A remark on a run, an experiment or a model; it may be replaced.
    Tag
}

/// A named group of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Decimal digits.
    pub experiment_id: String,
    /// Unique, also among deleted experiments.
    pub name: String,
    /// The URI below which the artifacts of its runs lie.
    pub artifact_location: String,
    /// Active or deleted.
    pub lifecycle_stage: LifecycleStage,
    /// Milliseconds since 1970 UTC.
    pub creation_time: i64,
    /// Milliseconds since 1970 UTC.
    pub last_update_time: i64,
    /// Sorted by key.
    pub tags: Vec<Tag>,
}

/// What identifies a run and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// 32 hexadecimal digits.
    pub run_id: RunId,
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Not unique.
    pub run_name: String,
    /// Who started it; may be empty.
    pub user_id: String,
    /// How far it has come.
    pub status: RunStatus,
    /// Milliseconds since 1970 UTC.
    pub start_time: i64,
    /// Milliseconds since 1970 UTC, once it has ended.
    pub end_time: Option<i64>,
    /// The URI of its artifact folder.
    pub artifact_uri: String,
    /// Active or deleted.
    pub lifecycle_stage: LifecycleStage,
}

/// What a run has recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunData {
    /// The latest value of each metric, sorted by key.
    pub metrics: Vec<Metric>,
    /// Sorted by key.
    pub params: Vec<Param>,
    /// Sorted by key.
    pub tags: Vec<Tag>,
}

/// One execution of training code.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What identifies it and how far it has come.
    pub info: RunInfo,
    /// What it has recorded.
    pub data: RunData,
    /// The data sets it has used.
    pub inputs: Vec<DatasetInput>,
    /// The ids of the logged models it has used, sorted.
    pub model_inputs: Vec<String>,
    /// The models it has produced.
    pub outputs: Vec<ModelOutput>,
}

impl Run {
    /// The latest value of a metric.
    pub fn metric(&self, key: &str) -> Option<f64> {
        self.data
            .metrics
            .iter()
            .find(|metric| metric.key == key)
            .map(|metric| metric.value)
    }

    /// The value of a parameter.
    pub fn param(&self, key: &str) -> Option<&str> {
        self.data
            .params
            .iter()
            .find(|param| param.key == key)
            .map(|param| param.value.as_str())
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.data
            .tags
            .iter()
            .find(|tag| tag.key == key)
            .map(|tag| tag.value.as_str())
    }
}

/// A data set, identified by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dataset {
    /// The data set's name.
    pub name: String,
    /// A short hash of its content.
    pub digest: String,
    /// The kind of source, such as `local`.
    pub source_type: String,
    /// Where it came from (JSON).
    pub source: String,
    /// Its columns (JSON); may be empty.
    pub schema: String,
    /// Counts and the like (JSON); may be empty.
    pub profile: String,
}

/// A data set as an input of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetInput {
    /// The data set.
    pub dataset: Dataset,
    /// Remarks; `mlflow.data.context` says what it was used for.
    pub tags: Vec<Tag>,
}

/// A logged model as an output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOutput {
    /// The logged model.
    pub model_id: String,
    /// The step at which it was logged.
    pub step: i64,
}

/// A model that a run has logged, whether registered or not.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedModel {
    /// `m-` and 32 hexadecimal digits.
    pub model_id: String,
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// Not unique.
    pub name: String,
    /// Milliseconds since 1970 UTC.
    pub creation_timestamp: i64,
    /// Milliseconds since 1970 UTC.
    pub last_updated_timestamp: i64,
    /// The URI of its folder.
    pub artifact_uri: String,
    /// How far its files have come.
    pub status: LoggedModelStatus,
    /// Free text; may be empty.
    pub model_type: String,
    /// The run that has logged it.
    pub source_run_id: Option<RunId>,
    /// Sorted by key.
    pub params: Vec<Param>,
    /// Sorted by key.
    pub tags: Vec<Tag>,
    /// Values measured on this model.
    pub metrics: Vec<ModelMetric>,
}

/// A metric of a logged model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelMetric {
    /// The logged model.
    pub model_id: String,
    /// The value.
    pub metric: Metric,
    /// The data set it was measured on; may be empty.
    pub dataset_name: String,
    /// The digest of that data set; may be empty.
    pub dataset_digest: String,
    /// The run that has measured it.
    pub run_id: Option<RunId>,
}

/// A name under which model versions are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredModel {
    /// Unique.
    pub name: String,
    /// Milliseconds since 1970 UTC.
    pub creation_timestamp: i64,
    /// Milliseconds since 1970 UTC.
    pub last_updated_timestamp: i64,
    /// Free text; may be empty.
    pub description: String,
    /// Sorted by key.
    pub tags: Vec<Tag>,
    /// Alias and version, sorted by alias.
    pub aliases: Vec<(String, u64)>,
    /// The newest version of each stage.
    pub latest_versions: Vec<ModelVersion>,
}

/// One published model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// The registered model's name.
    pub name: String,
    /// From 1.
    pub version: u64,
    /// Milliseconds since 1970 UTC.
    pub creation_timestamp: i64,
    /// Milliseconds since 1970 UTC.
    pub last_updated_timestamp: i64,
    /// Free text; may be empty.
    pub description: String,
    /// Its stage.
    pub current_stage: Stage,
    /// The URI of the model's folder.
    pub source: String,
    /// The run that made it.
    pub run_id: Option<RunId>,
    /// The logged model it was made from.
    pub model_id: Option<String>,
    /// A link to the run; may be empty.
    pub run_link: String,
    /// The URI of the files that the source named when the version was made,
    /// if the store keeps it.
    pub location: Option<String>,
    /// The hash of these files, see [`content_hash`](crate::content_hash), if
    /// there were any.
    pub content: Option<String>,
    /// Sorted by key.
    pub tags: Vec<Tag>,
    /// Sorted.
    pub aliases: Vec<String>,
}

impl ModelVersion {
    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|tag| tag.key == key)
            .map(|tag| tag.value.as_str())
    }
}

/// A file or folder among artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The path below the artifact URI, with `/`.
    pub path: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Bytes; none for a folder.
    pub file_size: Option<u64>,
}
