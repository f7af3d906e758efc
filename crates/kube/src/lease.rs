//! Leader election over a `coordination.k8s.io/v1` Lease, as a state machine without a socket, a
//! thread and a clock.
//!
//! The rules are those of client-go's `tools/leaderelection`, with these differences: a lost lease
//! is no end but a new candidacy; a [`Term`] ends by itself; a leader's request has a limit of its
//! own and its failure is followed by another attempt soon; and two processes of one identity are
//! noticed.
//!
//! No time in a record is compared with a clock, because the clocks of two nodes differ
//! (<https://github.com/kubernetes/client-go/issues/448>). A candidate counts how long it has seen
//! the record unchanged.

mod election;
mod record;
mod timing;

use std::time::Duration;

pub use election::Election;
pub use record::LeaseRecord;
pub use timing::Timing;

use crate::term::Term;
use crate::time::Moment;

/// What the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this request, wait for no longer than `limit`, and pass the outcome to
    /// [`Election::answer`].
    Send {
        /// The request.
        request: Request,
        /// The time for the whole request, connecting included.
        limit: Duration,
    },
    /// Call [`Election::next`] again at this moment.
    Sleep(Moment),
    /// There is nothing to do until [`Election::campaign`].
    Rest,
}

/// A request about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// GET.
    Get,
    /// POST of a new object.
    Create(LeaseRecord),
    /// PUT of the object that was read last, with this record and this resourceVersion.
    Update(LeaseRecord, String),
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 or 201: the record and its resourceVersion as they are now.
    Stored(LeaseRecord, String),
    /// 404.
    NotFound,
    /// Everything else: 409, another status, a broken connection, the end of the limit. Whether
    /// the API server has carried out a write is not known.
    Failed,
}

/// What the caller has to act on or to log. Every change of [`Election::term`] is among them.
#[derive(Clone, Debug)]
pub enum Event {
    /// This process leads from now on.
    Leading(Term),
    /// It does not lead any more. It is a candidate again.
    Lost(Loss),
    /// Another process holds the lease. If the name is our identity, that process has the same
    /// one, and this one waits for it as for a stranger.
    Holder(String),
    /// Another process has written the lease under our identity. This one has led for longer and
    /// takes the lease back.
    SameIdentity,
}

/// Why a term is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No renewal succeeded within the renew deadline.
    Deadline,
    /// Another holder stands in the lease, or none.
    Taken(String),
    /// Another process of our identity has led for longer, so this one steps back.
    SameIdentity,
}
