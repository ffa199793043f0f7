//! Where studies live.

pub(crate) mod codec;
mod journal;
mod memory;
mod records;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::frozen::{
    FrozenStudy, FrozenTrial, Param, StudyDirection, StudyId, StudySummary, TrialId, TrialState,
};

pub use journal::JournalStorage;
pub use memory::InMemoryStorage;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStorage;

/// Whose attribute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttrScope {
    /// The user's own.
    User,
    /// Of samplers, pruners and tools.
    System,
}

/// A trial to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrial {
    /// Running, queued, or finished elsewhere.
    pub state: TrialState,
    /// One value per objective of a complete trial.
    pub values: Vec<f64>,
    /// Its parameters, in order.
    pub parameters: Vec<Param>,
    /// What it reported, as (step, value).
    pub intermediate_values: Vec<(u64, f64)>,
    /// Attributes of the user.
    pub user_attrs: Map<String, Value>,
    /// Attributes of samplers, pruners and tools.
    pub system_attrs: Map<String, Value>,
    /// When it began to run; a queued trial has not.
    pub datetime_start: Option<DateTime<Utc>>,
    /// When it ended; only of a finished trial.
    pub datetime_complete: Option<DateTime<Utc>>,
    /// The first sign of life of the worker that runs it, if workers give any.
    pub heartbeat: Option<DateTime<Utc>>,
}

impl NewTrial {
    /// Describes a trial that runs from `now` on.
    pub fn running(now: DateTime<Utc>) -> Self {
        Self {
            state: TrialState::Running,
            datetime_start: Some(now),
            ..Self::waiting()
        }
    }

    /// Describes a trial for the queue.
    pub fn waiting() -> Self {
        Self {
            state: TrialState::Waiting,
            values: Vec::new(),
            parameters: Vec::new(),
            intermediate_values: Vec::new(),
            user_attrs: Map::new(),
            system_attrs: Map::new(),
            datetime_start: None,
            datetime_complete: None,
            heartbeat: None,
        }
    }

    pub(crate) fn freeze(self, id: TrialId, number: usize) -> FrozenTrial {
        FrozenTrial {
            id,
            number,
            state: self.state,
            values: self.values,
            parameters: self.parameters,
            intermediate_values: self.intermediate_values.into_iter().collect(),
            user_attrs: self.user_attrs,
            system_attrs: self.system_attrs,
            datetime_start: self.datetime_start,
            datetime_complete: self.datetime_complete,
        }
    }
}

impl From<&FrozenTrial> for NewTrial {
    fn from(trial: &FrozenTrial) -> Self {
        Self {
            state: trial.state,
            values: trial.values.clone(),
            parameters: trial.parameters.clone(),
            intermediate_values: trial
                .intermediate_values
                .iter()
                .map(|(s, v)| (*s, *v))
                .collect(),
            user_attrs: trial.user_attrs.clone(),
            system_attrs: trial.system_attrs.clone(),
            datetime_start: trial.datetime_start,
            datetime_complete: trial.datetime_complete,
            heartbeat: None,
        }
    }
}

/// Whether the worker that takes a trial will give signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// It will: the first is recorded with the trial, so that a worker that dies at once is noticed.
    On,
    /// It will not, and its trial is never judged stale.
    Off,
}

/// One change of a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialUpdate {
    /// A parameter got its value.
    Param(Param),
    /// An intermediate value was reported; a later report of the same step replaces it.
    Intermediate {
        /// Epoch, iteration, fold, ...
        step: u64,
        /// What was measured there; may be NaN or infinite.
        value: f64,
    },
    /// An attribute was set.
    Attr {
        /// Whose attribute it is.
        scope: AttrScope,
        /// Its key, at most 512 characters.
        key: String,
        /// Its value.
        value: Value,
    },
    /// The trial ended.
    Finish {
        /// Complete, pruned or failed.
        state: TrialState,
        /// One value per objective if complete, at most one if pruned, none if failed.
        values: Vec<f64>,
        /// When it ended.
        at: DateTime<Utc>,
    },
}

/// Keeps studies and their trials.
///
/// Every method is atomic: it has happened as a whole or not at all, for all threads and, where the
/// storage is shared, for all processes. Finished trials never change, so a reader may keep them.
/// Trials are returned in the order of their creation. Every implementation passes the suite in
/// `conformance` (feature `conformance`).
pub trait Storage: Debug + Send + Sync {
    /// Creates an empty study.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicatedStudy`] if the name is taken.
    fn create_study(&self, name: &str, directions: &[StudyDirection]) -> Result<StudyId>;

    /// Deletes a study with all its trials.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn delete_study(&self, study: StudyId) -> Result<()>;

    /// Finds a study by its name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the storage cannot be read.
    fn find_study(&self, name: &str) -> Result<Option<StudyId>>;

    /// Returns a study without its trials.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn study(&self, study: StudyId) -> Result<FrozenStudy>;

    /// Returns the name of a study, also of one that cannot be read otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn study_name(&self, study: StudyId) -> Result<String> {
        Ok(self.study(study)?.name)
    }

    /// Returns all studies in the order of their creation.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the storage cannot be read.
    fn study_ids(&self) -> Result<Vec<StudyId>>;

    /// Sets an attribute of a study, replacing an earlier value.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn set_study_attr(
        &self,
        study: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) -> Result<()>;

    /// Creates a trial with the next number of the study.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`], [`Error::IncompatibleDistribution`].
    fn create_trial(&self, study: StudyId, trial: NewTrial) -> Result<Arc<FrozenTrial>>;

    /// Creates a trial if its number will be `number`; `None` if another worker took that number.
    ///
    /// # Errors
    ///
    /// As [`create_trial`](Self::create_trial).
    fn create_trial_numbered(
        &self,
        study: StudyId,
        number: usize,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>>;

    /// Applies several changes to a trial, all or none.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`], [`Error::TrialFinished`], [`Error::IncompatibleDistribution`].
    fn update_trial(&self, trial: TrialId, updates: &[TrialUpdate]) -> Result<()>;

    /// Takes a queued trial and applies `updates` to it; `false` if another worker was faster, and
    /// then nothing changes.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`], [`Error::IncompatibleDistribution`].
    fn claim_trial(
        &self,
        trial: TrialId,
        now: DateTime<Utc>,
        heartbeat: Heartbeat,
        updates: &[TrialUpdate],
    ) -> Result<bool>;

    /// Returns a trial.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`].
    fn trial(&self, trial: TrialId) -> Result<Arc<FrozenTrial>>;

    /// Returns the trials of a study in the order of their creation.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn trials(&self, study: StudyId) -> Result<Vec<Arc<FrozenTrial>>>;

    /// Notes that a worker is alive and busy with a trial; a storage may be unable to keep it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTrial`].
    fn record_heartbeat(&self, trial: TrialId, now: DateTime<Utc>) -> Result<()>;

    /// Returns the running trials of a study whose last heartbeat is before `limit`.
    ///
    /// Trials that never had a heartbeat are not among them.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`].
    fn stale_trials(&self, study: StudyId, limit: DateTime<Utc>) -> Result<Vec<TrialId>>;

    /// Returns one line about each study, in the order of their creation. One that cannot be read
    /// says so and hides no other.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the storage cannot be read.
    fn studies(&self) -> Result<Vec<StudySummary>> {
        let mut studies = Vec::new();
        for id in self.study_ids()? {
            match summary(self, id) {
                Ok(summary) => studies.push(summary),
                // Deleted since the identifiers were listed.
                Err(Error::UnknownStudy { .. }) => {}
                Err(error @ Error::Malformed { .. }) => {
                    studies.push(StudySummary::unreadable(id, self.study_name(id)?, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(studies)
    }
}

fn summary<S: Storage + ?Sized>(storage: &S, id: StudyId) -> Result<StudySummary> {
    let study = storage.study(id)?;
    let trials = storage.trials(id)?;
    let best = match study.directions[..] {
        [direction] => crate::best::best_trial(&trials, direction).ok(),
        _ => None,
    };
    Ok(StudySummary {
        id,
        name: study.name,
        directions: study.directions,
        n_trials: trials.len(),
        best_value: best.as_ref().and_then(|trial| trial.value()),
        best_trial: best,
        datetime_start: trials.iter().filter_map(|trial| trial.datetime_start).min(),
        user_attrs: study.user_attrs,
        unreadable: None,
    })
}

/// Opens the storage a URL names, creating the file if there is none.
///
/// | URL | storage |
/// |---|---|
/// | `memory://` | a new [`InMemoryStorage`] |
/// | `sqlite:///relative.db`, `sqlite:////absolute.db` | `SqliteStorage` (feature `sqlite`) |
/// | `journal:///relative.log`, `journal:////absolute.log` | [`JournalStorage`] |
///
/// ```
/// let storage = btc_tune::storage_from_url("memory://")?;
/// assert!(storage.studies()?.is_empty());
/// assert!(btc_tune::storage_from_url("oracle://").is_err());
/// # Ok::<(), btc_tune::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidUrl`] if no storage has such URLs; whatever opening it may fail with.
pub fn storage_from_url(url: &str) -> Result<Arc<dyn Storage>> {
    Ok(match parse_url(url)? {
        Location::Memory => Arc::new(InMemoryStorage::new()),
        Location::Journal(path) => Arc::new(JournalStorage::open(path)?),
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => Arc::new(SqliteStorage::open(path)?),
    })
}

/// Opens the storage a URL names if it is there; without its file, an empty one that is never
/// written. Opening changes nothing.
///
/// ```
/// let storage = btc_tune::existing_storage_from_url("journal:///no/such/file")?;
/// assert!(storage.studies()?.is_empty());
/// # Ok::<(), btc_tune::Error>(())
/// ```
///
/// # Errors
///
/// As [`storage_from_url`].
pub fn existing_storage_from_url(url: &str) -> Result<Arc<dyn Storage>> {
    Ok(match parse_url(url)? {
        Location::Journal(path) if Path::new(path).exists() => {
            Arc::new(JournalStorage::open_existing(path)?)
        }
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) if Path::new(path).exists() => {
            Arc::new(SqliteStorage::open_existing(path)?)
        }
        _ => Arc::new(InMemoryStorage::new()),
    })
}

/// Checks that a URL names a storage; nothing is opened.
///
/// # Errors
///
/// [`Error::InvalidUrl`] if no storage has such URLs.
pub fn check_storage_url(url: &str) -> Result<()> {
    parse_url(url).map(drop)
}

/// What a URL names.
enum Location<'a> {
    Memory,
    Journal(&'a str),
    #[cfg(feature = "sqlite")]
    Sqlite(&'a str),
}

fn parse_url(url: &str) -> Result<Location<'_>> {
    let invalid = |reason: &str| {
        Err(Error::InvalidUrl {
            url: url.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return invalid("a storage is given as memory://, sqlite:///file or journal:///file");
    };
    let path = rest.strip_prefix('/').filter(|path| !path.is_empty());
    match scheme {
        "memory" => Ok(Location::Memory),
        "journal" => match path {
            Some(path) => Ok(Location::Journal(path)),
            None => invalid("write journal:///relative/path or journal:////absolute/path"),
        },
        #[cfg(feature = "sqlite")]
        "sqlite" => match path {
            Some(path) => Ok(Location::Sqlite(path)),
            None => invalid("write sqlite:///relative/path or sqlite:////absolute/path"),
        },
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => invalid("this program was built without the feature \"sqlite\""),
        _ => invalid("known are memory://, sqlite:///file and journal:///file"),
    }
}
