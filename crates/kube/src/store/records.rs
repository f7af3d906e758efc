//! Which record stands for an object, decided by resourceVersions.
//!
//! A list marks what it contains and sweeps what it does not, in place. client-go and kube-rs build
//! a second map beside the first, which doubles the memory during each list
//! (<https://github.com/kube-rs/kube/issues/1209>).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::index::{Index, Indexes};
use crate::decode::Trim;

/// A change of one record, for the decision whether its key goes into a work queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The key is new.
    Added(Arc<T>),
    /// Another record has the key.
    Updated {
        /// The record until now. If its uid differs from that of `after`, the object was deleted
        /// and created again, and the deletion was not reported.
        before: Arc<T>,
        /// The record from now on.
        after: Arc<T>,
    },
    /// The object is gone; this is its last known record.
    Removed(Arc<T>),
}

impl<T: Trim> Change<T> {
    /// The key of the object.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        let (Change::Added(record)
        | Change::Updated { after: record, .. }
        | Change::Removed(record)) = self;
        record.meta().key()
    }

    /// The record until now.
    #[must_use]
    pub fn before(&self) -> Option<&T> {
        match self {
            Change::Added(_) => None,
            Change::Updated { before, .. } | Change::Removed(before) => Some(before),
        }
    }

    /// The record from now on.
    #[must_use]
    pub fn after(&self) -> Option<&T> {
        match self {
            Change::Added(after) | Change::Updated { after, .. } => Some(after),
            Change::Removed(_) => None,
        }
    }
}

/// What a list may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// It comes from the cache of an API server, and may be older than what is known: records that
    /// are newer than the list stay.
    Cached,
    /// It comes from etcd, and is newer than all that was known when it began. It overrules larger
    /// resourceVersions too, which remain after etcd was restored from a backup.
    Consistent,
}

#[derive(Debug)]
struct Slot<T> {
    record: Arc<T>,
    /// The list during which, or after which, the record came.
    entered: u32,
    /// The last list that contained it.
    marked: u32,
}

/// The records by key. The map is ordered, because a resync walks it in pieces.
#[derive(Debug)]
pub struct Records<T: 'static> {
    slots: BTreeMap<Arc<str>, Slot<T>>,
    indexes: Indexes<T>,
    /// Counts the lists.
    generation: u32,
    listing: Listing,
    /// Up to where the server has reported all changes. Only a list can lower it.
    reached: u64,
}

impl<T: Trim> Records<T> {
    pub fn new(indexes: &'static [Index<T>]) -> Records<T> {
        Records {
            slots: BTreeMap::new(),
            indexes: Indexes::new(indexes),
            generation: 0,
            listing: Listing::Cached,
            reached: 0,
        }
    }

    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.slots.get(key).map(|slot| Arc::clone(&slot.record))
    }

    pub fn find(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        self.indexes.find(index, value, |key| self.get(key))
    }

    pub fn keys_after(&self, last: Option<&str>, count: usize) -> Vec<Arc<str>> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots
            .range::<str, _>((start, Bound::Unbounded))
            .take(count)
            .map(|(key, _)| Arc::clone(key))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The version alone decides, also between two uids. A watch reports in order, but the response
    /// to a write of our own may be ahead of it: then a late event of the earlier object must not
    /// replace its successor.
    pub fn put(&mut self, record: T) -> Option<Change<T>> {
        let meta = record.meta();
        self.reached = self.reached.max(meta.resource_version());
        let is_newer = self
            .slots
            .get(meta.key())
            .is_none_or(|slot| slot.record.meta().resource_version() < meta.resource_version());
        is_newer.then(|| self.enter(record))
    }

    /// A repeated DELETED event of an earlier object must not remove its successor.
    pub fn remove(&mut self, record: &T) -> Option<Change<T>> {
        let meta = record.meta();
        self.reached = self.reached.max(meta.resource_version());
        let known = self.slots.get(meta.key())?.record.meta();
        let is_gone =
            known.uid() == meta.uid() || known.resource_version() < meta.resource_version();
        is_gone.then(|| self.leave(meta.key())).flatten()
    }

    pub fn reached(&mut self, resource_version: u64) {
        self.reached = self.reached.max(resource_version);
    }

    /// A response may come after the watch has reported later changes. So it enters only if it is
    /// newer than the record; and where there is none, only if it is newer than all that was
    /// reported, because otherwise the object is known to be deleted. Another uid is no exception
    /// here: the response of a write to the earlier object may come late.
    pub fn put_written(&mut self, record: T) -> Option<Change<T>> {
        let meta = record.meta();
        let known = self
            .slots
            .get(meta.key())
            .map_or(self.reached, |slot| slot.record.meta().resource_version());
        (meta.resource_version() > known).then(|| self.enter(record))
    }

    pub fn begin_list(&mut self, listing: Listing) {
        // With a list each second the numbers last for 136 years.
        self.generation = self.generation.saturating_add(1);
        self.listing = listing;
    }

    pub fn put_listed(&mut self, record: T) -> Option<Change<T>> {
        let generation = self.generation;
        let meta = record.meta();
        let change = match self.slots.get(meta.key()) {
            None => true,
            Some(slot) => {
                let known = slot.record.meta().resource_version();
                if self.listing == Listing::Consistent && slot.entered < generation {
                    known != meta.resource_version()
                } else {
                    known < meta.resource_version()
                }
            }
        };
        let key = Arc::clone(meta.key());
        let change = change.then(|| self.enter(record));
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.marked = generation;
        }
        change
    }

    /// A record that was not in the list is gone, unless it is newer than the list: then the watch
    /// that follows reports it again. A consistent list is newer than all that came before it.
    pub fn end_list(&mut self, resource_version: u64) -> Vec<Change<T>> {
        self.reached = resource_version;
        let gone: Vec<Arc<str>> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                slot.marked != self.generation
                    && (slot.record.meta().resource_version() <= resource_version
                        || self.listing == Listing::Consistent && slot.entered < self.generation)
            })
            .map(|(key, _)| Arc::clone(key))
            .collect();
        gone.iter().filter_map(|key| self.leave(key)).collect()
    }

    fn enter(&mut self, record: T) -> Change<T> {
        let after = Arc::new(record);
        let slot = Slot {
            record: Arc::clone(&after),
            entered: self.generation,
            marked: 0,
        };
        // The map gets the new record's copy of the key. It would keep the first record's if the
        // value alone were replaced, and then each key would be there twice.
        let key = after.meta().key();
        let before = self.slots.remove(key).map(|slot| slot.record);
        self.slots.insert(Arc::clone(key), slot);
        self.indexes.replace(before.as_deref(), Some(&after));
        match before {
            None => Change::Added(after),
            Some(before) => Change::Updated { before, after },
        }
    }

    fn leave(&mut self, key: &str) -> Option<Change<T>> {
        let before = self.slots.remove(key)?.record;
        self.indexes.replace(Some(&before), None);
        Some(Change::Removed(before))
    }
}
