//! The work queue of a controller: [`State`] decides, and [`Queue`] lets threads wait for it.

mod figures;
mod state;

use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use figures::{BOUNDS, Figures, Histogram};
pub use state::{Backoff, Lane, State, Taken};

use crate::time::Moment;

/// The longest wait without a look at the clock. A condition variable waits by CLOCK_MONOTONIC,
/// which stands still while the machine is suspended, so after a resume a delay could be late by
/// the time of the suspend.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A [`State`] that many threads share: one lock, one condition variable for each kind of waiting
/// thread, and no thread of its own, because the workers that wait for a key wait for the next delay as well.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    /// The idle workers of one lane, of the other one, and of both. A change wakes one of each at
    /// most, because all of them would contend for the lock and for one key. A worker that was woken
    /// and leaves wakes the next one if there is more, and so at least one idle worker always waits
    /// no longer than the first delay.
    first: Condvar,
    second: Condvar,
    either: Condvar,
    /// The threads in [`Queue::wait_until_finished`].
    finished: Condvar,
    backoff: Backoff,
    clock: Box<dyn Fn() -> Moment + Send + Sync>,
}

/// What [`Queue::take`] waited for.
pub enum Work<'a, K: Clone + Ord> {
    /// A key for this worker alone.
    Key(InWork<'a, K>),
    /// Nothing became ready in time. A worker that ends now leaves the delays to the others, and
    /// the last one has to stay while [`Queue::next_due`] names a moment.
    Nothing,
    /// The queue was shut down, and the worker should end.
    ShutDown,
}

impl<K: Clone + Ord> Queue<K> {
    /// An empty queue that delays failed keys by `backoff` and reads the time from `clock`.
    pub fn new(backoff: Backoff, clock: impl Fn() -> Moment + Send + Sync + 'static) -> Queue<K> {
        Queue {
            state: Mutex::new(State::new()),
            first: Condvar::new(),
            second: Condvar::new(),
            either: Condvar::new(),
            finished: Condvar::new(),
            backoff,
            clock: Box::new(clock),
        }
    }

    /// [`State::add`], and wakes a worker.
    pub fn add(&self, key: &K, lane: Lane) {
        self.change(|state, now| state.add(key, lane, now));
    }

    /// [`State::add_after`], and lets the workers wait no longer than this delay.
    pub fn add_after(&self, key: &K, lane: Lane, delay: Duration) {
        self.change(|state, now| state.add_after(key, lane, delay, now));
    }

    /// [`State::forget`].
    pub fn forget(&self, key: &K) {
        self.lock().forget(key);
    }

    /// [`State::next_due`].
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.lock().next_due()
    }

    /// [`State::figures`].
    #[must_use]
    pub fn figures(&self) -> Figures {
        // The lock is taken before the clock is read, here and below. Otherwise the moments that
        // the state sees could go backwards.
        let mut state = self.lock();
        state.figures((self.clock)())
    }

    /// [`State::drain`], and wakes all workers.
    pub fn drain(&self) {
        self.change(|state, _| state.drain());
    }

    /// [`State::stop`], and wakes all workers.
    pub fn stop(&self) {
        self.change(|state, _| state.stop());
    }

    /// Takes the key that has been ready for longest, in one lane or in both, and waits for one
    /// for as long as `patience`.
    pub fn take(&self, lane: Option<Lane>, patience: Duration) -> Work<'_, K> {
        let mut state = self.lock();
        let mut now = (self.clock)();
        let end = now + patience;
        let idle = match lane {
            Some(Lane::First) => &self.first,
            Some(Lane::Second) => &self.second,
            None => &self.either,
        };
        let mut has_waited = false;
        loop {
            let taken = state.take(lane, now);
            self.wake_for_ready(&state);
            let leaves = !matches!(taken, Taken::Nothing(_)) || now >= end;
            if leaves && has_waited && state.next_due().is_some() {
                self.wake_one_of_each();
            }
            let due = match taken {
                Taken::Key(key) => {
                    return Work::Key(InWork {
                        queue: self,
                        key,
                        has_outcome: false,
                    });
                }
                Taken::ShutDown => return Work::ShutDown,
                Taken::Nothing(_) if leaves => return Work::Nothing,
                Taken::Nothing(due) => due,
            };
            let until = due.map_or(end, |due| due.min(end));
            state = wait(idle, state, until.since(now));
            now = (self.clock)();
            has_waited = true;
        }
    }

    /// Waits until a shutdown has come to its end, for as long as `patience`. Returns whether it
    /// has.
    pub fn wait_until_finished(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        let mut now = (self.clock)();
        let end = now + patience;
        while !state.is_finished() && now < end {
            state = wait(&self.finished, state, end.since(now));
            now = (self.clock)();
        }
        state.is_finished()
    }

    fn wake_one_of_each(&self) {
        for idle in [&self.first, &self.second, &self.either] {
            idle.notify_one();
        }
    }

    /// Wakes a worker for each lane that has a key. The end of a delay is noticed by any worker, also
    /// by one of the other lane.
    fn wake_for_ready(&self, state: &State<K>) {
        for (lane, idle) in [(Lane::First, &self.first), (Lane::Second, &self.second)] {
            if state.has_ready(lane) {
                idle.notify_one();
                self.either.notify_one();
            }
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State<K>, Moment) -> R) -> R {
        let mut state = self.lock();
        let due = state.next_due();
        let result = change(&mut state, (self.clock)());
        if !state.is_open() {
            for waiting in [&self.first, &self.second, &self.either, &self.finished] {
                waiting.notify_all();
            }
        } else if let Some(earlier) = state.next_due()
            && due.is_none_or(|due| earlier < due)
        {
            self.wake_one_of_each();
        }
        self.wake_for_ready(&state);
        result
    }

    /// A panic under the lock is a bug of this module. The state is used on, because a queue that
    /// stands still for good would be worse.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a, K>(
    waiting: &Condvar,
    state: MutexGuard<'a, State<K>>,
    limit: Duration,
) -> MutexGuard<'a, State<K>> {
    waiting
        .wait_timeout(state, limit.min(WAIT_MAX))
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// A key in work. The queue does not give it out again before this value is dropped. Work without
/// an outcome counts as failed, because a worker that panics drops its key as well, and only a retry
/// brings that key back before the next event about its object.
#[must_use = "a key without an outcome is retried"]
pub struct InWork<'a, K: Clone + Ord> {
    queue: &'a Queue<K>,
    key: K,
    has_outcome: bool,
}

impl<K: Clone + Ord> InWork<'_, K> {
    /// The work failed: [`State::retry`].
    #[must_use = "the delay belongs into the log line of the failure"]
    pub fn retry(mut self) -> Duration {
        self.has_outcome = true;
        let backoff = self.queue.backoff;
        self.queue
            .change(|state, now| state.retry(&self.key, backoff, now))
    }

    /// The work succeeded: [`State::forget`].
    pub fn succeed(mut self) {
        self.has_outcome = true;
        self.queue.forget(&self.key);
    }
}

impl<K: Clone + Ord> Deref for InWork<'_, K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Ord> Drop for InWork<'_, K> {
    fn drop(&mut self) {
        self.queue.change(|state, now| {
            if !self.has_outcome {
                state.retry(&self.key, self.queue.backoff, now);
            }
            state.done(&self.key, now);
        });
    }
}
