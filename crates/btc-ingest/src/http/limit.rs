//! So many requests at once, then one every so often: a token bucket.

use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A token bucket: `burst` requests at once, then one every `interval`.
///
/// Kept as the one instant at which the bucket will be full again (the generic cell rate
/// algorithm), so that nothing has to tick.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    burst: u32,
    full_at: Mutex<Option<Instant>>,
}

impl TokenBucket {
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        Self {
            interval,
            burst: burst.max(1),
            full_at: Mutex::new(None),
        }
    }

    /// Waits for a token and takes it.
    pub(crate) async fn take(&self) {
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut full_at = self
            .full_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let full = full_at.map_or(now, |instant| instant.max(now));
        *full_at = Some(full + self.interval);
        let allowance = self.interval * (self.burst - 1);
        (full - now).saturating_sub(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_at_once_and_the_rest_is_spread() {
        let bucket = TokenBucket::new(2, Duration::from_secs(1));
        let now = Instant::now();
        let waits: Vec<u64> = (0..4).map(|_| bucket.reserve(now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 1, 2]);
        let later = now + Duration::from_secs(10);
        assert!(bucket.reserve(later).is_zero());
        assert!(bucket.reserve(later).is_zero());
        assert_eq!(bucket.reserve(later).as_secs(), 1);
    }
}
