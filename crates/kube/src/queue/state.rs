//! The work queue's decisions, without a lock and without a clock.
//!
//! The semantics are those of client-go's `util/workqueue` (`queue.go`, `delaying_queue.go`,
//! `default_rate_limiters.go`): a key is queued once however often it is added, no two workers
//! have it at once, and what is added while a worker has it comes once more afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::Figures;
use crate::time::Moment;

/// One of two kinds of work that must not hold each other back. A worker can ask for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The attacher's attaches, and everything of a controller that has one kind of work.
    First,
    /// The attacher's detaches.
    Second,
}

/// How long a failed key has to wait.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The delay after the first failure.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay after so many failures in a row before this one: `base`, doubled for each, and
    /// `max` at most.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }
}

/// What the queue has for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<K> {
    /// This key is in work until [`State::done`].
    Key(K),
    /// Nothing is ready. The first delay ends at the given moment, if there is one.
    Nothing(Option<Moment>),
    /// Nothing will come any more.
    ShutDown,
}

/// A place in an order by time. The number keeps the order of what comes at the same moment.
type Place = (Moment, u64);

struct Entry {
    lane: Lane,
    ready: Option<Place>,
    delayed: Option<Place>,
    in_work: Option<Moment>,
    /// The add that the next worker answers. It is older than `ready` if the key was in work.
    added: Option<Moment>,
    failures: u32,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.added.is_none()
            && self.delayed.is_none()
            && self.in_work.is_none()
            && self.failures == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Stopped,
}

/// A work queue of keys. Each method takes the current moment, and moments must not go backwards.
pub struct State<K> {
    entries: BTreeMap<K, Entry>,
    first: BTreeMap<Place, K>,
    second: BTreeMap<Place, K>,
    /// Not a heap, because an earlier delay replaces a later one of the same key, which a heap
    /// could do only by keeping both.
    delayed: BTreeMap<Place, K>,
    places: u64,
    phase: Phase,
    in_work: usize,
    figures: Figures,
}

impl<K: Clone + Ord> Default for State<K> {
    fn default() -> State<K> {
        State::new()
    }
}

impl<K: Clone + Ord> State<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> State<K> {
        State {
            entries: BTreeMap::new(),
            first: BTreeMap::new(),
            second: BTreeMap::new(),
            delayed: BTreeMap::new(),
            places: 0,
            phase: Phase::Open,
            in_work: 0,
            figures: Figures::default(),
        }
    }

    /// Queues a key, behind all that are ready. A key that is queued already keeps its place but
    /// goes over to this lane; one that is in work comes once more after [`State::done`]. A delay
    /// of the key goes on. After a shutdown nothing is added.
    pub fn add(&mut self, key: &K, lane: Lane, now: Moment) {
        self.promote(now);
        self.add_ready(key, lane, now);
    }

    /// Adds a key after a delay. Of two delays of a key the one that ends earlier stays.
    pub fn add_after(&mut self, key: &K, lane: Lane, delay: Duration, now: Moment) {
        self.promote(now);
        if self.phase != Phase::Open {
            return;
        }
        self.figures.retries += 1;
        if delay.is_zero() {
            return self.add_ready(key, lane, now);
        }
        let place = (now + delay, self.next_place());
        let entry = self.entry(key, lane);
        if entry.delayed.is_some_and(|earlier| earlier < place) {
            return;
        }
        if let Some(later) = entry.delayed.replace(place) {
            self.delayed.remove(&later);
        }
        self.delayed.insert(place, key.clone());
    }

    /// Counts a failure of a key and adds it again after the delay that follows from its failures
    /// in a row. Returns the delay. The key stays in its lane, because the worker that failed does
    /// not know whether an event moved it to the other one meanwhile.
    pub fn retry(&mut self, key: &K, backoff: Backoff, now: Moment) -> Duration {
        let delay = backoff.delay(self.failures(key));
        let lane = self
            .entries
            .get(key)
            .map_or(Lane::First, |entry| entry.lane);
        if self.phase == Phase::Open {
            let entry = self.entry(key, lane);
            entry.failures = entry.failures.saturating_add(1);
            self.add_after(key, lane, delay, now);
        }
        delay
    }

    /// Sets the failures of a key to zero: after a success, when its goal has changed, and when
    /// its object is gone. A delay of the key goes on, as in client-go.
    pub fn forget(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.failures = 0;
            self.drop_if_empty(key);
        }
    }

    /// The failures of a key in a row.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// Gives out the key that has been ready for longest, in one lane or in both.
    pub fn take(&mut self, lane: Option<Lane>, now: Moment) -> Taken<K> {
        self.promote(now);
        let nothing_follows = match self.phase {
            Phase::Open => false,
            // A key in work may come once more.
            Phase::Draining => self.figures.depth == 0,
            Phase::Stopped => true,
        };
        if nothing_follows {
            return Taken::ShutDown;
        }
        let lane = lane.unwrap_or_else(|| self.longest_ready());
        let Some((_, key)) = self.ready(lane).pop_first() else {
            return Taken::Nothing(self.next_due());
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ready = None;
            entry.in_work = Some(now);
            if let Some(added) = entry.added.take() {
                self.figures.waited.observe(now.since(added));
            }
            self.figures.depth -= 1;
            self.in_work += 1;
        }
        Taken::Key(key)
    }

    /// A worker is done with a key. For a key that is not in work nothing happens.
    pub fn done(&mut self, key: &K, now: Moment) {
        self.promote(now);
        let place = (now, self.next_place());
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Some(began) = entry.in_work.take() else {
            return;
        };
        self.in_work -= 1;
        self.figures.worked.observe(now.since(began));
        if entry.added.is_some() {
            entry.ready = Some(place);
            let lane = entry.lane;
            self.ready(lane).insert(place, key.clone());
        }
        self.drop_if_empty(key);
    }

    /// Accepts nothing more and drops all delays. Keys that are ready are still given out, and
    /// so are those that were added while they were in work: client-go's `ShutDownWithDrain`.
    pub fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
            self.clear_delays();
        }
    }

    /// Accepts nothing more and gives nothing more out. What waits is dropped: an object in the
    /// API server brings it back after the next start.
    pub fn stop(&mut self) {
        self.phase = Phase::Stopped;
        self.clear_delays();
        self.first.clear();
        self.second.clear();
        self.figures.depth = 0;
        self.entries.retain(|_, entry| {
            entry.ready = None;
            entry.added = None;
            !entry.is_empty()
        });
    }

    /// Whether a shutdown has come to its end: no key is in work, and none will be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase != Phase::Open && self.in_work == 0 && self.figures.depth == 0
    }

    /// Whether keys are still accepted.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a key of this lane waits for a worker.
    pub(super) fn has_ready(&self, lane: Lane) -> bool {
        match lane {
            Lane::First => !self.first.is_empty(),
            Lane::Second => !self.second.is_empty(),
        }
    }

    /// The moment at which the first delay ends.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// The numbers at this moment.
    #[must_use]
    pub fn figures(&mut self, now: Moment) -> Figures {
        self.promote(now);
        let running = self.entries.values().filter_map(|entry| entry.in_work);
        let running = running.map(|began| now.since(began));
        let oldest = [&self.first, &self.second].into_iter();
        let oldest = oldest.filter_map(|lane| lane.first_key_value());
        Figures {
            unfinished: running
                .clone()
                .fold(Duration::ZERO, Duration::saturating_add),
            longest_running: running.max().unwrap_or_default(),
            in_work: self.in_work,
            delayed: self.delayed.len(),
            oldest: oldest
                .map(|((since, _), _)| now.since(*since))
                .max()
                .unwrap_or_default(),
            ..self.figures.clone()
        }
    }

    /// Adds the keys whose delay has ended, each as of the moment at which it ended.
    fn promote(&mut self, now: Moment) {
        while let Some(first) = self.delayed.first_entry() {
            let (due, _) = *first.key();
            if due > now {
                return;
            }
            let key = first.remove();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.delayed = None;
                let lane = entry.lane;
                self.add_ready(&key, lane, due);
            }
        }
    }

    fn add_ready(&mut self, key: &K, lane: Lane, since: Moment) {
        if self.phase != Phase::Open {
            return;
        }
        let place = (since, self.next_place());
        let entry = self.entry(key, lane);
        let is_new = entry.added.is_none();
        entry.added.get_or_insert(since);
        if is_new && entry.in_work.is_none() {
            entry.ready = Some(place);
            self.ready(lane).insert(place, key.clone());
        }
        if is_new {
            self.figures.adds += 1;
            self.figures.depth += 1;
        }
    }

    /// The entry of a key, which goes over to this lane.
    fn entry(&mut self, key: &K, lane: Lane) -> &mut Entry {
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            lane,
            ready: None,
            delayed: None,
            in_work: None,
            added: None,
            failures: 0,
        });
        if entry.lane != lane {
            entry.lane = lane;
            if let Some(place) = entry.ready {
                let (from, to) = match lane {
                    Lane::First => (&mut self.second, &mut self.first),
                    Lane::Second => (&mut self.first, &mut self.second),
                };
                to.extend(from.remove(&place).map(|key| (place, key)));
            }
        }
        entry
    }

    fn ready(&mut self, lane: Lane) -> &mut BTreeMap<Place, K> {
        match lane {
            Lane::First => &mut self.first,
            Lane::Second => &mut self.second,
        }
    }

    /// The lane whose first key has been ready for longer.
    fn longest_ready(&self) -> Lane {
        match (self.first.first_key_value(), self.second.first_key_value()) {
            (Some((first, _)), Some((second, _))) if second < first => Lane::Second,
            (None, Some(_)) => Lane::Second,
            _ => Lane::First,
        }
    }

    fn next_place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }

    fn clear_delays(&mut self) {
        for key in std::mem::take(&mut self.delayed).into_values() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.delayed = None;
                self.drop_if_empty(&key);
            }
        }
    }

    fn drop_if_empty(&mut self, key: &K) {
        if self.entries.get(key).is_some_and(Entry::is_empty) {
            self.entries.remove(key);
        }
    }
}
