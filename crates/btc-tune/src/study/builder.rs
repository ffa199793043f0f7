//! Making or loading a study.

use std::sync::Arc;

use super::history::Renumbered;
use super::{HeartbeatConfig, Inner, Study};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::frozen::StudyDirection;
use crate::pruner::{MedianPruner, Pruner};
use crate::sampler::{Sampler, TpeSampler};
use crate::storage::Storage;

/// Describes a study to make or load; [`create`](Self::create) does it.
#[derive(Debug)]
pub struct StudyBuilder {
    name: String,
    storage: Arc<dyn Storage>,
    directions: Vec<StudyDirection>,
    sampler: Arc<dyn Sampler>,
    pruner: Arc<dyn Pruner>,
    clock: Arc<dyn Clock>,
    heartbeat: Option<HeartbeatConfig>,
    load_if_exists: bool,
}

impl StudyBuilder {
    pub(super) fn new(name: String, storage: Arc<dyn Storage>) -> Self {
        Self {
            name,
            storage,
            directions: vec![StudyDirection::Minimize],
            sampler: Arc::new(TpeSampler::new(0)),
            pruner: Arc::new(MedianPruner::default()),
            clock: Arc::new(SystemClock),
            heartbeat: None,
            load_if_exists: false,
        }
    }

    /// Sets the direction of the one objective; minimising is the default.
    #[must_use]
    pub fn direction(mut self, direction: StudyDirection) -> Self {
        self.directions = vec![direction];
        self
    }

    /// Sets one direction per objective.
    #[must_use]
    pub fn directions(mut self, directions: impl Into<Vec<StudyDirection>>) -> Self {
        self.directions = directions.into();
        self
    }

    /// Sets how values are chosen; the default is a [`TpeSampler`] with seed 0.
    #[must_use]
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.sampler = Arc::new(sampler);
        self
    }

    /// As [`sampler`](Self::sampler), for a sampler chosen at run time.
    #[must_use]
    pub fn shared_sampler(mut self, sampler: Arc<dyn Sampler>) -> Self {
        self.sampler = sampler;
        self
    }

    /// Sets when trials end early; the default is a [`MedianPruner`].
    #[must_use]
    pub fn pruner(mut self, pruner: impl Pruner + 'static) -> Self {
        self.pruner = Arc::new(pruner);
        self
    }

    /// As [`pruner`](Self::pruner), for a pruner chosen at run time.
    #[must_use]
    pub fn shared_pruner(mut self, pruner: Arc<dyn Pruner>) -> Self {
        self.pruner = pruner;
        self
    }

    /// Sets the clock trials are stamped with; the default is that of the system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes workers give signs of life, so that trials of workers that died are failed and retried.
    #[must_use]
    pub fn heartbeat(mut self, config: HeartbeatConfig) -> Self {
        self.heartbeat = Some(config);
        self
    }

    /// Whether to load a study of this name if there is one; its directions are kept.
    #[must_use]
    pub fn load_if_exists(mut self, load: bool) -> Self {
        self.load_if_exists = load;
        self
    }

    /// Makes the study, or loads it if that was allowed.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicatedStudy`] if it exists and may not be loaded; [`Error::InvalidSetting`] if it
    /// exists with another number of objectives, or none was given; what the storage reports.
    pub fn create(self) -> Result<Study> {
        let id = match self.storage.create_study(&self.name, &self.directions) {
            Err(Error::DuplicatedStudy { .. }) if self.load_if_exists => {
                let wanted = self.directions.len();
                let study = self.load()?;
                let found = study.directions().len();
                if found != wanted {
                    return Err(Error::InvalidSetting {
                        reason: format!(
                            "the study {:?} has {found} objectives, not {wanted}; load it instead, \
                             or choose another name",
                            study.name()
                        ),
                    });
                }
                return Ok(study);
            }
            result => result?,
        };
        Ok(self.build(id))
    }

    /// Loads the study; directions are those it was made with.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownStudy`] if there is none of this name; what the storage reports.
    pub fn load(mut self) -> Result<Study> {
        let id = self
            .storage
            .find_study(&self.name)?
            .ok_or_else(|| Error::UnknownStudy {
                name: self.name.clone(),
            })?;
        self.directions = self.storage.study(id)?.directions;
        Ok(self.build(id))
    }

    fn build(self, id: crate::frozen::StudyId) -> Study {
        Study {
            inner: Arc::new(Inner {
                storage: self.storage,
                id,
                name: self.name,
                directions: self.directions,
                sampler: self.sampler,
                pruner: self.pruner,
                clock: self.clock,
                heartbeat: self.heartbeat,
                renumbered: Renumbered::default(),
            }),
        }
    }
}
