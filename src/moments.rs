//! All moments of one request, and of the probe that it waits for.
//!
//! A request has one deadline, `--probe-timeout` after it arrived. Some things happen a little
//! before it, so that the cause of a failure is known in time, and some a little after it, so
//! that a result which was there by the deadline is not lost on a busy machine. With a margin of
//! 100 ms, or a quarter of shorter timeouts:
//!
//! | moment | what happens then |
//! |---|---|
//! | margin before | the probe gives up connecting, but its first attempt has 10 ms in any case (`csi::connect`) |
//! | margin / 2 before | a request that waits is answered with the cause, if the probe is still connecting and a cause is known |
//! | margin / 4 before | the front answers so in its place |
//! | deadline | the call is cancelled, unless gRPC has bytes of the driver's to read |
//! | 25 ms after | then it is cancelled, too ([`csi::READ_GRACE`]) |
//! | 50 ms after | a request that waits is answered: no answer within the timeout |
//! | 80 ms after | a result that comes even later says that this process was stopped or starved, and nothing of the driver |
//! | 100 ms after | the front answers a request whose worker has not |
//!
//! A thread that wakes more than 10 ms after the moment that it waited for was stopped (SIGSTOP, a
//! frozen cgroup) or starved, and so was the probe, whose result may be on its way. It waits for
//! that once more: a request for 50 ms, and the front, which waits for the request, for 100 ms.

use std::time::{Duration, Instant};

use csi::Deadline;
use front::Schedule;

/// How long before its deadline a failing connect answers, so that a caller with the very same
/// timeout still gets the cause instead of its own timeout.
const CONNECT_MARGIN: Duration = Duration::from_millis(100);

/// A request that waits gives up this long after the deadline. The probe cancels its call at the
/// deadline; the extra time lets that result arrive on a busy machine.
const GRACE: Duration = Duration::from_millis(50);

/// Longer than [`GRACE`], so a request has always given up by then; shorter than a CFS quota
/// period (100 ms, cgroups(7), cpu.max), so that one throttled period is recognised.
const STALE: Duration = Duration::from_millis(80);

/// The front gives up this long after the deadline: later than the request's worker.
const FRONT_GRACE: Duration = Duration::from_millis(100);

/// A thread that wakes so much later than it wanted was stopped or starved.
const OVERSLEPT: Duration = Duration::from_millis(10);

/// How long a request then waits once more for a result that is on its way.
const LAST_CHANCE: Duration = Duration::from_millis(50);

/// How long the front waits for the worker of such a request.
const FRONT_LAST_CHANCE: Duration = Duration::from_millis(100);

/// The moments of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moments {
    deadline: Deadline,
    margin: Duration,
}

impl Moments {
    /// The moments of a request that arrived at `arrived` and has `timeout`.
    #[must_use]
    pub fn new(arrived: Instant, timeout: Duration) -> Moments {
        let deadline = Deadline::new(arrived, timeout);
        Moments {
            deadline,
            margin: CONNECT_MARGIN.min(deadline.timeout() / 4),
        }
    }

    /// When the request arrived.
    #[must_use]
    pub fn arrived(self) -> Instant {
        self.deadline.begun()
    }

    /// The deadline, over connect and call.
    #[must_use]
    pub fn deadline(self) -> Deadline {
        self.deadline
    }

    fn before(self, margin: Duration) -> Instant {
        self.deadline.begun() + self.deadline.timeout().saturating_sub(margin)
    }

    /// When connecting is given up.
    #[must_use]
    pub fn connect_by(self) -> Instant {
        self.before(self.margin)
    }

    /// When a request that waits gives up, if the probe is still connecting and a cause is known,
    /// and if not.
    #[must_use]
    pub(crate) fn give_up(self, is_cause_known: bool) -> Instant {
        if is_cause_known {
            self.before(self.margin / 2)
        } else {
            self.deadline.at() + GRACE
        }
    }

    /// Until when a request waits that wanted to give up at `wanted` and woke at `now`, if it
    /// overslept.
    #[must_use]
    pub(crate) fn last_chance(wanted: Instant, now: Instant) -> Option<Instant> {
        (now > wanted + OVERSLEPT).then(|| now + LAST_CHANCE)
    }

    /// Whether a result of this moment comes so late that it says nothing of the driver.
    #[must_use]
    pub fn is_stale(self, at: Instant) -> bool {
        at > self.deadline.at() + STALE
    }

    /// When the front answers without the request's worker.
    #[must_use]
    pub fn schedule(self) -> Schedule {
        Schedule {
            cause: self.before(self.margin / 4),
            last: self.deadline.at() + FRONT_GRACE,
            overslept: OVERSLEPT,
            last_chance: FRONT_LAST_CHANCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of a request in milliseconds after it arrived.
    fn table(timeout: Duration) -> [u128; 8] {
        let arrived = Instant::now();
        let moments = Moments::new(arrived, timeout);
        let deadline = moments.deadline().at();
        let schedule = moments.schedule();
        [
            moments.connect_by(),
            moments.give_up(true),
            schedule.cause,
            deadline,
            deadline + csi::READ_GRACE,
            moments.give_up(false),
            deadline + STALE,
            schedule.last,
        ]
        .map(|moment| (moment - arrived).as_millis())
    }

    #[test]
    fn the_moments_come_in_this_order() {
        for (timeout, expected) in [
            (
                3_000,
                [2_900, 2_950, 2_975, 3_000, 3_025, 3_050, 3_080, 3_100],
            ),
            (100, [75, 87, 93, 100, 125, 150, 180, 200]),
            (0, [0, 0, 0, 0, 25, 50, 80, 100]),
        ] {
            let found = table(Duration::from_millis(timeout));
            assert_eq!(found, expected, "{timeout} ms");
            assert!(found.is_sorted());
        }
    }

    #[test]
    fn a_thread_that_overslept_has_one_more_chance_and_the_front_a_longer_one() {
        let wanted = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(Moments::last_chance(wanted, wanted + ms(10)), None);
        let woken = wanted + ms(11);
        assert_eq!(Moments::last_chance(wanted, woken), Some(woken + ms(50)));
        let schedule = Moments::new(wanted, ms(3_000)).schedule();
        assert_eq!(schedule.overslept, ms(10));
        // The request's answer still has to come from its worker.
        assert!(schedule.last_chance > LAST_CHANCE + csi::READ_GRACE);
    }

    #[test]
    fn a_result_that_is_a_little_late_is_not_stale() {
        let now = Instant::now();
        let moments = Moments::new(now, Duration::from_secs(3));
        for (after, is_stale) in [(0, false), (3_050, false), (3_080, false), (3_081, true)] {
            let at = now + Duration::from_millis(after);
            assert_eq!(moments.is_stale(at), is_stale, "{after}");
        }
    }
}
