//! The cache of one kind of object: what a list and a watch have reported, and what our own writes
//! were answered with.
//!
//! The decisions are in `records`; this is the lock around them. Readers get `Arc`s and hold no
//! lock while they read.

mod index;
mod records;

pub use index::Index;
pub use records::{Change, Listing};

use std::sync::{Arc, Mutex};

use program::threads::lock;

use crate::decode::Trim;
use records::Records;

/// A store that threads share. The thread of the reflector writes what the server reports, and
/// workers write the responses to their own requests.
#[derive(Debug)]
pub struct Store<T: 'static>(Mutex<Records<T>>);

impl<T: Trim> Store<T> {
    /// An empty store with these indexes.
    #[must_use]
    pub fn new(indexes: &'static [Index<T>]) -> Store<T> {
        Store(Mutex::new(Records::new(indexes)))
    }

    /// The record of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        lock(&self.0).get(key)
    }

    /// The records that the index of this name files under `value`, in the order of their keys;
    /// none if there is no such index.
    #[must_use]
    pub fn find(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        lock(&self.0).find(index, value)
    }

    /// At most `count` keys that come after `last`, in order: a walk that holds the lock for a
    /// moment at a time, whose caller needs no copy of all keys.
    #[must_use]
    pub fn keys_after(&self, last: Option<&str>, count: usize) -> Vec<Arc<str>> {
        lock(&self.0).keys_after(last, count)
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the record in an ADDED or MODIFIED event.
    pub fn put(&self, record: T) -> Option<Change<T>> {
        lock(&self.0).put(record)
    }

    /// Takes the last state of an object in a DELETED event.
    pub fn remove(&self, record: &T) -> Option<Change<T>> {
        lock(&self.0).remove(record)
    }

    /// Notes that the watch has reported all up to this resourceVersion, as a bookmark says.
    pub fn reached(&self, resource_version: u64) {
        lock(&self.0).reached(resource_version);
    }

    /// Takes the object in the response to a write of our own, so that the next decision sees it
    /// before the watch reports it.
    ///
    /// The caller judges the change exactly as that of an event. The response also contains what
    /// others have changed before our write, such as a `deletionTimestamp`, and the events of those
    /// changes and of our own will then be no news: nothing else reports them. Dropping the change
    /// is therefore refused:
    ///
    /// ```compile_fail
    /// #![deny(unused_must_use)]
    /// fn drops<T: kube::decode::Trim>(store: &kube::store::Store<T>, record: T) {
    ///     store.put_written(record);
    /// }
    /// ```
    #[must_use = "nothing else reports what others changed before this write"]
    pub fn put_written(&self, record: T) -> Option<Change<T>> {
        lock(&self.0).put_written(record)
    }

    /// Begins a list. One that is not ended leaves no trace but for newer records.
    pub fn begin_list(&self, listing: Listing) {
        lock(&self.0).begin_list(listing);
    }

    /// Takes an item of the list.
    pub fn put_listed(&self, record: T) -> Option<Change<T>> {
        lock(&self.0).put_listed(record)
    }

    /// Ends a complete list of this resourceVersion, and removes what was not in it.
    pub fn end_list(&self, resource_version: u64) -> Vec<Change<T>> {
        lock(&self.0).end_list(resource_version)
    }
}
