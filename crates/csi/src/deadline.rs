//! When a call has to be over.

use std::time::{Duration, Instant};

/// How long after the deadline a call goes on if the reply was there by the deadline and gRPC had
/// not read it yet, because this process was stopped or starved.
pub const READ_GRACE: Duration = Duration::from_millis(25);

/// A hundred years, which takes the place of every longer timeout, because an `Instant` cannot
/// hold `Duration::MAX` more.
const LONGEST: Duration = Duration::from_hours(876_600);

/// A moment, and the beginning of the time that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
    begun: Instant,
}

impl Deadline {
    /// The deadline `timeout` after `begun`.
    #[must_use]
    pub fn new(begun: Instant, timeout: Duration) -> Deadline {
        Deadline {
            at: begun + timeout.min(LONGEST),
            begun,
        }
    }

    /// The moment.
    #[must_use]
    pub fn at(self) -> Instant {
        self.at
    }

    /// The whole time, from the beginning to the deadline.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.at.duration_since(self.begun)
    }

    /// When the time began.
    #[must_use]
    pub fn begun(self) -> Instant {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_too_long_for_the_clock() {
        let now = Instant::now();
        let deadline = Deadline::new(now, Duration::MAX);
        assert!(deadline.at() > now + Duration::from_hours(24));
        assert_eq!(deadline.begun(), now);
    }
}
