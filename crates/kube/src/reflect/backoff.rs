//! The delays between requests that fail.

use std::time::Duration;

use crate::time::{Jitter, Moment};

/// The first delay, before jitter.
const FIRST: Duration = Duration::from_millis(800);
/// The longest delay, before jitter.
const LONGEST: Duration = Duration::from_secs(30);
/// After this time without a failure the delays start again.
const RESET_AFTER: Duration = Duration::from_mins(2);
/// The longest `Retry-After` that is honoured. A proxy in between must not stop a reflector for
/// good by a large number.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// Delays of 0.8 s that double up to 30 s, each with up to as much again at random, and that start
/// again after 2 minutes without a failure. The numbers are client-go's.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    retry_at: Moment,
}

impl Backoff {
    /// Counts a failure at `now`, and returns when to try again. That is not before the
    /// `Retry-After` of the server, and spread over a second where this decides, because the server
    /// gives all clients the same one.
    pub fn failed(
        &mut self,
        retry_after: Option<Duration>,
        jitter: &mut Jitter,
        now: Moment,
    ) -> Moment {
        // Counted from the end of the last delay, because the delay itself can be nearly as long.
        if now.since(self.retry_at) >= RESET_AFTER {
            self.failures = 0;
        }
        let factor = 2_u32.saturating_pow(self.failures);
        let base = FIRST.saturating_mul(factor).min(LONGEST);
        let mut delay = base + jitter.below(base);
        if let Some(retry_after) = retry_after {
            let spread = jitter.below(Duration::from_secs(1));
            delay = delay.max(retry_after.min(RETRY_AFTER_MAX) + spread);
        }
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + delay;
        self.retry_at
    }
}
