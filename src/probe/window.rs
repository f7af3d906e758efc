//! The time that one request has: a single deadline, and the moment shortly
//! before it at which a connection that has not come about is given up.

use std::time::{Duration, Instant};

/// How long before its deadline a failing connect answers, so that a caller
/// with the very same timeout still gets the cause instead of its own timeout.
const CONNECT_MARGIN: Duration = Duration::from_millis(100);

/// How long after the deadline those who wait stop waiting for the prober's answer,
/// which ends its call then. The rest is for a machine that is busy.
const GRACE: Duration = Duration::from_millis(50);

/// How long after its deadline a probe ends at the latest, unless the process is stopped
/// or starved: longer than those who wait allow it, and shorter than a processor's quota
/// period, a tenth of a second (cgroups(7), cpu.max).
const STOPPED: Duration = Duration::from_millis(80);

/// A hundred years: beyond every use, and within what a clock can add.
const LONGEST: Duration = Duration::from_hours(876_600);

/// A deadline with its margins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    answer_by: Instant,
    connect_by: Instant,
    arrived: Instant,
    timeout: Duration,
}

impl Window {
    /// The window of a request that arrived at `arrived` and has `timeout`.
    /// Timeouts too short for the margin give a quarter of themselves to it.
    #[must_use]
    pub fn new(arrived: Instant, timeout: Duration) -> Window {
        let timeout = timeout.min(LONGEST);
        Window {
            answer_by: arrived + timeout,
            connect_by: arrived + timeout.saturating_sub(CONNECT_MARGIN.min(timeout / 4)),
            arrived,
            timeout,
        }
    }

    /// When the request arrived.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The deadline, over connect and call.
    #[must_use]
    pub fn answer_by(&self) -> Instant {
        self.answer_by
    }

    /// When connecting is given up.
    #[must_use]
    pub fn connect_by(&self) -> Instant {
        self.connect_by
    }

    /// When somebody who watches over a waiter answers in its place, if the probe
    /// is still connecting and if it is not: a little after the waiter would.
    #[must_use]
    pub fn overdue(&self) -> [Instant; 2] {
        let margin = self.answer_by - self.connect_by;
        [
            self.connect_by + margin * 3 / 4,
            self.wait_for_call() + GRACE,
        ]
    }

    /// Whether its end was so long ago by then that the process must have been
    /// stopped or starved meanwhile: that nothing was found says nothing of the driver.
    #[must_use]
    pub fn is_long_over(&self, at: Instant) -> bool {
        at > self.answer_by + STOPPED
    }

    /// The whole of it, from arrival to deadline.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Until when someone waits who sees the probe still connecting.
    #[must_use]
    pub(super) fn wait_for_connect(&self) -> Instant {
        self.connect_by + (self.answer_by - self.connect_by) / 2
    }

    /// Until when someone waits who sees the call under way.
    #[must_use]
    pub(super) fn wait_for_call(&self) -> Instant {
        self.answer_by + GRACE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_is_given_up_in_time_to_tell_the_cause() {
        let now = Instant::now();
        let window = Window::new(now, Duration::from_secs(3));
        assert_eq!(window.answer_by() - now, Duration::from_secs(3));
        assert_eq!(window.connect_by() - now, Duration::from_millis(2900));
        assert!(window.wait_for_connect() < window.overdue()[0]);
        assert!(window.overdue()[0] < window.answer_by());
        assert!(window.wait_for_call() < window.overdue()[1]);
        let short = Window::new(now, Duration::from_millis(100));
        assert_eq!(short.connect_by() - now, Duration::from_millis(75));
    }

    #[test]
    fn what_is_a_little_late_is_not_long_over() {
        let now = Instant::now();
        let window = Window::new(now, Duration::from_secs(3));
        for (after, is_long_over) in [(0, false), (3_050, false), (3_081, true)] {
            let at = now + Duration::from_millis(after);
            assert_eq!(window.is_long_over(at), is_long_over, "{after}");
        }
    }

    #[test]
    fn no_timeout_is_too_long_for_the_clock() {
        let now = Instant::now();
        let window = Window::new(now, Duration::MAX);
        assert!(window.answer_by() > now + Duration::from_hours(24));
    }
}
