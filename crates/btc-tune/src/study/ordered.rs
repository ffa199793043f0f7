//! Trials at the same time whose order, not their timing, decides what each of them knows.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

use super::history::{Sight, as_begun, next_ordinal};
use super::optimize::{Evaluation, Run};
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::sync::{into_inner, lock, wait};
use crate::trial::Trial;

/// A trial whose end the callbacks were not shown yet.
#[derive(Debug)]
struct Open {
    ordinal: usize,
    ended: Option<Arc<FrozenTrial>>,
}

/// Where the run is.
#[derive(Debug, Default)]
struct Progress {
    /// In the order in which they began.
    open: VecDeque<Open>,
    /// By ordinal: the latest trials, whose ends the next is not to know, as they were when they began.
    begun: BTreeMap<usize, Arc<FrozenTrial>>,
    /// The ordinal from which on no trial begins, once a callback has ended the run.
    limit: Option<usize>,
    /// The error of the earliest trial that had one.
    error: Option<(usize, Error)>,
    panic: Option<Box<dyn Any + Send>>,
}

impl Progress {
    /// Whether the trial of an ordinal must know how one ended that has not been shown yet.
    fn is_behind(&self, ordinal: usize, lag: usize) -> bool {
        self.open.iter().any(|open| open.ordinal + lag <= ordinal)
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
        // What ran here is known to all trials of this run; if that was all there is, none begins.
        let trials = self.study().settle_broken_off()?;
        if self.is_exhausted(&self.study().undisturbed(&trials)) {
            return Ok(());
        }
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
        let progress = into_inner(order.progress);
        if let Some(panic) = progress.panic {
            resume_unwind(panic);
        }
        progress.error.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Order<'_> {
    fn work(&self) {
        let study = self.run.study();
        let mut progress = lock(&self.progress);
        loop {
            // The lock is held from here until the trial has begun, so that numbers follow the order.
            let (trials, ordinal) = loop {
                let trials = match study.settle_broken_off() {
                    Ok(trials) => trials,
                    Err(error) => return self.fail(&mut progress, usize::MAX, error),
                };
                let ordinal = next_ordinal(&trials);
                if !progress.is_behind(ordinal, self.lag) || self.run.ended.load(Ordering::Relaxed)
                {
                    break (trials, ordinal);
                }
                progress = wait(&self.moved, progress);
            };
            if progress.limit.is_some_and(|limit| limit <= ordinal) || !self.run.may_begin() {
                return;
            }
            let sight = Sight::Ordered {
                lag: self.lag,
                begun: &progress.begun,
            };
            let mut trial = match self.run.begin(trials, sight) {
                Ok(Some(trial)) => trial,
                Ok(None) => return,
                Err(error) => return self.fail(&mut progress, ordinal, error),
            };
            let ordinal = trial.ordinal();
            progress.open.push_back(Open {
                ordinal,
                ended: None,
            });
            let begun = as_begun(trial.frozen(), ordinal);
            progress.begun.insert(ordinal, Arc::new(begun));
            // No later trial looks back farther, but one that is tried again may begin late.
            while self.lag * 2 < progress.begun.len() {
                progress.begun.pop_first();
            }
            drop(progress);
            let evaluation = (self.evaluate)(&mut trial);
            progress = lock(&self.progress);
            match self.run.conclude(&trial, evaluation) {
                Ok((ended, failure)) => {
                    let mut open = progress.open.iter_mut();
                    if let Some(open) = open.find(|o| o.ordinal == ordinal && o.ended.is_none()) {
                        open.ended = Some(ended);
                    }
                    if let Some(error) = failure {
                        self.fail(&mut progress, ordinal, error);
                    }
                    self.settle(&mut progress);
                }
                Err(error) => return self.fail(&mut progress, ordinal, error),
            }
        }
    }

    /// Shows the trials that have ended, as far as all before them have.
    fn settle(&self, progress: &mut Progress) {
        while let Some(Open {
            ordinal,
            ended: Some(ended),
        }) = progress.open.front_mut()
        {
            let (ordinal, ended) = (*ordinal, Arc::clone(ended));
            progress.open.pop_front();
            if self.run.call_back(&ended).is_break() {
                // Of the trials that do not know of this one some may have begun, depending on
                // timing; so all of them do.
                progress.limit.get_or_insert(ordinal + self.lag);
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
