//! Studies in a log file that is only appended to, as Optuna's journal storage keeps them.

mod line;
mod lock;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::Value;

use self::line::Operation;
use self::lock::FileLock;
use super::records::{Records, check_new, check_study, unknown_study, unknown_trial};
use super::{AttrScope, Heartbeat, NewTrial, Storage, TrialUpdate};
use crate::error::{Error, Result};
use crate::frozen::{FrozenStudy, FrozenTrial, StudyDirection, StudyId, TrialId, TrialState};
use crate::sync::lock;

/// Keeps studies in a log of JSON lines, in the format of Optuna's journal storage.
///
/// Any number of processes may append to one file, also on a network file system: they take turns by
/// a lock file beside it. Each change is on disk before the method returns. The log only grows, and
/// opening it replays it all. It keeps no heartbeats.
///
/// ```
/// use btc_tune::{JournalStorage, Storage};
/// let dir = tempfile::tempdir()?;
/// let storage = JournalStorage::open(dir.path().join("studies.log"))?;
/// assert!(storage.study_ids()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JournalStorage {
    path: PathBuf,
    worker: String,
    state: Mutex<State>,
}

/// What was replayed so far.
#[derive(Debug, Default)]
struct State {
    records: Records,
    /// Where the first line begins that was not replayed.
    offset: u64,
    /// Lines replayed, for messages.
    lines: u64,
}

impl JournalStorage {
    /// Opens a log, creating an empty one if there is none, and replays it.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if the file cannot be read or created; [`Error::Malformed`] if a line of it
    /// is no operation.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|source| Error::storage(format!("open the log {}", path.display()), source))?;
        Self::open_existing(path)
    }

    /// Opens a log that is there, and changes nothing by doing so.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; [`Error::Storage`] too if there is no file.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let storage = Self {
            worker: line::worker_id(&path),
            path,
            state: Mutex::default(),
        };
        storage.sync(&mut lock(&storage.state))?;
        Ok(storage)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, what: &str) -> impl Fn(std::io::Error) -> Error {
        let operation = format!("{what} the log {}", self.path.display());
        move |source| Error::storage(operation.clone(), source)
    }

    /// Replays the lines that others appended.
    fn sync(&self, state: &mut State) -> Result<()> {
        let failed = self.failed("read");
        let mut file = File::open(&self.path).map_err(&failed)?;
        let length = file.metadata().map_err(&failed)?.len();
        if length < state.offset {
            return Err(Error::Malformed {
                what: format!("the log {}", self.path.display()),
                reason: "it became shorter while it was in use".to_owned(),
            });
        }
        if length == state.offset {
            return Ok(());
        }
        file.seek(SeekFrom::Start(state.offset)).map_err(&failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(&failed)?;
        // A last line without its end is still being written.
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        for bytes in bytes[..end].split(|byte| *byte == b'\n') {
            state.lines += 1;
            if !bytes.is_empty() {
                match line::parse(bytes) {
                    Ok(Some(operation)) => operation.apply(&mut state.records),
                    Ok(None) => {}
                    // One bad study must not hide the others.
                    Err(unreadable) if unreadable.spoil(&mut state.records) => {}
                    Err(unreadable) => {
                        return Err(Error::Malformed {
                            what: format!(
                                "line {} of the log {}",
                                state.lines,
                                self.path.display()
                            ),
                            reason: unreadable.reason,
                        });
                    }
                }
            }
            state.offset += bytes.len() as u64 + 1;
        }
        Ok(())
    }

    /// Decides and appends under the lock of the file, so that nothing comes in between.
    fn append<T>(
        &self,
        state: &mut State,
        decide: impl FnOnce(&Records) -> Result<(Vec<Operation>, T)>,
    ) -> Result<T> {
        let _lock = FileLock::acquire(&self.path)?;
        self.sync(state)?;
        let (operations, result) = decide(&state.records)?;
        if operations.is_empty() {
            return Ok(result);
        }
        let mut text = String::new();
        for operation in &operations {
            operation.write(&self.worker, &mut text);
        }
        let failed = self.failed("append to");
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(&failed)?;
        let length = file.metadata().map_err(&failed)?.len();
        if length > state.offset {
            // A writer died within its last line. Ending the line would make it an error for every
            // reader, so it is cut off: nobody has seen it as complete.
            file.set_len(state.offset).map_err(&failed)?;
        }
        file.write_all(text.as_bytes()).map_err(&failed)?;
        file.sync_data().map_err(&failed)?;
        self.sync(state)?;
        Ok(result)
    }

    fn create(
        &self,
        study: StudyId,
        number: Option<usize>,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        let mut state = lock(&self.state);
        let id = self.append(&mut state, |records| {
            let record = records.study(study)?;
            let position = record.trials.len();
            if number.is_some_and(|number| number != position) {
                return Ok((Vec::new(), None));
            }
            check_new(&trial, position, record)?;
            let id = records.next_trial();
            Ok((
                vec![Operation::CreateTrial {
                    study,
                    trial: Box::new(trial),
                }],
                Some(id),
            ))
        })?;
        id.map(|id| state.records.trial(id).cloned()).transpose()
    }
}

fn updates_of(trial: TrialId, updates: &[TrialUpdate]) -> impl Iterator<Item = Operation> {
    updates.iter().map(move |update| Operation::UpdateTrial {
        trial,
        update: update.clone(),
    })
}

impl Storage for JournalStorage {
    fn create_study(&self, name: &str, directions: &[StudyDirection]) -> Result<StudyId> {
        check_study(name, directions)?;
        let mut state = lock(&self.state);
        self.append(&mut state, |records| {
            if records.find_study(name).is_some() {
                return Err(Error::DuplicatedStudy {
                    name: name.to_owned(),
                });
            }
            let operation = Operation::CreateStudy {
                name: name.to_owned(),
                directions: directions.to_vec(),
            };
            Ok((vec![operation], records.next_study()))
        })
    }

    fn delete_study(&self, study: StudyId) -> Result<()> {
        self.append(&mut lock(&self.state), |records| {
            records.study_name(study)?;
            Ok((vec![Operation::DeleteStudy { study }], ()))
        })
    }

    fn find_study(&self, name: &str) -> Result<Option<StudyId>> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        Ok(state.records.find_study(name))
    }

    fn study(&self, study: StudyId) -> Result<FrozenStudy> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        Ok(state.records.study(study)?.frozen.clone())
    }

    fn study_name(&self, study: StudyId) -> Result<String> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        state.records.study_name(study).map(str::to_owned)
    }

    fn study_ids(&self) -> Result<Vec<StudyId>> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        Ok(state.records.study_ids())
    }

    fn set_study_attr(
        &self,
        study: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) -> Result<()> {
        self.append(&mut lock(&self.state), |records| {
            records.study(study)?;
            let (key, value) = (key.to_owned(), value.clone());
            Ok((
                vec![Operation::StudyAttr {
                    study,
                    scope,
                    key,
                    value,
                }],
                (),
            ))
        })
    }

    fn create_trial(&self, study: StudyId, trial: NewTrial) -> Result<Arc<FrozenTrial>> {
        self.create(study, None, trial)?
            .ok_or_else(|| unknown_study(study))
    }

    fn create_trial_numbered(
        &self,
        study: StudyId,
        number: usize,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        self.create(study, Some(number), trial)
    }

    fn update_trial(&self, trial: TrialId, updates: &[TrialUpdate]) -> Result<()> {
        self.append(&mut lock(&self.state), |records| {
            let (study, position) = records.locate(trial)?;
            records.study(study)?.check_updates(position, updates)?;
            Ok((updates_of(trial, updates).collect(), ()))
        })
    }

    fn claim_trial(
        &self,
        trial: TrialId,
        now: DateTime<Utc>,
        _: Heartbeat,
        updates: &[TrialUpdate],
    ) -> Result<bool> {
        self.append(&mut lock(&self.state), |records| {
            let (study, position) = records.locate(trial)?;
            if records.trial(trial)?.state != TrialState::Waiting {
                return Ok((Vec::new(), false));
            }
            records.study(study)?.check_updates(position, updates)?;
            // The claim comes first: what is said of its worker must never stand with a trial that
            // somebody else takes.
            let mut operations = vec![Operation::ClaimTrial { trial, at: now }];
            operations.extend(updates_of(trial, updates));
            Ok((operations, true))
        })
    }

    fn trial(&self, trial: TrialId) -> Result<Arc<FrozenTrial>> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        state.records.trial(trial).cloned()
    }

    fn trials(&self, study: StudyId) -> Result<Vec<Arc<FrozenTrial>>> {
        let mut state = lock(&self.state);
        self.sync(&mut state)?;
        Ok(state.records.study(study)?.trials.clone())
    }

    fn record_heartbeat(&self, trial: TrialId, _now: DateTime<Utc>) -> Result<()> {
        lock(&self.state)
            .records
            .locate(trial)
            .map_err(|_| unknown_trial(trial))?;
        Ok(())
    }

    fn stale_trials(&self, study: StudyId, _limit: DateTime<Utc>) -> Result<Vec<TrialId>> {
        lock(&self.state).records.study(study)?;
        Ok(Vec::new())
    }
}
