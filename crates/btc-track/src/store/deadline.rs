//! Until when whoever has called a store waits for its answer.
//!
//! A server that gives up on a request must not leave a write behind that goes
//! on: it tells the store here, and the store refuses what it cannot begin in
//! time.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs `call` on this thread; what it asks of a store begins before `at` or
/// not at all.
#[cfg(feature = "server")]
pub(crate) fn until<T>(at: Instant, call: impl FnOnce() -> T) -> T {
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE.set(self.0);
        }
    }
    let _restore = Restore(DEADLINE.replace(Some(at)));
    call()
}

/// The deadline of what this thread is doing.
#[cfg(feature = "sqlite")]
pub(crate) fn current() -> Option<Instant> {
    DEADLINE.get()
}
