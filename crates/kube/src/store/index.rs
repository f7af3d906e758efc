//! Secondary indexes: records by a text that they contain, so that no decision walks all records.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::decode::Trim;

/// An index: its name, and the text under which it files a record, or `None` to leave it out.
pub struct Index<T> {
    /// The name to look it up by.
    pub name: &'static str,
    /// Must depend on the record alone.
    pub value: fn(&T) -> Option<&str>,
}

impl<T> fmt::Debug for Index<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Index").field(&self.name).finish()
    }
}

/// The hash of a value and the key of a record.
///
/// A hash and not the value, because the record has the value already, and a copy of it would be
/// the largest part of an entry. Ordered pairs and not a map of sets, because most values have one
/// record (a volume has one attachment), and a set for each would be larger still.
type Entry = (u64, Arc<str>);

/// All indexes of a store.
#[derive(Debug)]
pub struct Indexes<T: 'static> {
    filed: Box<[(&'static Index<T>, BTreeSet<Entry>)]>,
    hasher: RandomState,
}

impl<T: Trim> Indexes<T> {
    pub fn new(indexes: &'static [Index<T>]) -> Indexes<T> {
        Indexes {
            filed: indexes
                .iter()
                .map(|index| (index, BTreeSet::new()))
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// Files `after` in place of `before`, both of one key.
    pub fn replace(&mut self, before: Option<&T>, after: Option<&T>) {
        for (index, entries) in &mut self.filed {
            let entry = |record: &T| {
                let hash = self.hasher.hash_one((index.value)(record)?);
                Some((hash, Arc::clone(record.meta().key())))
            };
            let old = before.and_then(entry);
            let new = after.and_then(entry);
            if old != new
                && let Some(old) = old
            {
                entries.remove(&old);
            }
            if let Some(new) = new {
                // Unlike `insert`, this also takes over the copy of the key in the new record.
                entries.replace(new);
            }
        }
    }

    /// The records that the index of this name files under `value`, in the order of their keys;
    /// `get` gives the record of a key.
    pub fn find(
        &self,
        name: &str,
        value: &str,
        get: impl Fn(&str) -> Option<Arc<T>>,
    ) -> Vec<Arc<T>> {
        let mut filed = self.filed.iter();
        let Some((index, entries)) = filed.find(|(index, _)| index.name == name) else {
            return Vec::new();
        };
        let hash = self.hasher.hash_one(value);
        // No key is smaller than the empty one.
        entries
            .range((hash, Arc::from(""))..)
            .take_while(|entry| entry.0 == hash)
            .filter_map(|entry| get(&entry.1))
            .filter(|record| (index.value)(record) == Some(value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Interner, Meta};

    impl Trim for (Meta, Option<&'static str>) {
        type Object = ();

        fn trim((): (), _: &Interner) -> Self {
            (Meta::new("", "k", "u".into(), 1), None)
        }

        fn meta(&self) -> &Meta {
            &self.0
        }
    }

    static INDEXES: [Index<(Meta, Option<&'static str>)>; 1] = [Index {
        name: "value",
        value: |record| record.1,
    }];

    #[test]
    fn a_value_that_is_no_longer_there_leaves_no_entry() {
        let mut indexes = Indexes::new(&INDEXES);
        let record = |version, value| (Meta::new("", "k", "u".into(), version), value);
        let steps = [
            (Some(record(1, Some("a"))), 1),
            (Some(record(2, Some("a"))), 1),
            (Some(record(3, Some("b"))), 1),
            (Some(record(4, None)), 0),
            (Some(record(5, Some("a"))), 1),
            (None, 0),
        ];
        let mut before = None;
        for (after, count) in steps {
            indexes.replace(before.as_ref(), after.as_ref());
            assert_eq!(indexes.filed[0].1.len(), count);
            if let Some(after) = &after {
                // The copy of the key is that of the record which is kept.
                let mut keys = indexes.filed[0].1.iter().map(|entry| &entry.1);
                assert!(keys.all(|key| Arc::ptr_eq(key, after.0.key())));
            }
            before = after;
        }
    }
}
