//! Running an objective many times.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Study;
use super::heartbeat::Heart;
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::trial::{ObjectiveError, Outcome, Trial};

/// Called after each trial; may end the run.
pub type Callback<'a> = Box<dyn Fn(&Study, &FrozenTrial) -> ControlFlow<()> + Send + Sync + 'a>;

/// How several trials run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parallelism {
    /// In batches of `n_jobs`: all trials of a batch are chosen before any of them runs, and are told
    /// in order when all have ended. What is chosen depends on seed and `n_jobs`, never on timing.
    #[default]
    Batch,
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
    /// Begins no trial once this is set, for instance by a signal handler.
    pub stop: Option<Arc<AtomicBool>>,
    /// Called after each trial, in order.
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
type Evaluation = std::thread::Result<Result<Outcome, ObjectiveError>>;

/// A run in progress.
struct Run<'a> {
    study: &'a Study,
    options: &'a OptimizeOptions<'a>,
    started: Instant,
    begun: AtomicUsize,
    ended: AtomicBool,
    heart: Heart,
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
    fn all(&self, evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync)) -> Result<()> {
        let jobs = self.options.n_jobs.map_or(1, NonZeroUsize::get);
        match (jobs, self.options.parallelism) {
            (1, _) => self.work(evaluate),
            (_, Parallelism::Batch) => self.batches(jobs, evaluate),
            (_, Parallelism::Free) => {
                let first_error = Mutex::new(None);
                std::thread::scope(|scope| {
                    for _ in 0..jobs {
                        scope.spawn(|| {
                            if let Err(error) = self.work(evaluate) {
                                self.ended.store(true, Ordering::Relaxed);
                                first_error
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                                    .get_or_insert(error);
                            }
                        });
                    }
                });
                let error = first_error
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner);
                error.map_or(Ok(()), Err)
            }
        }
    }

    fn begin(&self, isolated: bool) -> Result<Trial> {
        let trial = self.study.ask_isolated(isolated)?;
        self.heart.add(trial.id());
        Ok(trial)
    }

    /// Takes the right to begin a trial, if the run goes on.
    fn may_begin(&self) -> Result<bool> {
        let options = self.options;
        let over = self.ended.load(Ordering::Relaxed)
            || options
                .stop
                .as_ref()
                .is_some_and(|stop| stop.load(Ordering::Relaxed))
            || options
                .timeout
                .is_some_and(|timeout| self.started.elapsed() >= timeout);
        if over {
            return Ok(false);
        }
        if let Some(limit) = options.n_trials {
            let begin = |begun| (begun < limit).then_some(begun + 1);
            let begun = self
                .begun
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin);
            if begun.is_err() {
                return Ok(false);
            }
        }
        let trials = self.study.trials()?;
        Ok(!self.study.sampler().is_exhausted(self.study.view(&trials)))
    }

    fn work(&self, evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync)) -> Result<()> {
        while self.may_begin()? {
            let mut trial = self.begin(false)?;
            let evaluation = evaluate(&mut trial);
            self.finish(&trial, evaluation)?;
        }
        Ok(())
    }

    fn batches(
        &self,
        jobs: usize,
        evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync),
    ) -> Result<()> {
        loop {
            let mut batch = Vec::with_capacity(jobs);
            while batch.len() < jobs && self.may_begin()? {
                batch.push(self.begin(true)?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let evaluations: Vec<Evaluation> = std::thread::scope(|scope| {
                let workers: Vec<_> = batch
                    .iter_mut()
                    .map(|trial| scope.spawn(|| evaluate(trial)))
                    .collect();
                workers
                    .into_iter()
                    .map(|worker| worker.join().and_then(|result| result))
                    .collect()
            });
            // All are told before the first failure ends the run: none may stay running for ever.
            let mut first_error = None;
            for (trial, evaluation) in batch.iter().zip(evaluations) {
                if let Err(error) = self.finish(trial, evaluation) {
                    first_error.get_or_insert(error);
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
        }
    }

    /// Tells how a trial ended and runs the callbacks.
    fn finish(&self, trial: &Trial, evaluation: Evaluation) -> Result<()> {
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
        };
        // The objective may have told the trial itself.
        let frozen = match study.tell(trial, outcome) {
            Err(Error::TrialFinished { .. }) => study.storage().trial(trial.id())?,
            Err(error @ Error::InvalidOutcome { .. }) => {
                study.tell(trial, Outcome::Failed)?;
                return Err(error);
            }
            result => result?,
        };
        for callback in &self.options.callbacks {
            if callback(study, &frozen).is_break() {
                self.ended.store(true, Ordering::Relaxed);
            }
        }
        // A worker that was taken for dead finds its trial failed and queued again: no reason to stop.
        let is_lost = |source: &(dyn std::error::Error + Send + Sync + 'static)| {
            matches!(
                source.downcast_ref::<Error>(),
                Some(Error::TrialFinished { .. })
            )
        };
        match failure {
            Some(source) if self.options.on_failure == OnFailure::Stop && !is_lost(&*source) => {
                self.ended.store(true, Ordering::Relaxed);
                Err(Error::Objective {
                    number: trial.number(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}
