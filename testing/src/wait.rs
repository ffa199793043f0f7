//! Waiting for something to happen, however busy the machine is.

use std::time::{Duration, Instant};

/// Longer than any of the awaited things takes on the slowest machine: only a hang meets it.
const HANG: Duration = Duration::from_secs(600);

/// Waits until `happened` says so. A test waits for an event, never for a length of time.
///
/// # Panics
///
/// Panics with `what` after ten minutes, since nothing will happen any more.
#[track_caller]
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < HANG, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_until_it_is_told() {
        let mut asked = 0;
        wait_until("the third question", || {
            asked += 1;
            asked == 3
        });
        assert_eq!(asked, 3);
    }
}
