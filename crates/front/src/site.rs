//! What a program serves over HTTP: the one thing that the front does not know by itself.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// `Content-Type` of all answers but the metrics.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A plain text reply.
    #[must_use]
    pub fn plain(status: u16, body: impl Into<String>) -> Reply {
        Reply {
            status,
            content_type: PLAIN_TEXT,
            body: body.into(),
        }
    }
}

/// What a program serves.
///
/// Routes that need the same work belong to one group, such as all paths about the health of one
/// driver. A worker prepares the answers of a group, which may take time; the event loop renders
/// each of them, which must not.
pub trait Site: Send + Sync + 'static {
    /// What a request asks for.
    type Route: Copy + Debug + PartialEq + Send;
    /// What a worker has prepared for the requests of a group.
    type Prepared: Send + 'static;

    /// The route of a path and a query, each without its separator, at the listener of this index.
    /// `None` is answered with 404.
    fn route(&self, listener: usize, path: &str, query: &str) -> Option<Self::Route>;

    /// How many groups there are.
    fn groups(&self) -> usize;

    /// The group of a route, less than [`Site::groups`].
    fn group(&self, route: Self::Route) -> usize;

    /// The requests of this group may take one of so many equal shares of the places for requests,
    /// so that a crowd before one that is slow does not take the places of the others. With 1 they
    /// may take all, which is right for a group whose answers are ready at once.
    fn shares(&self, _group: usize) -> usize {
        1
    }

    /// When the event loop answers a request by itself that arrived at this moment.
    fn schedule(&self, route: Self::Route, arrived: Instant) -> Schedule;

    /// Prepares the answers of a group, in a worker. `arrived` is when the newest of its requests
    /// came.
    fn prepare(&self, group: usize, arrived: Instant) -> Self::Prepared;

    /// Renders an answer from what was prepared for its group.
    fn reply(&self, route: Self::Route, prepared: &Self::Prepared) -> Reply;

    /// Renders an answer from what is known now, without a worker, if that is enough. Without one
    /// for [`Immediate::Always`] the answer is 503.
    fn immediate(
        &self,
        _route: Self::Route,
        _arrived: Instant,
        _immediate: Immediate,
    ) -> Option<Reply> {
        None
    }
}

/// When a request is answered without waiting for its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immediate {
    /// Only if the answer is a success, found after the request arrived.
    IfReady,
    /// Also if there is a cause to report: it is to be reported before the deadline.
    IfCauseKnown,
    /// In any case: the deadline is over.
    Always,
}

/// When the event loop answers a request by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When it asks for an answer with [`Immediate::IfCauseKnown`].
    pub cause: Instant,
    /// When it asks with [`Immediate::Always`].
    pub last: Instant,
    /// An event loop that wakes so much later than `last` was stopped or starved, as were the
    /// threads that it waits for.
    pub overslept: Duration,
    /// How long it then waits for them, once.
    pub last_chance: Duration,
}

/// Where a request stands in its schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    schedule: Schedule,
    cause_is_over: bool,
    chance_is_given: bool,
}

impl Progress {
    pub(crate) fn new(schedule: Schedule) -> Progress {
        Progress {
            schedule,
            cause_is_over: false,
            chance_is_given: false,
        }
    }

    /// When the request is to be looked after next.
    pub(crate) fn next(&self) -> Instant {
        if self.cause_is_over {
            self.schedule.last
        } else {
            self.schedule.cause
        }
    }

    /// When its worker is late.
    pub(crate) fn last(&self) -> Instant {
        self.schedule.last
    }

    /// What the event loop is to ask for now, if it is time.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Immediate> {
        if now < self.next() {
            return None;
        }
        let is_first = !self.cause_is_over;
        self.cause_is_over = true;
        if now < self.schedule.last {
            return is_first.then_some(Immediate::IfCauseKnown);
        }
        if now > self.schedule.last + self.schedule.overslept && !self.chance_is_given {
            self.chance_is_given = true;
            self.schedule.last = now + self.schedule.last_chance;
            return Some(Immediate::IfReady);
        }
        Some(Immediate::Always)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_looked_after_twice_and_once_more_by_a_loop_that_overslept() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let schedule = Schedule {
            cause: at(100),
            last: at(200),
            overslept: Duration::from_millis(10),
            last_chance: Duration::from_millis(50),
        };
        for (looks, expected) in [
            (
                &[99, 101, 199, 201][..],
                &[
                    None,
                    Some(Immediate::IfCauseKnown),
                    None,
                    Some(Immediate::Always),
                ][..],
            ),
            (&[205], &[Some(Immediate::Always)]),
            (
                &[150, 500, 549, 550],
                &[
                    Some(Immediate::IfCauseKnown),
                    Some(Immediate::IfReady),
                    None,
                    Some(Immediate::Always),
                ],
            ),
            // Stopped a second time: one chance is enough.
            (
                &[500, 900],
                &[Some(Immediate::IfReady), Some(Immediate::Always)],
            ),
        ] {
            let mut progress = Progress::new(schedule);
            let found: Vec<_> = looks.iter().map(|&look| progress.due(at(look))).collect();
            assert_eq!(found, expected, "{looks:?}");
        }
    }
}
