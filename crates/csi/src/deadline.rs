//! The time by which a call must end.

use std::time::{Duration, Instant};

/// A call continues this long after its deadline if the reply had arrived by then and gRPC had not
/// read it yet, because this process was stopped or had no processor time.
pub const READ_GRACE: Duration = Duration::from_millis(25);

/// A hundred years. A longer timeout is cut to this, because adding `Duration::MAX` to an `Instant`
/// overflows.
const LONGEST: Duration = Duration::from_hours(876_600);

/// The moment by which a call must end, and the one from which its timeout counts, because error
/// messages name the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
    begun: Instant,
}

impl Deadline {
    /// A deadline that is `timeout` after `begun`, but at most a hundred years.
    #[must_use]
    pub fn new(begun: Instant, timeout: Duration) -> Deadline {
        Deadline {
            at: begun + timeout.min(LONGEST),
            begun,
        }
    }

    /// The moment at which the call must end.
    #[must_use]
    pub fn at(self) -> Instant {
        self.at
    }

    /// The time from the beginning to the deadline.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.at.saturating_duration_since(self.begun)
    }

    /// The moment from which the timeout counts.
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
