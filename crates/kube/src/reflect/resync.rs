//! Queues every object again from time to time, so that a decision that went wrong is made again.
//!
//! It is apart from the reflector, whose thread waits in a read of the watch: any thread that has
//! the store can carry it out, such as one that waits for delayed keys anyway.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::Trim;
use crate::store::Store;
use crate::time::Moment;

/// The shortest time between two calls: with more objects than the interval has seconds, several
/// come at once.
const SHORTEST: Duration = Duration::from_secs(1);

/// Spreads the keys of a store over an interval, again and again. client-go queues all of them at
/// once, which fills the work queue for as long as the slowest driver takes.
#[derive(Debug)]
pub struct Resync {
    interval: Duration,
    began: Moment,
    last: Option<Arc<str>>,
    sent: usize,
}

impl Resync {
    /// Begins at `now`, which is after the first complete list. `None` for an interval of zero,
    /// which means no resync.
    #[must_use]
    pub fn new(interval: Duration, now: Moment) -> Option<Resync> {
        (!interval.is_zero()).then_some(Resync {
            interval,
            began: now,
            last: None,
            sent: 0,
        })
    }

    /// The keys that are due, and when to ask again. Of a key that stays in the store, two calls
    /// that return it are at most two intervals apart, if no call is late.
    pub fn due<T: Trim>(&mut self, store: &Store<T>, now: Moment) -> (Vec<Arc<str>>, Moment) {
        let elapsed = now.since(self.began);
        let count = store.len();
        if elapsed >= self.interval {
            // Keys that came in during the round go with the last ones. After a suspend there is
            // one round and not all that were missed.
            let keys = store.keys_after(self.last.as_deref(), usize::MAX);
            self.began = now;
            self.last = None;
            self.sent = 0;
            return (keys, now + self.pause(count));
        }
        let share = |count: usize| {
            let nanoseconds = u128::try_from(count)
                .ok()?
                .checked_mul(elapsed.as_nanos())?;
            usize::try_from(nanoseconds / self.interval.as_nanos()).ok()
        };
        let target = share(count).unwrap_or(count);
        let keys = store.keys_after(self.last.as_deref(), target.saturating_sub(self.sent));
        self.sent = self.sent.max(target);
        if let Some(last) = keys.last() {
            self.last = Some(Arc::clone(last));
        }
        let next = now + self.pause(count);
        (keys, next.min(self.began + self.interval))
    }

    fn pause(&self, count: usize) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        (self.interval / count).max(SHORTEST).min(self.interval)
    }
}
