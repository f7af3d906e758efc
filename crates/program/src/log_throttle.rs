//! Decides which outcomes are worth a log line: each change of state with its cause, and a failure
//! that lasts once every ten seconds. The caller passes the time, so tests need no clock.
//!
//! Users of upstream's sidecar measured that 60 % of a cluster's log volume were lines of probes
//! that repeated the same outcome.

use std::time::{Duration, Instant};

/// The time between two lines about the same lasting failure.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// The most lines within [`REPEAT_AFTER`], so that a driver whose state changes with each of a
/// thousand requests a second does not flood the log.
const CHANGES_MAX: u32 = 5;

/// The state that the last line reported.
#[derive(PartialEq, Eq)]
enum State {
    Nothing,
    Healthy,
    Failing(String),
}

/// The lines written so far about one source of outcomes.
pub struct LogThrottle {
    reported: State,
    reported_at: Option<Instant>,
    period_began: Option<Instant>,
    lines_in_period: u32,
    suppressed: u64,
}

/// Permission to write a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of failures since the last line that were not logged.
    pub suppressed: u64,
}

impl Default for LogThrottle {
    fn default() -> LogThrottle {
        LogThrottle::new()
    }
}

impl LogThrottle {
    /// A throttle that has reported nothing yet.
    #[must_use]
    pub fn new() -> LogThrottle {
        LogThrottle {
            reported: State::Nothing,
            reported_at: None,
            period_began: None,
            lines_in_period: 0,
            suppressed: 0,
        }
    }

    /// Records an outcome, and returns a [`Line`] if it should be logged. `failure` is `None` for a
    /// success. For a failure it names the cause by what stays the same while the failure lasts:
    /// not by a driver's message, which may contain a count of seconds.
    pub fn is_worth_a_line(&mut self, failure: Option<&str>, now: Instant) -> Option<Line> {
        let state = failure.map_or(State::Healthy, |cause| State::Failing(cause.to_owned()));
        let wanted = if self.reported == state {
            failure.is_some() && self.reported_at.is_none_or(|at| now - at >= REPEAT_AFTER)
        } else {
            true
        };
        if !wanted || !self.may_write(now) {
            self.suppressed += u64::from(failure.is_some());
            return None;
        }
        self.reported = state;
        self.reported_at = Some(now);
        Some(Line {
            suppressed: std::mem::take(&mut self.suppressed),
        })
    }

    fn may_write(&mut self, now: Instant) -> bool {
        if self
            .period_began
            .is_none_or(|began| now - began >= REPEAT_AFTER)
        {
            self.period_began = Some(now);
            self.lines_in_period = 0;
        }
        if self.lines_in_period == CHANGES_MAX {
            return false;
        }
        self.lines_in_period += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_at_once_and_the_same_again_after_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut log = LogThrottle::new();
        let line = |suppressed| Some(Line { suppressed });
        assert_eq!(log.is_worth_a_line(None, at(0)), line(0));
        assert_eq!(log.is_worth_a_line(None, at(1)), None);
        assert_eq!(log.is_worth_a_line(Some("gone"), at(2)), line(0));
        assert_eq!(log.is_worth_a_line(Some("gone"), at(3)), None);
        assert_eq!(log.is_worth_a_line(Some("refused"), at(4)), line(1));
        assert_eq!(log.is_worth_a_line(Some("refused"), at(13)), None);
        assert_eq!(log.is_worth_a_line(Some("refused"), at(14)), line(1));
        assert_eq!(log.is_worth_a_line(None, at(15)), line(0));
        assert_eq!(log.is_worth_a_line(None, at(99)), None);
    }

    #[test]
    fn frequent_changes_are_reported_in_a_few_lines_and_so_is_their_end() {
        let start = Instant::now();
        let mut log = LogThrottle::new();
        let mut lines = 0;
        for millisecond in 0..9_000 {
            let failure = (millisecond % 2 == 0).then_some("gone");
            let now = start + Duration::from_millis(millisecond);
            lines += u32::from(log.is_worth_a_line(failure, now).is_some());
        }
        assert_eq!(lines, CHANGES_MAX);
        // The last line reported a failure, so the recovery must not stay suppressed.
        let now = start + Duration::from_secs(20);
        assert!(log.is_worth_a_line(None, now).is_some());
    }
}
