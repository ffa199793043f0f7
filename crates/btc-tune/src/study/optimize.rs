//! Running an objective many times.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Study;
use super::heartbeat::Heart;
use super::history::{Sight, next_ordinal};
use super::worker::Worker;
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::sync::{into_inner, lock};
use crate::trial::{ObjectiveError, Outcome, Trial};

/// Called after each trial; may end the run.
pub type Callback<'a> = Box<dyn Fn(&Study, &FrozenTrial) -> ControlFlow<()> + Send + Sync + 'a>;

/// How several trials run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parallelism {
    /// A trial knows of exactly those that began at least `n_jobs` before it: it begins when all of
    /// them have ended, and the others seem to it to run still, whether they do or not. What is
    /// chosen depends on seed and `n_jobs`, never on timing.
    #[default]
    Ordered,
    /// Each worker takes the next trial as soon as it is free. Nobody waits, but the order in which
    /// trials end decides what is chosen next.
    Free,
}

/// What happens when an objective fails; in either case its trial is stored as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The run ends with [`Error::Objective`].
    #[default]
    Stop,
    /// The run goes on.
    Continue,
}

/// Settings of [`Study::optimize_with`].
#[derive(Default)]
pub struct OptimizeOptions<'a> {
    /// Trials to run; without a limit the run ends by another condition.
    pub n_trials: Option<usize>,
    /// Begins no trial when this time has passed; those running end as usual.
    pub timeout: Option<Duration>,
    /// Trials that run at once, each on its own thread; one if `None`.
    pub n_jobs: Option<NonZeroUsize>,
    /// How they do.
    pub parallelism: Parallelism,
    /// What happens when the objective fails.
    pub on_failure: OnFailure,
    /// Begins no trial once this is set, for instance by a signal handler. An objective that looks at
    /// it too returns [`ObjectiveError::Interrupted`].
    pub stop: Option<Arc<AtomicBool>>,
    /// Called after each trial, in the order in which they began unless workers are free.
    pub callbacks: Vec<Callback<'a>>,
}

impl fmt::Debug for OptimizeOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimizeOptions")
            .field("n_trials", &self.n_trials)
            .field("timeout", &self.timeout)
            .field("n_jobs", &self.n_jobs)
            .field("parallelism", &self.parallelism)
            .field("on_failure", &self.on_failure)
            .field("stop", &self.stop)
            .field("callbacks", &self.callbacks.len())
            .finish()
    }
}

/// What one evaluation gave; a panic is kept until its trial is stored as failed.
pub(super) type Evaluation = std::thread::Result<Result<Outcome, ObjectiveError>>;

/// A run in progress.
pub(super) struct Run<'a> {
    study: &'a Study,
    options: &'a OptimizeOptions<'a>,
    started: Instant,
    begun: AtomicUsize,
    pub(super) ended: AtomicBool,
    heart: Heart,
    /// This process, where the platform can name it.
    worker: Option<Worker>,
}

impl Study {
    /// Runs the objective `n_trials` times, one after the other; stops at the first failure.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::sync::Arc;
    /// use btc_tune::{InMemoryStorage, RandomSampler, Study};
    /// let study = Study::builder("parabola", Arc::new(InMemoryStorage::new()))
    ///     .sampler(RandomSampler::new(7))
    ///     .create()?;
    /// study.optimize(NonZeroUsize::new(20).unwrap(), |trial| {
    ///     let x = trial.suggest_float("x", -10.0..=10.0)?;
    ///     Ok((x - 2.0).powi(2))
    /// })?;
    /// assert_eq!(study.trials()?.len(), 20);
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Objective`] if the objective fails; what the sampler or the storage reports.
    pub fn optimize<F, V>(&self, n_trials: NonZeroUsize, objective: F) -> Result<()>
    where
        F: Fn(&mut Trial) -> Result<V, ObjectiveError> + Sync,
        V: Into<Outcome>,
    {
        let options = OptimizeOptions {
            n_trials: Some(n_trials.get()),
            ..Default::default()
        };
        self.optimize_with(options, objective)
    }

    /// Runs the objective as the options say.
    ///
    /// A trial whose objective returns [`ObjectiveError::Interrupted`] fails and is queued again, and
    /// the run ends without error once the other running trials have ended. A later run goes on with it
    /// as if nothing had happened: the study then holds the same complete trials as one that ran
    /// through, if objective and settings are the same.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use btc_tune::{InMemoryStorage, ObjectiveError, OptimizeOptions, Study, TrialState};
    /// let study = Study::builder("broken off", Arc::new(InMemoryStorage::new())).create()?;
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let options = |n_trials| OptimizeOptions {
    ///     n_trials: Some(n_trials),
    ///     stop: Some(stop.clone()),
    ///     ..Default::default()
    /// };
    /// study.optimize_with(options(5), |trial| {
    ///     let x = trial.suggest_float("x", 0.0..=1.0)?;
    ///     // Somebody presses Ctrl-C during the third trial.
    ///     stop.store(trial.ordinal() == 2, Ordering::Relaxed);
    ///     if stop.load(Ordering::Relaxed) {
    ///         return Err(ObjectiveError::Interrupted);
    ///     }
    ///     Ok(x)
    /// })?;
    /// stop.store(false, Ordering::Relaxed);
    /// study.optimize_with(options(3), |trial| Ok(trial.suggest_float("x", 0.0..=1.0)?))?;
    /// let trials = study.trials()?;
    /// assert_eq!(trials.len(), 6);
    /// assert_eq!(trials[2].state, TrialState::Fail);
    /// assert_eq!(trials[3].param("x"), trials[2].param("x"));
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`optimize`](Self::optimize).
    ///
    /// # Panics
    ///
    /// If the objective panics: its trial is stored as failed, then the panic goes on.
    pub fn optimize_with<F, V>(&self, options: OptimizeOptions<'_>, objective: F) -> Result<()>
    where
        F: Fn(&mut Trial) -> Result<V, ObjectiveError> + Sync,
        V: Into<Outcome>,
    {
        let run = Run {
            study: self,
            options: &options,
            started: Instant::now(),
            begun: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            heart: Heart::default(),
            worker: Worker::current(),
        };
        let evaluate = |trial: &mut Trial| -> Evaluation {
            catch_unwind(AssertUnwindSafe(|| objective(trial).map(Into::into)))
        };
        let Some(heartbeat) = self.inner.heartbeat else {
            return run.all(&evaluate);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| run.heart.run(self, heartbeat.interval));
            let stop = StopHeart(&run.heart);
            let result = run.all(&evaluate);
            drop(stop);
            result
        })
    }
}

/// Stops the heart also when a panic passes.
struct StopHeart<'a>(&'a Heart);

impl Drop for StopHeart<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Run<'_> {
    pub(super) fn study(&self) -> &Study {
        self.study
    }

    fn all(&self, evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync)) -> Result<()> {
        let jobs = self.options.n_jobs.map_or(1, NonZeroUsize::get);
        match (jobs, self.options.parallelism) {
            (1, _) => self.work(evaluate),
            (_, Parallelism::Ordered) => self.in_order(jobs, evaluate),
            (_, Parallelism::Free) => {
                let first_error = Mutex::new(None);
                std::thread::scope(|scope| {
                    for _ in 0..jobs {
                        scope.spawn(|| {
                            if let Err(error) = self.work(evaluate) {
                                self.ended.store(true, Ordering::Relaxed);
                                lock(&first_error).get_or_insert(error);
                            }
                        });
                    }
                });
                let error = into_inner(first_error);
                error.map_or(Ok(()), Err)
            }
        }
    }

    /// Takes the right to begin a trial, if the run goes on.
    pub(super) fn may_begin(&self) -> bool {
        let options = self.options;
        let over = self.ended.load(Ordering::Relaxed)
            || options
                .stop
                .as_ref()
                .is_some_and(|stop| stop.load(Ordering::Relaxed))
            || options
                .timeout
                .is_some_and(|timeout| self.started.elapsed() >= timeout);
        let begin = |begun| match options.n_trials {
            Some(limit) if limit <= begun => None,
            _ => Some(begun + 1),
        };
        !over
            && self
                .begun
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin)
                .is_ok()
    }

    /// Begins a trial of a study that has these; it sees what `sight` shows it. `None` if nothing is left
    /// to try.
    pub(super) fn begin(
        &self,
        trials: Vec<Arc<FrozenTrial>>,
        sight: Sight<'_>,
    ) -> Result<Option<Trial>> {
        let seen = sight.of(self.study.undisturbed(&trials), next_ordinal(&trials));
        if self.is_exhausted(&seen) {
            return Ok(None);
        }
        let trial = self.study.ask_seeing(trials, sight, self.worker.as_ref())?;
        self.heart.add(trial.id());
        Ok(Some(trial))
    }

    pub(super) fn is_exhausted(&self, seen: &[Arc<FrozenTrial>]) -> bool {
        self.study.sampler().is_exhausted(self.study.view(seen))
    }

    fn work(&self, evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync)) -> Result<()> {
        while self.may_begin() {
            let trials = self.study.settle_broken_off()?;
            // A trial that another worker of this run broke off meanwhile is for a later run.
            if self.ended.load(Ordering::Relaxed) {
                break;
            }
            let Some(mut trial) = self.begin(trials, Sight::Everything)? else {
                break;
            };
            let evaluation = evaluate(&mut trial);
            let (frozen, failure) = self.conclude(&trial, evaluation)?;
            if self.call_back(&frozen).is_break() {
                self.ended.store(true, Ordering::Relaxed);
            }
            failure.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Tells how a trial ended; gives it as stored, and the error if it is to end the run.
    pub(super) fn conclude(
        &self,
        trial: &Trial,
        evaluation: Evaluation,
    ) -> Result<(Arc<FrozenTrial>, Option<Error>)> {
        let study = self.study;
        self.heart.remove(trial.id());
        let result = match evaluation {
            Ok(result) => result,
            Err(panic) => {
                // The panic matters more than a storage that fails while it is handled.
                let _ = study.tell(trial, Outcome::Failed);
                resume_unwind(panic);
            }
        };
        let (outcome, failure) = match result {
            Ok(outcome) => (outcome, None),
            Err(ObjectiveError::Pruned) => (Outcome::Pruned, None),
            Err(ObjectiveError::Failed(source)) => (Outcome::Failed, Some(source)),
            Err(ObjectiveError::Interrupted) => (Outcome::Interrupted, None),
        };
        if outcome == Outcome::Interrupted {
            // Before the trial is in the queue again, so that no worker of this run takes it.
            self.ended.store(true, Ordering::Relaxed);
        }
        // The objective may have told the trial itself.
        let frozen = match study.tell(trial, outcome) {
            Err(Error::TrialFinished { .. }) => study.storage().trial(trial.id())?,
            Err(error @ Error::InvalidOutcome { .. }) => {
                study.tell(trial, Outcome::Failed)?;
                return Err(error);
            }
            result => result?,
        };
        // A worker that was taken for dead finds its trial failed and queued again: no reason to stop.
        let is_lost = |source: &(dyn std::error::Error + Send + Sync + 'static)| {
            matches!(
                source.downcast_ref::<Error>(),
                Some(Error::TrialFinished { .. })
            )
        };
        let failure = failure
            .filter(|source| self.options.on_failure == OnFailure::Stop && !is_lost(&**source))
            .map(|source| Error::Objective {
                number: trial.number(),
                source,
            });
        if failure.is_some() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok((frozen, failure))
    }

    /// Runs all callbacks, and says whether one of them wants the run to end.
    pub(super) fn call_back(&self, trial: &FrozenTrial) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        for callback in &self.options.callbacks {
            if callback(self.study, trial).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}
