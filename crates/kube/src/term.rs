//! The proof of leadership that every write to the API server and every call to the driver needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Moment;

/// One uninterrupted time of leadership.
///
/// A term permits writes until the last successful renewal was sent the renew deadline ago. Other
/// candidates wait for the longer lease duration, counted from the moment when they saw that
/// renewal, so a term is over before another one can begin. That holds without the thread of
/// the lease: if it hangs, or if the machine was suspended, the term ends all the same. client-go
/// has nothing of the kind; there a write can follow a lost lease until the process has exited.
///
/// Clones are the same term, in any number of threads.
#[derive(Clone, Debug)]
pub struct Term(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The end, in nanoseconds of [`Moment`], or [`OVER`].
    until: AtomicU64,
    renew_deadline: Duration,
    tenure: Tenure,
}

/// The value of `until` after a loss or a release. No renewal follows it.
const OVER: u64 = 0;

/// What stays the same in the lease for as long as its holder does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    pub(crate) acquire_time: String,
    pub(crate) transitions: u32,
}

/// The term is over, so the write must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermOver;

impl std::fmt::Display for TermOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this replica does not hold the lease any more")
    }
}

impl std::error::Error for TermOver {}

impl Term {
    /// The term of a process that runs without an election: it never ends.
    #[must_use]
    pub fn without_election() -> Term {
        let tenure = Tenure {
            acquire_time: String::new(),
            transitions: 0,
        };
        Term::new(Moment::default(), Duration::MAX, tenure)
    }

    /// Begins with a write of the lease that was sent at `renewed` and succeeded.
    pub(crate) fn new(renewed: Moment, renew_deadline: Duration, tenure: Tenure) -> Term {
        Term(Arc::new(Inner {
            until: AtomicU64::new((renewed + renew_deadline).nanoseconds()),
            renew_deadline,
            tenure,
        }))
    }

    /// Permits a write at `now`, and returns the time that is left. A request should have no later
    /// deadline, because what the API server receives after the term may follow the next leader's
    /// writes.
    ///
    /// # Errors
    ///
    /// The term is over.
    pub fn permits(&self, now: Moment) -> Result<Duration, TermOver> {
        // Relaxed: the number is all that is shared, and a thread that reads the one before acts
        // as if it had read a moment earlier.
        let until = self.0.until.load(Ordering::Relaxed);
        match until.saturating_sub(now.nanoseconds()) {
            0 => Err(TermOver),
            left => Ok(Duration::from_nanos(left)),
        }
    }

    /// The moment at which the last successful renewal was sent, or `None` after a loss or a
    /// release, and without an election. `/healthz/leader-election` compares it: a term that ran out long ago without a
    /// loss means that the thread of the lease hangs.
    #[must_use]
    pub fn renewed(&self) -> Option<Moment> {
        let until = Duration::from_nanos(self.0.until.load(Ordering::Relaxed));
        // The difference exists for a renewal alone: `OVER` lies before every renew deadline, and so
        // does every end before the deadline of a term without an election.
        let renewed = until.checked_sub(self.0.renew_deadline)?;
        Some(Moment::since_boot(renewed))
    }

    /// Whether no other process has led between `earlier` and this term. If so, what was kept
    /// in memory since `earlier` may be written; otherwise it is only a hint.
    #[must_use]
    pub fn continues(&self, earlier: &Term) -> bool {
        self.0.tenure == earlier.0.tenure
    }

    /// The tenure that this term began with.
    pub(crate) fn tenure(&self) -> &Tenure {
        &self.0.tenure
    }

    /// A write of the lease that was sent at `renewed` succeeded.
    pub(crate) fn renew(&self, renewed: Moment) {
        if self.0.until.load(Ordering::Relaxed) != OVER {
            let until = (renewed + self.0.renew_deadline).nanoseconds();
            self.0.until.store(until, Ordering::Relaxed);
        }
    }

    /// Ends the term before its time.
    pub(crate) fn end(&self) {
        self.0.until.store(OVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::since_boot(Duration::from_millis(milliseconds))
    }

    fn tenure(acquire_time: &str, transitions: u32) -> Tenure {
        Tenure {
            acquire_time: acquire_time.to_owned(),
            transitions,
        }
    }

    #[test]
    fn a_term_permits_until_the_renew_deadline_after_the_renewal() {
        let term = Term::new(at(1_000), Duration::from_secs(10), tenure("a", 1));
        let seen_by_a_worker = term.clone();
        assert_eq!(
            seen_by_a_worker.permits(at(1_000)),
            Ok(Duration::from_secs(10))
        );
        assert_eq!(
            seen_by_a_worker.permits(at(10_999)),
            Ok(Duration::from_millis(1))
        );
        assert_eq!(seen_by_a_worker.permits(at(11_000)), Err(TermOver));
        term.renew(at(6_000));
        assert_eq!(
            seen_by_a_worker.permits(at(15_999)),
            Ok(Duration::from_millis(1))
        );
        assert_eq!(seen_by_a_worker.permits(at(16_000)), Err(TermOver));
        assert_eq!(seen_by_a_worker.renewed(), Some(at(6_000)));
    }

    #[test]
    fn a_term_that_was_ended_is_not_renewed() {
        let term = Term::new(at(0), Duration::from_secs(10), tenure("a", 1));
        term.end();
        term.renew(at(1));
        assert_eq!(term.permits(at(2)), Err(TermOver));
        assert_eq!(term.renewed(), None);
    }

    #[test]
    fn a_term_continues_another_one_of_the_same_holder_alone() {
        let term = |acquire_time, transitions| {
            Term::new(
                at(0),
                Duration::from_secs(10),
                tenure(acquire_time, transitions),
            )
        };
        assert!(term("a", 1).continues(&term("a", 1)));
        assert!(!term("a", 2).continues(&term("a", 1)));
        assert!(!term("b", 1).continues(&term("a", 1)));
    }

    #[test]
    fn without_an_election_there_is_one_term() {
        let term = Term::without_election();
        assert!(term.permits(at(u64::MAX / 2_000_000)).is_ok());
        assert!(term.continues(&Term::without_election()));
        assert_eq!(term.renewed(), None);
    }
}
