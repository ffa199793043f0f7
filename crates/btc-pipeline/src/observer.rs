//! What the workflow tells while it runs.

use crate::scores::Scores;

/// Something a person waiting for the workflow wants to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins.
    Stage {
        /// Its number, from 1.
        index: usize,
        /// How many there are.
        total: usize,
        /// What it does.
        name: &'a str,
    },
    /// A pull of market data has something to tell.
    Retrieval(&'a btc_ingest::ProgressEvent),
    /// A trial begins.
    TrialStarted {
        /// The trial's number in its study.
        number: usize,
        /// Its network.
        model_type: &'a str,
    },
    /// An epoch of a trial ended.
    Epoch {
        /// The trial's number in its study.
        number: usize,
        /// The epoch, from 0.
        epoch: usize,
        /// How many epochs there are at most.
        epochs: usize,
        /// Training loss.
        loss: f64,
        /// Validation loss.
        val_loss: f64,
    },
    /// A trial ended.
    TrialFinished {
        /// The trial's number in its study.
        number: usize,
        /// `COMPLETE`, `PRUNED` or `FAIL`.
        state: &'a str,
        /// Its scores on the selection set, beside the naive forecast of the same days, if it
        /// completed.
        scores: Option<Scores>,
    },
    /// Something worth knowing.
    Note(&'a str),
    /// Something worth looking at.
    Warning(&'a str),
}

/// Hears the events of a workflow, from several threads at once.
pub trait Observer: Send + Sync {
    /// Hears one event. Must not block for long: trials wait for it.
    fn event(&self, event: &Event<'_>);
}

/// Hears nothing.
impl Observer for () {
    fn event(&self, _event: &Event<'_>) {}
}
