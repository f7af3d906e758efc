//! The store against a model that keeps plain maps and walks them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::decode::{Interner, Meta, Trim};
use kube::store::{Change, Index, Listing, Store};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[derive(Clone, Debug, PartialEq)]
struct Record {
    meta: Meta,
    color: Option<String>,
}

impl Trim for Record {
    type Object = ();

    fn trim((): (), _: &Interner) -> Record {
        record(0, 0, 0)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

static INDEXES: [Index<Record>; 2] = [
    Index {
        name: "color",
        value: |record| record.color.as_deref(),
    },
    Index {
        name: "uid",
        value: |record| Some(record.meta.uid()),
    },
];

/// What a record says depends on its version, so records of one version are equal.
fn record(key: u8, uid: u8, version: u64) -> Record {
    Record {
        meta: Meta::new("", &format!("k{key}"), uid.to_string().into(), version),
        color: (!version.is_multiple_of(4)).then(|| format!("c{}", version % 3)),
    }
}

fn contents(store: &Store<Record>) -> BTreeMap<String, Record> {
    let keys = store.keys_after(None, usize::MAX);
    assert_eq!(keys.len(), store.len());
    keys.iter()
        .map(|key| (key.to_string(), (*store.get(key).unwrap()).clone()))
        .collect()
}

fn check_indexes(store: &Store<Record>) {
    let all = contents(store);
    let colors = [Some("c0"), Some("c1"), Some("c2"), Some("none")];
    for color in colors {
        let found: Vec<Record> = store
            .find("color", color.unwrap())
            .iter()
            .map(|record| (**record).clone())
            .collect();
        let scanned: Vec<Record> = all
            .values()
            .filter(|record| record.color.as_deref() == color)
            .cloned()
            .collect();
        assert_eq!(found, scanned);
    }
    for record in all.values() {
        let found = store.find("uid", record.meta.uid());
        assert!(found.iter().any(|other| **other == *record));
    }
    assert!(store.find("no such index", "c0").is_empty());
}

/// Checks that a change says truly how the store went from `before` to `after`.
fn check_change(
    change: Option<&Change<Record>>,
    before: &BTreeMap<String, Record>,
    after: &BTreeMap<String, Record>,
) {
    let Some(change) = change else {
        assert_eq!(before, after);
        return;
    };
    let key: &str = change.key();
    assert_eq!(change.before(), before.get(key));
    assert_eq!(change.after(), after.get(key));
    assert_ne!(before, after);
    let mut undone = after.clone();
    undone.remove(key);
    undone.extend(
        before
            .get_key_value(key)
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    assert_eq!(&undone, before);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, u64),
    Remove(u8, u8, u64),
    Written(u8, u8, u64),
    Bookmark(u64),
    List(bool, Vec<(u8, u8, u64)>, Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let record = || (0_u8..4, 0_u8..3, 1_u64..20);
    prop_oneof![
        4 => record().prop_map(|(key, uid, version)| Step::Put(key, uid, version)),
        2 => record().prop_map(|(key, uid, version)| Step::Remove(key, uid, version)),
        3 => record().prop_map(|(key, uid, version)| Step::Written(key, uid, version)),
        1 => (1_u64..20).prop_map(Step::Bookmark),
        1 => (any::<bool>(), prop::collection::vec(record(), 0..6), prop::option::of(1_u64..20))
            .prop_map(|(consistent, items, end)| Step::List(consistent, items, end)),
    ]
}

/// The rules, written down over a map of (uid, version) without marks, indexes or generations.
#[derive(Default)]
struct Model {
    records: BTreeMap<u8, (u8, u64)>,
    reached: u64,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Put(key, uid, version) => {
                self.reached = self.reached.max(version);
                match self.records.get(&key) {
                    Some(&(_, at)) if at >= version => {}
                    _ => drop(self.records.insert(key, (uid, version))),
                }
            }
            Step::Remove(key, uid, version) => {
                self.reached = self.reached.max(version);
                self.records
                    .retain(|&k, &mut (known, at)| k != key || known != uid && at >= version);
            }
            Step::Written(key, uid, version) => {
                if version > self.records.get(&key).map_or(self.reached, |known| known.1) {
                    self.records.insert(key, (uid, version));
                }
            }
            Step::Bookmark(version) => self.reached = self.reached.max(version),
            Step::List(consistent, ref items, end) => {
                for &(key, uid, version) in items {
                    let known = self.records.get(&key).copied();
                    if known.is_none_or(|(_, at)| at < version || consistent && at != version) {
                        self.records.insert(key, (uid, version));
                    }
                }
                if let Some(end) = end {
                    self.reached = end;
                    self.records.retain(|key, &mut (_, at)| {
                        items.iter().any(|item| item.0 == *key) || (!consistent && at > end)
                    });
                }
            }
        }
    }
}

/// The same cases in each run, and no file of failures: a failure repeats by itself.
fn fixed() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(2_026),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn any_order_of_events_writes_and_lists_is_as_in_the_model(
        steps in prop::collection::vec(step(), 0..40)
    ) {
        let store = Store::new(&INDEXES);
        let mut model = Model::default();
        for step in steps {
            // A list names each key once.
            let step = match step {
                Step::List(consistent, items, end) => {
                    let items: BTreeMap<u8, (u8, u8, u64)> =
                        items.into_iter().map(|item| (item.0, item)).collect();
                    Step::List(consistent, items.into_values().collect(), end)
                }
                step => step,
            };
            let before = contents(&store);
            match step {
                Step::Put(key, uid, version) => {
                    let change = store.put(record(key, uid, version));
                    check_change(change.as_ref(), &before, &contents(&store));
                }
                Step::Remove(key, uid, version) => {
                    let change = store.remove(&record(key, uid, version));
                    check_change(change.as_ref(), &before, &contents(&store));
                }
                Step::Written(key, uid, version) => {
                    let change = store.put_written(record(key, uid, version));
                    check_change(change.as_ref(), &before, &contents(&store));
                }
                Step::Bookmark(version) => store.reached(version),
                Step::List(consistent, ref items, end) => {
                    store.begin_list(if consistent { Listing::Consistent } else { Listing::Cached });
                    for &(key, uid, version) in items {
                        let before = contents(&store);
                        let change = store.put_listed(record(key, uid, version));
                        check_change(change.as_ref(), &before, &contents(&store));
                    }
                    if let Some(end) = end {
                        let before = contents(&store);
                        let gone = store.end_list(end);
                        let after = contents(&store);
                        prop_assert_eq!(before.len(), after.len() + gone.len());
                        for change in gone {
                            let key = change.key().to_string();
                            prop_assert!(change.after().is_none());
                            prop_assert_eq!(change.before(), before.get(&key));
                            prop_assert!(!after.contains_key(&key));
                        }
                    }
                }
            }
            model.apply(&step);
            let expected: BTreeMap<String, Record> = model.records.iter()
                .map(|(&key, &(uid, version))| (format!("k{key}"), record(key, uid, version)))
                .collect();
            prop_assert_eq!(contents(&store), expected, "{:?}", step);
            check_indexes(&store);
        }
    }
}

/// A server's history: at each version one key is written or deleted.
struct History(Vec<(u8, Option<u8>)>);

impl History {
    /// `changes` are (key, delete); the uid of an object is the version that created it.
    fn new(changes: &[(u8, bool)]) -> History {
        let mut alive = BTreeMap::new();
        let mut log = Vec::new();
        for (version, &(key, delete)) in (1_u8..).zip(changes) {
            if delete {
                let uid = alive.remove(&key);
                log.push(uid.map_or((key, None), |_| (key, None)));
            } else {
                let uid = *alive.entry(key).or_insert(version);
                log.push((key, Some(uid)));
            }
        }
        History(log)
    }

    fn at(&self, version: usize) -> BTreeMap<String, Record> {
        let mut state = BTreeMap::new();
        for (number, &(key, uid)) in (1..).zip(&self.0[..version]) {
            match uid {
                Some(uid) => drop(state.insert(format!("k{key}"), record(key, uid, number))),
                None => drop(state.remove(&format!("k{key}"))),
            }
        }
        state
    }

    /// Reports the change of this version, as a watch does.
    fn watch(&self, store: &Store<Record>, version: usize) {
        let (key, uid) = self.0[version - 1];
        let number = u64::try_from(version).unwrap();
        if let Some(uid) = uid {
            store.put(record(key, uid, number));
        } else if let Some(last) = self.at(version - 1).remove(&format!("k{key}")) {
            let uid = last.meta.uid().parse().unwrap();
            store.remove(&record(key, uid, number));
        } else {
            store.reached(number);
        }
    }
}

#[derive(Clone, Debug)]
enum Fault {
    /// Watches so many versions on from the last one.
    Watch(usize),
    /// Goes back so many versions: events come again.
    Again(usize),
    /// The response of a write at this version arrives now.
    Written(prop::sample::Index),
    /// A list at a version so far back, ended or not, with a response that arrives in its midst.
    List(usize, bool, prop::sample::Index),
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn after_any_faults_a_list_and_the_watch_give_what_the_server_has(
        changes in prop::collection::vec((0_u8..4, prop::bool::weighted(0.3)), 1..60),
        faults in prop::collection::vec(prop_oneof![
            4 => (1_usize..8).prop_map(Fault::Watch),
            1 => (1_usize..8).prop_map(Fault::Again),
            3 => any::<prop::sample::Index>().prop_map(Fault::Written),
            2 => (0_usize..9, any::<bool>(), any::<prop::sample::Index>())
                .prop_map(|(back, ended, write)| Fault::List(back, ended, write)),
        ], 0..30),
        consistent: bool,
    ) {
        let history = History::new(&changes);
        let head = changes.len();
        let store = Store::new(&INDEXES);
        let written = |index: &prop::sample::Index, upto: usize| {
            // A response is of a version that the server has reached.
            let version = index.index(upto.max(1)) + 1;
            if let (key, Some(uid)) = history.0[version - 1] {
                let record = record(key, uid, u64::try_from(version).unwrap());
                let _ = store.put_written(record);
            }
        };
        let list = |version: usize, consistent, ended, write: Option<&prop::sample::Index>| {
            store.begin_list(if consistent { Listing::Consistent } else { Listing::Cached });
            let state = history.at(version);
            for (number, record) in state.into_values().enumerate() {
                if number == 1 && let Some(write) = write {
                    written(write, head);
                }
                store.put_listed(record);
            }
            if ended {
                store.end_list(u64::try_from(version).unwrap());
            }
        };
        let mut position = 0;
        for fault in &faults {
            match fault {
                Fault::Watch(count) => {
                    for version in position + 1..=(position + count).min(head) {
                        history.watch(&store, version);
                        position = version;
                    }
                }
                Fault::Again(count) => position = position.saturating_sub(*count),
                Fault::Written(index) => written(index, head),
                Fault::List(back, ended, write) => {
                    let version = position.saturating_sub(*back);
                    list(version, false, *ended, Some(write));
                    if *ended {
                        position = version;
                    }
                }
            }
            check_indexes(&store);
        }
        list(if consistent { head } else { position }, consistent, true, None);
        if !consistent {
            for version in position + 1..=head {
                history.watch(&store, version);
            }
        }
        prop_assert_eq!(contents(&store), history.at(head));
        check_indexes(&store);
    }
}

#[test]
fn a_response_that_comes_after_the_deletion_does_not_bring_the_object_back() {
    let store = Store::new(&INDEXES);
    store.put(record(1, 1, 10));
    store.remove(&record(1, 1, 12));
    assert!(store.put_written(record(1, 1, 11)).is_none());
    assert!(store.is_empty());
    // A later object of the name comes by a write of our own, and its events follow.
    assert!(store.put_written(record(1, 2, 13)).is_some());
    assert!(store.put(record(1, 2, 13)).is_none());
    assert!(store.remove(&record(1, 1, 12)).is_none());
    assert_eq!(store.len(), 1);
}

#[test]
fn a_response_reports_the_change_of_another_client_that_its_events_no_longer_do() {
    let store = Store::new(&INDEXES);
    store.put(record(1, 1, 10));
    // Another client writes version 12, which our write at 14 contains.
    match store.put_written(record(1, 1, 14)) {
        Some(Change::Updated { before, after }) => {
            assert_eq!((&*before, &*after), (&record(1, 1, 10), &record(1, 1, 14)));
        }
        other => panic!("{other:?}"),
    }
    assert!(store.put(record(1, 1, 12)).is_none());
    assert!(store.put(record(1, 1, 14)).is_none());
}

#[test]
fn a_late_event_of_an_earlier_object_does_not_replace_its_successor() {
    let store = Store::new(&INDEXES);
    store.put(record(1, 1, 10));
    assert!(store.put_written(record(1, 2, 13)).is_some());
    assert!(store.put(record(1, 1, 11)).is_none());
    assert!(store.remove(&record(1, 1, 12)).is_none());
    assert!(store.put(record(1, 2, 13)).is_none());
    assert!(store.put(record(1, 3, 15)).is_some());
}

#[test]
fn a_consistent_list_overrules_versions_of_before_a_restore() {
    let store = Store::new(&INDEXES);
    store.put(record(1, 1, 1000));
    store.put(record(2, 1, 1001));
    store.begin_list(Listing::Consistent);
    assert!(store.put_listed(record(1, 1, 800)).is_some());
    assert_eq!(store.end_list(800).len(), 1);
    assert_eq!(store.get("k1").unwrap().meta.resource_version(), 800);
    assert!(store.put(record(2, 2, 801)).is_some());
}

#[test]
fn a_consistent_list_does_not_overrule_a_write_that_came_in_its_midst() {
    let store = Store::new(&INDEXES);
    store.begin_list(Listing::Consistent);
    assert!(store.put_written(record(1, 1, 12)).is_some());
    assert!(store.put_listed(record(1, 1, 10)).is_none());
    assert!(store.put_written(record(2, 2, 13)).is_some());
    assert!(store.end_list(11).is_empty());
    assert_eq!(store.len(), 2);
}

#[test]
fn a_bookmark_says_that_a_later_response_is_known() {
    let store = Store::new(&INDEXES);
    store.reached(20);
    assert!(store.put_written(record(1, 1, 20)).is_none());
    assert!(store.put_written(record(1, 1, 21)).is_some());
}

#[test]
fn a_list_without_changes_replaces_no_record() {
    let store = Store::new(&INDEXES);
    store.put(record(1, 1, 5));
    let held = store.get("k1").unwrap();
    for _ in 0..3 {
        store.begin_list(Listing::Cached);
        assert!(store.put_listed(record(1, 1, 5)).is_none());
        assert!(store.end_list(9).is_empty());
    }
    assert!(Arc::ptr_eq(&held, &store.get("k1").unwrap()));
}
