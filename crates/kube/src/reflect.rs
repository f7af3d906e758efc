//! Keeps a store equal to what the API server has, with one list and then one watch after another.
//!
//! The rules are those of client-go's reflector (`tools/cache/reflector.go`); each one that differs
//! says why. A [`Reflector`] is a machine without a socket: a thread carries out one [`Action`] after
//! the other and gives back the outcome as an [`Input`].
//!
//! Lists are not paged and are not WatchLists. A decoder that hands on each item takes no more
//! memory for a list, and behind some proxies the bookmark that ends a WatchList never comes
//! (<https://github.com/openyurtio/openyurt/issues/2745>).

mod backoff;
mod reflector;
mod resync;

pub use backoff::Backoff;
pub use reflector::Reflector;
pub use resync::Resync;

use crate::decode::{Event, Status};
use crate::store::Change;
use crate::time::Moment;

/// Which state of the server a list may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFrom {
    /// Any that the API server has in memory, for the first list.
    Any,
    /// One that is not older than this version, so that time does not go backwards.
    NotOlder(u64),
    /// The latest, which the API server reads from etcd. It is asked for only after the server has
    /// refused a version or gone back behind one, and by [`Reflector::relist`]: if all clients did so
    /// after a restart of the API server, they would overload etcd (<https://github.com/kubernetes/kubernetes/issues/86483>).
    Latest,
}

impl ListFrom {
    /// The parameter `resourceVersion` of the request. There is no `limit`: a list from memory
    /// ignores it, and every page of one from etcd would be a further chance to get 410.
    #[must_use]
    pub fn parameter(self) -> String {
        match self {
            ListFrom::Any => "0".to_owned(),
            ListFrom::NotOlder(version) => version.to_string(),
            ListFrom::Latest => String::new(),
        }
    }
}

/// What has happened.
#[derive(Debug)]
pub enum Input<T> {
    /// The thread has started, or the time of [`Action::Wait`] has come.
    Due,
    /// The list has this item.
    Item(T),
    /// The list is complete and has this resourceVersion.
    Listed(u64),
    /// The response to the watch has begun, with a status of success.
    Open,
    /// The watch has an event.
    Event(Event<T>),
    /// The response to the request has a status of failure.
    Refused(Status),
    /// There was no response, or it ended before it was complete, or it was silent for too long:
    /// `EndedEarly` and `Io` of [`ListError`] and [`LineError`]. A watch is never complete, so its
    /// end is this input too.
    ///
    /// [`ListError`]: crate::decode::ListError
    /// [`LineError`]: crate::decode::LineError
    Ended,
    /// An event or a list cannot be read: [`ListError::Malformed`], [`LineError::TooLong`] and
    /// [`BadEvent`].
    ///
    /// [`ListError::Malformed`]: crate::decode::ListError::Malformed
    /// [`LineError::TooLong`]: crate::decode::LineError::TooLong
    /// [`BadEvent`]: crate::decode::BadEvent
    Malformed,
}

/// What is to be done next. Of the actions of one step [`Action::Changed`] may come several times,
/// and at most one of [`Action::List`], [`Action::Watch`] and [`Action::Wait`].
#[derive(Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Send a LIST without a limit.
    List(ListFrom),
    /// Send a WATCH with `allowWatchBookmarks=true`.
    Watch {
        /// The version to go on from.
        resource_version: u64,
        /// When the server is to end the watch. The caller gives it up when nothing has been read
        /// for 15 s longer than this.
        timeout_seconds: u64,
    },
    /// Close the watch, of which nothing more is needed.
    Close,
    /// Do nothing before this moment, and then give [`Input::Due`].
    Wait(Moment),
    /// A record has changed; its key may belong into a work queue.
    Changed(Change<T>),
    /// The store is complete for the first time, or for the first time since
    /// [`Reflector::relist`].
    Synced,
}
