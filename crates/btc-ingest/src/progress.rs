//! What a pull tells while it runs.

use std::time::Duration;

/// What happens while data is pulled.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A series is being asked for.
    Started {
        /// Source and series, as `blockchain/hash-rate`.
        series: String,
    },
    /// A series is there.
    Finished {
        /// Source and series.
        series: String,
        /// The number of days the answer holds.
        rows: usize,
    },
    /// A request failed and is about to be repeated.
    Retrying {
        /// Source and series.
        series: String,
        /// What went wrong.
        why: String,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// A series or a source is left out.
    Skipped {
        /// Source and series, or the source alone.
        series: String,
        /// Why.
        why: String,
    },
    /// Something the user should know.
    Warning {
        /// One sentence.
        message: String,
    },
}

/// Hears of every step of a pull, from any thread.
///
/// `()` listens to nothing.
pub trait Progress: Send + Sync {
    /// Takes one event. Calls of different series come in any order.
    fn event(&self, event: &ProgressEvent);
}

impl Progress for () {
    fn event(&self, _: &ProgressEvent) {}
}
