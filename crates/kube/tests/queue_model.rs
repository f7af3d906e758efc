//! The work queue against a naive one, through random operations.

#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::time::Duration;

use kube::queue::{Backoff, Lane, State, Taken};
use kube::time::Moment;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    max: Duration::from_secs(5),
};

#[derive(Clone, Debug)]
enum Operation {
    Add(u8, Lane),
    AddAfter(u8, Lane, u64),
    Take(Option<Lane>),
    /// The worker that took a key first is done.
    Done,
    Retry(u8),
    Forget(u8),
    Pass(u64),
    Drain,
    Stop,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let lane = || select(vec![Lane::First, Lane::Second]);
    let operation = prop_oneof![
        8 => (0..5_u8, lane()).prop_map(|(key, lane)| Operation::Add(key, lane)),
        4 => (0..5_u8, lane(), 0..9_u64).prop_map(|(key, lane, s)| Operation::AddAfter(key, lane, s)),
        8 => proptest::option::of(lane()).prop_map(Operation::Take),
        6 => Just(Operation::Done),
        4 => (0..5_u8).prop_map(Operation::Retry),
        2 => (0..5_u8).prop_map(Operation::Forget),
        6 => (0..4_u64).prop_map(Operation::Pass),
    ];
    let shutdown = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Operation::Drain)),
        1 => Just(Some(Operation::Stop)),
    ];
    let operations = || prop::collection::vec(operation.clone(), 0..60);
    (operations(), shutdown, operations()).prop_map(|(before, shutdown, after)| {
        before.into_iter().chain(shutdown).chain(after).collect()
    })
}

/// What a key is to the naive queue.
#[derive(Clone, Debug, Default)]
struct Key {
    in_work: bool,
    /// Was added while it was in work.
    again: bool,
    due: Option<u64>,
    second: bool,
    failures: u32,
}

/// The queue as its documentation says, with a list that is searched from its beginning.
#[derive(Debug, Default)]
struct Naive {
    now: u64,
    keys: [Key; 5],
    /// The keys that wait, in the order in which they became ready.
    ready: Vec<u8>,
    /// The keys with a delay, in the order in which their delays were set.
    delayed: Vec<u8>,
    working: Vec<u8>,
    draining: bool,
    stopped: bool,
    adds: u64,
}

impl Naive {
    fn key(&mut self, key: u8) -> &mut Key {
        &mut self.keys[usize::from(key)]
    }

    fn is_open(&self) -> bool {
        !self.draining && !self.stopped
    }

    fn add(&mut self, key: u8, second: bool) {
        if !self.is_open() {
            return;
        }
        self.key(key).second = second;
        if self.key(key).in_work {
            self.adds += u64::from(!self.key(key).again);
            self.key(key).again = true;
        } else if !self.ready.contains(&key) {
            self.adds += 1;
            self.ready.push(key);
        }
    }

    fn add_after(&mut self, key: u8, second: bool, delay: u64) {
        if !self.is_open() {
            return;
        }
        if delay == 0 {
            return self.add(key, second);
        }
        self.key(key).second = second;
        let due = self.now + delay;
        if self.key(key).due.is_none_or(|earlier| due < earlier) {
            self.key(key).due = Some(due);
            self.delayed.retain(|other| *other != key);
            self.delayed.push(key);
        }
    }

    /// Lets time pass second by second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            for key in self.delayed.clone() {
                let now = self.now;
                if self.key(key).due == Some(now) {
                    self.key(key).due = None;
                    self.delayed.retain(|other| *other != key);
                    let second = self.key(key).second;
                    self.add(key, second);
                }
            }
        }
    }

    fn take(&mut self, lane: Option<Lane>) -> Taken<u8> {
        let again = self.keys.iter().any(|key| key.again);
        if self.stopped || (self.draining && self.ready.is_empty() && !again) {
            return Taken::ShutDown;
        }
        let fits = |key: &u8| {
            let second = self.keys[usize::from(*key)].second;
            lane.is_none_or(|lane| (lane == Lane::Second) == second)
        };
        let Some(position) = self.ready.iter().position(fits) else {
            let due = self.keys.iter().filter_map(|key| key.due).min();
            return Taken::Nothing(due.map(at));
        };
        let key = self.ready.remove(position);
        self.key(key).in_work = true;
        self.working.push(key);
        Taken::Key(key)
    }

    fn done(&mut self, key: u8) {
        self.key(key).in_work = false;
        if std::mem::take(&mut self.key(key).again) {
            self.ready.push(key);
        }
    }

    fn end(&mut self, stop: bool) {
        self.draining |= !stop;
        self.stopped |= stop;
        self.delayed.clear();
        for key in &mut self.keys {
            key.due = None;
            key.again &= !stop;
        }
        if stop {
            self.ready.clear();
        }
    }
}

fn at(seconds: u64) -> Moment {
    Moment::since_boot(Duration::from_secs(seconds))
}

fn agrees_with_the_naive_queue(operations: &[Operation]) {
    let mut naive = Naive::default();
    let mut state = State::new();
    for operation in operations {
        let now = at(naive.now);
        match *operation {
            Operation::Add(key, lane) => {
                state.add(&key, lane, now);
                naive.add(key, lane == Lane::Second);
            }
            Operation::AddAfter(key, lane, seconds) => {
                state.add_after(&key, lane, Duration::from_secs(seconds), now);
                naive.add_after(key, lane == Lane::Second, seconds);
            }
            Operation::Take(lane) => {
                let in_work = naive.working.clone();
                let taken = state.take(lane, now);
                if let Taken::Key(key) = &taken {
                    assert!(!in_work.contains(key), "{key} is in work twice");
                }
                assert_eq!(taken, naive.take(lane));
            }
            Operation::Done if naive.working.is_empty() => {}
            Operation::Done => {
                let key = naive.working.remove(0);
                state.done(&key, now);
                naive.done(key);
            }
            // As it happens: the worker that has the key retries it.
            Operation::Retry(key) if !naive.working.contains(&key) => {}
            Operation::Retry(key) => {
                let failures = naive.key(key).failures;
                let seconds = (1 << failures.min(3)).min(5);
                let delay = state.retry(&key, BACKOFF, now);
                assert_eq!(delay, Duration::from_secs(seconds));
                if naive.is_open() {
                    naive.key(key).failures += 1;
                }
                let second = naive.key(key).second;
                naive.add_after(key, second, seconds);
            }
            Operation::Forget(key) => {
                state.forget(&key);
                naive.key(key).failures = 0;
            }
            Operation::Pass(seconds) => naive.pass(seconds),
            Operation::Drain => {
                state.drain();
                naive.end(false);
            }
            Operation::Stop => {
                state.stop();
                naive.end(true);
            }
        }
        let figures = state.figures(at(naive.now));
        let again = naive.keys.iter().filter(|key| key.again).count();
        assert_eq!(figures.depth, naive.ready.len() + again);
        assert_eq!(figures.adds, naive.adds);
        assert_eq!(figures.in_work, naive.working.len());
        assert_eq!(figures.delayed, naive.delayed.len());
        for key in 0..5 {
            assert_eq!(state.failures(&key), naive.key(key).failures);
        }
        let is_finished = !naive.is_open() && naive.working.is_empty() && figures.depth == 0;
        assert_eq!(state.is_finished(), is_finished);
    }
}

#[test]
fn the_queue_does_what_a_naive_one_does() {
    let config = Config {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(2_026),
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&operations(), |operations| {
        agrees_with_the_naive_queue(&operations);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
