//! Trials at the same time whose order, not their timing, decides what each of them knows.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::optimize::{Evaluation, Run, lock};
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::trial::Trial;

/// The latest trials, whose ends the next is not to know.
pub(crate) type Seen = VecDeque<Hidden>;

#[derive(Debug)]
pub(crate) struct Hidden {
    /// The trial as it was when it began.
    pub(crate) begun: Arc<FrozenTrial>,
    ended: Option<Arc<FrozenTrial>>,
}

/// Where the run is. Trials are counted from its start.
#[derive(Debug, Default)]
struct Progress {
    /// The trials that have begun.
    begun: usize,
    /// The trials from the first on of which all have ended, and were shown to the callbacks.
    settled: usize,
    /// The latest trials that have begun, settled or not.
    hidden: Seen,
    /// The trial from which on none begins, once a callback has ended the run.
    limit: Option<usize>,
    /// The error of the earliest trial that had one.
    error: Option<(usize, Error)>,
    panic: Option<Box<dyn Any + Send>>,
}

impl Progress {
    /// The trial `at`, which is not settled yet and therefore among the latest.
    fn hidden_mut(&mut self, at: usize) -> &mut Hidden {
        let first = self.begun - self.hidden.len();
        &mut self.hidden[at - first]
    }
}

/// What the workers of a run share.
struct Order<'a> {
    run: &'a Run<'a>,
    evaluate: &'a (dyn Fn(&mut Trial) -> Evaluation + Sync),
    /// A trial knows of those that began so many before it, and earlier.
    lag: usize,
    progress: Mutex<Progress>,
    /// A trial was settled, or the run ends.
    moved: Condvar,
}

impl Run<'_> {
    /// Runs `jobs` trials at the same time.
    ///
    /// A trial knows of those that began so many before it. To let it know of fewer would keep
    /// workers busier where a few trials take long, but searches would need more trials: with
    /// twice the lag about as many more as the workers gain.
    pub(super) fn in_order(
        &self,
        jobs: usize,
        evaluate: &(dyn Fn(&mut Trial) -> Evaluation + Sync),
    ) -> Result<()> {
        let order = Order {
            run: self,
            evaluate,
            lag: jobs,
            progress: Mutex::default(),
            moved: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    // Whoever waits for this worker's trial would wait for ever.
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| order.work())) {
                        lock(&order.progress).panic.get_or_insert(panic);
                        self.ended.store(true, Ordering::Relaxed);
                        order.moved.notify_all();
                    }
                });
            }
        });
        let progress = order
            .progress
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = progress.panic {
            resume_unwind(panic);
        }
        progress.error.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Order<'_> {
    fn work(&self) {
        let mut progress = lock(&self.progress);
        loop {
            while progress.settled + self.lag <= progress.begun
                && !self.run.ended.load(Ordering::Relaxed)
            {
                progress = self
                    .moved
                    .wait(progress)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let at = progress.begun;
            if progress.limit.is_some_and(|limit| limit <= at) || !self.run.may_begin() {
                return;
            }
            // Not all that is settled may be known: how much is depends on timing.
            while self.lag <= progress.hidden.len() {
                progress.hidden.pop_front();
            }
            // The lock is held, so that numbers follow the order.
            let mut trial = match self.run.begin(Some(&progress.hidden)) {
                Ok(Some(trial)) => trial,
                Ok(None) => return,
                Err(error) => return self.fail(&mut progress, at, error),
            };
            progress.begun += 1;
            progress.hidden.push_back(Hidden {
                begun: Arc::new(trial.frozen().clone()),
                ended: None,
            });
            drop(progress);
            let evaluation = (self.evaluate)(&mut trial);
            progress = lock(&self.progress);
            match self.run.conclude(&trial, evaluation) {
                Ok((ended, failure)) => {
                    progress.hidden_mut(at).ended = Some(ended);
                    if let Some(error) = failure {
                        self.fail(&mut progress, at, error);
                    }
                    self.settle(&mut progress);
                }
                Err(error) => return self.fail(&mut progress, at, error),
            }
        }
    }

    /// Settles the trials that have ended, as far as all before them have.
    fn settle(&self, progress: &mut Progress) {
        while progress.settled < progress.begun {
            let at = progress.settled;
            let Some(ended) = progress.hidden_mut(at).ended.take() else {
                break;
            };
            progress.settled += 1;
            if self.run.call_back(&ended).is_break() {
                // Of the trials that do not know of this one some may have begun, depending on
                // timing; so all of them do.
                progress.limit.get_or_insert(at + self.lag);
            }
        }
        self.moved.notify_all();
    }

    fn fail(&self, progress: &mut Progress, at: usize, error: Error) {
        if progress.error.as_ref().is_none_or(|(first, _)| at < *first) {
            progress.error = Some((at, error));
        }
        self.run.ended.store(true, Ordering::Relaxed);
        self.moved.notify_all();
    }
}
