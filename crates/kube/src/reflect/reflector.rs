//! The states of a reflector.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Backoff, Input, ListFrom};
use crate::decode::{Event, Status, Trim};
use crate::store::{Listing, Store};
use crate::time::{Jitter, Moment};

/// A watch that ends sooner than this and without an event has failed. Otherwise a server or a
/// proxy that ends each watch at once would be asked without a pause.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// The limit of the random delay before a watch follows one that ended. When an API server stops,
/// it ends all watches in the same moment
/// (<https://github.com/kubernetes/kubernetes/issues/86430>).
const RECONNECT_SPREAD: Duration = Duration::from_secs(1);

/// A watch lasts so many seconds and up to as many again at random, so that watches that began
/// together do not end together.
const WATCH_SECONDS: u64 = 300;

/// After so many watches in succession that failed without an event or a bookmark, a list comes
/// before the next one. client-go lists after each such failure but for a refused connection and
/// 429; a few watches more cost the server less than a list, and a version that the server cannot
/// serve does not come back without a limit.
const FAILED_WATCHES_MAX: u32 = 3;

/// Keeps one store up to date.
#[derive(Debug)]
pub struct Reflector<T: 'static> {
    store: Arc<Store<T>>,
    jitter: Jitter,
    backoff: Backoff,
    state: State,
    /// Since the last event, bookmark or complete list.
    failed_watches: u32,
    is_synced: bool,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    List(ListFrom),
    Watch(u64),
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Moment,
        next: Request,
    },
    Listing(ListFrom),
    Watching {
        /// The version to resume from: that of the last event or bookmark.
        version: u64,
        opened: Option<Moment>,
        has_event: bool,
    },
}

impl<T: Trim> Reflector<T> {
    /// A reflector that begins with a list as soon as it gets [`Input::Due`]. The store is a new one:
    /// the first list may show any state, also one older than that of a store which was used before.
    #[must_use]
    pub fn new(store: Arc<Store<T>>, jitter: Jitter) -> Reflector<T> {
        Reflector {
            store,
            jitter,
            backoff: Backoff::default(),
            state: State::Waiting {
                until: Moment::default(),
                next: Request::List(ListFrom::Any),
            },
            failed_watches: 0,
            is_synced: false,
        }
    }

    /// Begins again with a list of the latest state, after a time in which the store was not kept up
    /// to date, or before a replica that leads again acts. Until that list is complete, the store is
    /// not synced. The caller closes the request in flight and gives [`Input::Due`]; a delay that
    /// has not passed still counts.
    ///
    /// The list comes from etcd, because only then the writes of the last leader are certain to be
    /// in it. Few clients do this at a time, unlike after a restart of the API server.
    pub fn relist(&mut self) {
        let until = match self.state {
            State::Waiting { until, .. } => until,
            State::Listing(_) | State::Watching { .. } => Moment::default(),
        };
        let next = Request::List(ListFrom::Latest);
        self.state = State::Waiting { until, next };
        self.failed_watches = 0;
        self.is_synced = false;
    }

    /// Whether the store has been complete, once or since the last [`Reflector::relist`]. Before
    /// that, a key that is missing may be one that has not arrived.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Takes what has happened, changes the store, and says what to do. An input that does not
    /// belong to the request in flight changes nothing.
    pub fn step(&mut self, input: Input<T>, now: Moment) -> Vec<Action<T>> {
        match self.state {
            State::Waiting { until, next } => match input {
                Input::Due if now < until => vec![Action::Wait(until)],
                Input::Due => vec![self.send(next)],
                _ => Vec::new(),
            },
            State::Listing(from) => self.listing(from, input, now),
            State::Watching {
                version,
                opened,
                has_event,
            } => match input {
                Input::Open => {
                    self.state = State::Watching {
                        version,
                        opened: Some(now),
                        has_event,
                    };
                    Vec::new()
                }
                Input::Event(event) => self.event(version, opened, event, now),
                Input::Refused(status) => vec![self.watch_refused(version, &status, now)],
                Input::Ended => {
                    let has_failed = opened
                        .is_none_or(|opened| !has_event && now.since(opened) < SHORTEST_WATCH);
                    vec![if has_failed {
                        self.watch_failed(version, None, now)
                    } else {
                        let until = now + self.jitter.below(RECONNECT_SPREAD);
                        self.wait(Request::Watch(version), until)
                    }]
                }
                // The same line would come again and again if the watch were resumed. A list passes
                // over events, and a type that is unknown is one of an event.
                Input::Malformed => {
                    let list = Request::List(ListFrom::NotOlder(version));
                    vec![Action::Close, self.back_off(list, None, now)]
                }
                Input::Due | Input::Item(_) | Input::Listed(_) => Vec::new(),
            },
        }
    }

    fn listing(&mut self, from: ListFrom, input: Input<T>, now: Moment) -> Vec<Action<T>> {
        match input {
            Input::Item(record) => {
                let change = self.store.put_listed(record);
                change.map(Action::Changed).into_iter().collect()
            }
            Input::Listed(version) => {
                self.failed_watches = 0;
                let gone = self.store.end_list(version);
                let mut actions: Vec<Action<T>> = gone.into_iter().map(Action::Changed).collect();
                if !std::mem::replace(&mut self.is_synced, true) {
                    actions.push(Action::Synced);
                }
                actions.push(self.send(Request::Watch(version)));
                actions
            }
            // The server no longer has the version, or one server of several does not have it yet.
            // The latest is asked for at once, as in client-go, and only once without a delay.
            Input::Refused(status)
                if from != ListFrom::Latest
                    && (status.is_expired() || status.is_too_large_version) =>
            {
                vec![self.send(Request::List(ListFrom::Latest))]
            }
            Input::Refused(status) => {
                vec![self.back_off(Request::List(from), status.retry_after, now)]
            }
            Input::Ended | Input::Malformed => {
                vec![self.back_off(Request::List(from), None, now)]
            }
            Input::Due | Input::Open | Input::Event(_) => Vec::new(),
        }
    }

    /// An event from before the version of the watch is the sign that etcd was restored from a backup,
    /// because a server sends only later ones. What the store has from after that backup is gone, so
    /// a list of the latest state replaces it.
    fn event(
        &mut self,
        version: u64,
        opened: Option<Moment>,
        event: Event<T>,
        now: Moment,
    ) -> Vec<Action<T>> {
        let reported = match &event {
            Event::Added(record) | Event::Modified(record) | Event::Deleted(record) => {
                record.meta().resource_version()
            }
            Event::Bookmark(version) => *version,
            Event::Error(status) => {
                return vec![Action::Close, self.watch_refused(version, status, now)];
            }
        };
        if reported < version {
            let list = Request::List(ListFrom::Latest);
            return vec![Action::Close, self.back_off(list, None, now)];
        }
        let change = match event {
            Event::Added(record) | Event::Modified(record) => self.store.put(record),
            Event::Deleted(record) => self.store.remove(&record),
            Event::Bookmark(_) | Event::Error(_) => {
                self.store.reached(reported);
                None
            }
        };
        self.failed_watches = 0;
        self.state = State::Watching {
            version: reported,
            opened,
            has_event: true,
        };
        change.map(Action::Changed).into_iter().collect()
    }

    /// A refusal of a watch, in its response or as an event. One that concerns the moment (401, 403,
    /// 429, 5xx) leaves the version as it is; after any other the watch would be refused again, so a
    /// list comes before the next one. A server that has too many requests (429) gets no list, which
    /// is the larger request, however often it refuses.
    fn watch_refused(&mut self, version: u64, status: &Status, now: Moment) -> Action<T> {
        let keeps_version = !status.is_expired()
            && !status.is_too_large_version
            && matches!(status.code, 0 | 401 | 403 | 429 | 500..);
        if !keeps_version {
            let list = Request::List(ListFrom::NotOlder(version));
            self.back_off(list, status.retry_after, now)
        } else if status.code == 429 {
            self.back_off(Request::Watch(version), status.retry_after, now)
        } else {
            self.watch_failed(version, status.retry_after, now)
        }
    }

    fn watch_failed(
        &mut self,
        version: u64,
        retry_after: Option<Duration>,
        now: Moment,
    ) -> Action<T> {
        self.failed_watches = self.failed_watches.saturating_add(1);
        let next = if self.failed_watches < FAILED_WATCHES_MAX {
            Request::Watch(version)
        } else {
            Request::List(ListFrom::NotOlder(version))
        };
        self.back_off(next, retry_after, now)
    }

    fn back_off(&mut self, next: Request, retry_after: Option<Duration>, now: Moment) -> Action<T> {
        let until = self.backoff.failed(retry_after, &mut self.jitter, now);
        self.wait(next, until)
    }

    fn wait(&mut self, next: Request, until: Moment) -> Action<T> {
        self.state = State::Waiting { until, next };
        Action::Wait(until)
    }

    fn send(&mut self, request: Request) -> Action<T> {
        match request {
            Request::List(from) => {
                self.store.begin_list(match from {
                    ListFrom::Latest => Listing::Consistent,
                    ListFrom::Any | ListFrom::NotOlder(_) => Listing::Cached,
                });
                self.state = State::Listing(from);
                Action::List(from)
            }
            Request::Watch(version) => {
                self.state = State::Watching {
                    version,
                    opened: None,
                    has_event: false,
                };
                let spread = self.jitter.below(Duration::from_secs(WATCH_SECONDS));
                Action::Watch {
                    resource_version: version,
                    timeout_seconds: WATCH_SECONDS + spread.as_secs(),
                }
            }
        }
    }
}
