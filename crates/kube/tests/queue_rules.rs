//! The work queue: a few rules one by one, and its threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kube::queue::{Backoff, Lane, Queue, State, Taken, Work};
use kube::time::Moment;

const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    max: Duration::from_mins(5),
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

fn at(milliseconds: u64) -> Moment {
    Moment::since_boot(Duration::from_millis(milliseconds))
}

fn queue() -> Queue<u32> {
    let start = Instant::now();
    Queue::new(BACKOFF, move || Moment::since_boot(start.elapsed()))
}

#[test]
fn delays_double_up_to_the_longest() {
    let delays: Vec<_> = (0..12).map(|n| BACKOFF.delay(n).as_secs()).collect();
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(BACKOFF.delay(u32::MAX), BACKOFF.max);
    let long = Backoff {
        base: Duration::MAX,
        max: Duration::MAX,
    };
    assert_eq!(long.delay(9), Duration::MAX);
}

#[test]
fn a_delay_ends_neither_early_nor_for_a_longer_one() {
    let mut state = State::new();
    state.add_after(&"key", Lane::First, Duration::from_millis(500), at(0));
    state.add_after(&"key", Lane::First, Duration::from_millis(900), at(0));
    assert_eq!(state.take(None, at(499)), Taken::Nothing(Some(at(500))));
    state.add_after(&"key", Lane::First, Duration::from_millis(100), at(300));
    assert_eq!(state.take(None, at(500)), Taken::Key("key"));
    state.done(&"key", at(500));
    assert_eq!(state.take(None, at(10_000)), Taken::Nothing(None));
}

#[test]
fn keys_are_given_out_in_the_order_in_which_they_became_ready() {
    let mut state = State::new();
    state.add_after(&"delayed", Lane::Second, Duration::from_millis(100), at(0));
    state.add(&"before", Lane::First, at(99));
    state.add(&"after", Lane::First, at(101));
    for expected in ["before", "delayed", "after"] {
        assert_eq!(state.take(None, at(500)), Taken::Key(expected));
    }
}

#[test]
fn a_lane_is_not_held_back_by_the_other_one() {
    let mut state = State::new();
    state.add(&1, Lane::Second, at(0));
    state.add(&2, Lane::Second, at(1));
    state.add(&3, Lane::First, at(2));
    assert_eq!(state.take(Some(Lane::First), at(3)), Taken::Key(3));
    assert_eq!(state.take(Some(Lane::First), at(3)), Taken::Nothing(None));
    // An attach that has become a detach keeps its place.
    state.add(&2, Lane::First, at(4));
    state.add(&4, Lane::First, at(4));
    assert_eq!(state.take(Some(Lane::First), at(5)), Taken::Key(2));
    assert_eq!(state.take(None, at(5)), Taken::Key(1));
}

#[test]
fn the_figures_are_those_of_client_go() {
    let mut state = State::new();
    state.add(&1, Lane::First, at(0));
    state.add(&1, Lane::First, at(1));
    state.add(&2, Lane::First, at(5));
    assert_eq!(state.take(None, at(10)), Taken::Key(1));
    state.add(&1, Lane::First, at(11));
    state.retry(&1, BACKOFF, at(12));
    let figures = state.figures(at(20));
    assert_eq!((figures.depth, figures.adds, figures.retries), (2, 3, 1));
    assert_eq!((figures.in_work, figures.delayed), (1, 1));
    assert_eq!(figures.oldest, Duration::from_millis(15));
    assert_eq!(figures.unfinished, Duration::from_millis(10));
    assert_eq!(figures.longest_running, Duration::from_millis(10));
    assert_eq!(figures.waited.sum, Duration::from_millis(10));
    state.done(&1, at(30));
    assert_eq!(state.take(None, at(31)), Taken::Key(2));
    assert_eq!(state.take(None, at(32)), Taken::Key(1));
    let figures = state.figures(at(32));
    assert_eq!(figures.worked.sum, Duration::from_millis(20));
    // The second wait of the first key began when it was added in its work.
    assert_eq!(figures.waited.sum, Duration::from_millis(10 + 26 + 21));
}

#[test]
fn a_worker_waits_for_a_key_and_for_a_delay() {
    let queue = queue();
    thread::scope(|scope| {
        let worker = scope.spawn(|| match queue.take(Some(Lane::First), LONG) {
            Work::Key(key) => {
                let number = *key;
                key.succeed();
                number
            }
            _ => 0,
        });
        queue.add(&1, Lane::Second);
        queue.add(&2, Lane::First);
        assert_eq!(worker.join().unwrap(), 2);
    });
    let delay = Duration::from_millis(30);
    let begin = Instant::now();
    queue.add_after(&3, Lane::First, delay);
    let Work::Key(key) = queue.take(Some(Lane::First), LONG) else {
        panic!("no key");
    };
    assert!(begin.elapsed() >= delay);
    key.succeed();
    let patience = Duration::from_millis(1);
    assert!(matches!(
        queue.take(Some(Lane::First), patience),
        Work::Nothing
    ));
}

#[test]
fn a_delay_ends_by_the_clock_that_the_queue_was_given() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let queue = Queue::new(BACKOFF, move || at(clock.load(Ordering::Relaxed)));
    queue.add_after(&1, Lane::First, Duration::from_mins(1));
    assert!(matches!(queue.take(None, Duration::ZERO), Work::Nothing));
    assert_eq!(queue.next_due(), Some(at(60_000)));
    time.store(60_000, Ordering::Relaxed);
    assert!(matches!(queue.take(None, Duration::ZERO), Work::Key(_)));
}

#[test]
fn a_key_whose_worker_panics_is_retried() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let queue = Queue::new(BACKOFF, move || at(clock.load(Ordering::Relaxed)));
    queue.add(&1, Lane::Second);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let _work = queue.take(None, LONG);
            panic!("a worker's bug");
        });
        assert!(worker.join().is_err());
    });
    assert_eq!(queue.figures().in_work, 0);
    assert_eq!(queue.next_due(), Some(at(1_000)));
    time.store(1_000, Ordering::Relaxed);
    let Work::Key(key) = queue.take(Some(Lane::Second), Duration::ZERO) else {
        panic!("no key");
    };
    assert_eq!(key.retry(), Duration::from_secs(2));
    time.store(3_000, Ordering::Relaxed);
    let Work::Key(key) = queue.take(Some(Lane::Second), Duration::ZERO) else {
        panic!("no key");
    };
    key.succeed();
    assert_eq!(queue.next_due(), None);
}

#[test]
fn a_stop_wakes_the_workers_and_waits_for_work_that_is_left() {
    let queue = queue();
    queue.add(&1, Lane::First);
    let Work::Key(key) = queue.take(None, LONG) else {
        panic!("no key");
    };
    thread::scope(|scope| {
        let (sender, waits) = mpsc::channel();
        let queue = &queue;
        let idle = scope.spawn(move || {
            sender.send(()).unwrap();
            matches!(queue.take(None, LONG), Work::ShutDown)
        });
        waits.recv().unwrap();
        queue.add(&1, Lane::First);
        queue.stop();
        assert!(idle.join().unwrap());
        assert!(!queue.wait_until_finished(Duration::from_millis(1)));
        let waiting = scope.spawn(|| queue.wait_until_finished(LONG));
        key.succeed();
        assert!(waiting.join().unwrap());
    });
    assert!(matches!(queue.take(None, LONG), Work::ShutDown));
}

#[test]
fn a_drain_gives_out_what_was_added_before_it() {
    let queue = queue();
    queue.add(&1, Lane::First);
    queue.add(&2, Lane::First);
    queue.add_after(&3, Lane::First, LONG);
    let Work::Key(key) = queue.take(None, LONG) else {
        panic!("no key");
    };
    queue.add(&1, Lane::First);
    queue.drain();
    queue.add(&4, Lane::First);
    key.succeed();
    let mut keys = Vec::new();
    while let Work::Key(key) = queue.take(None, LONG) {
        keys.push(*key);
        key.succeed();
    }
    assert_eq!(keys, [2, 1]);
    assert!(queue.wait_until_finished(Duration::ZERO));
}

#[test]
fn many_workers_lose_no_key_and_share_none() {
    let queue = queue();
    let in_work = [const { AtomicBool::new(false) }; 16];
    let versions = [const { AtomicU64::new(0) }; 16];
    let seen = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for worker in 0..4 {
            let lane = (worker == 0).then_some(Lane::First);
            let (queue, in_work, versions, seen) = (&queue, &in_work, &versions, &seen);
            scope.spawn(move || {
                while let Work::Key(key) = queue.take(lane, LONG) {
                    let index = usize::try_from(*key).unwrap();
                    assert!(!in_work[index].swap(true, Ordering::SeqCst));
                    let version = versions[index].load(Ordering::SeqCst);
                    seen.lock().unwrap().insert(*key, version);
                    thread::yield_now();
                    in_work[index].store(false, Ordering::SeqCst);
                    key.succeed();
                }
            });
        }
        for round in 1..=500 {
            for key in 0..16_u32 {
                versions[usize::try_from(key).unwrap()].store(round, Ordering::SeqCst);
                let lane = if key % 2 == 0 {
                    Lane::First
                } else {
                    Lane::Second
                };
                queue.add(&key, lane);
            }
        }
        queue.drain();
        assert!(queue.wait_until_finished(LONG));
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 16);
    assert!(seen.values().all(|version| *version == 500), "{seen:?}");
}

#[test]
fn a_key_does_not_wake_all_idle_workers() {
    const ROUNDS: u64 = 300;
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let start = Instant::now();
    // A worker that wakes looks at the clock.
    let queue: Queue<u32> = Queue::new(BACKOFF, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Moment::since_boot(start.elapsed())
    });
    thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        for _ in 0..8 {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                while let Work::Key(key) = queue.take(None, LONG) {
                    key.succeed();
                    sender.send(()).unwrap();
                }
            });
        }
        for _ in 0..ROUNDS {
            queue.add(&1, Lane::First);
            done.recv().unwrap();
        }
        queue.stop();
    });
    // Each round adds, takes, ends the work and takes again.
    let looks = looks.load(Ordering::Relaxed);
    assert!(looks < 4 * ROUNDS + 100, "{looks}");
}

#[test]
fn the_workers_of_each_lane_wake_for_its_delays() {
    // Below the longest wait without a look at the clock, after which a worker that was not woken
    // would find the key all the same.
    let limit = Duration::from_secs(20);
    let jitter =
        |round: u32, key: u32| Duration::from_micros(u64::from(round * 7 + key * 131) % 900);
    let (first, second) = (Some(Lane::First), Some(Lane::Second));
    // The patience of the last one ends while the others rely on it.
    let brief = Duration::from_millis(2);
    for workers in [
        vec![(first, LONG), (second, LONG)],
        vec![(first, LONG), (second, LONG), (None, LONG), (None, brief)],
        vec![
            (first, LONG),
            (second, LONG),
            (second, LONG),
            (first, brief),
        ],
    ] {
        let queue = queue();
        thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            for (lane, patience) in workers {
                let (queue, sender) = (&queue, sender.clone());
                scope.spawn(move || {
                    loop {
                        match queue.take(lane, patience) {
                            Work::Key(key) => {
                                key.succeed();
                                sender.send(()).unwrap();
                            }
                            Work::Nothing => {}
                            Work::ShutDown => return,
                        }
                    }
                });
            }
            for round in 0..300 {
                for key in 0..6 {
                    let lane = [Lane::First, Lane::Second][usize::from(key % 2 == 0)];
                    queue.add_after(&key, lane, jitter(round, key));
                }
                let outcome = (0..6).try_for_each(|_| done.recv_timeout(limit));
                if outcome.is_err() {
                    queue.stop();
                }
                outcome.unwrap();
            }
            queue.stop();
        });
    }
}

#[test]
fn a_worker_that_leaves_hands_on_the_next_key_and_the_next_delay() {
    let limit = Duration::from_secs(20);
    for (lane, between) in [
        (None, 0),
        (None, 100),
        (Some(Lane::First), 0),
        (Some(Lane::First), 100),
    ] {
        let start = Instant::now();
        let (sender, looks) = mpsc::channel();
        // A coarse clock, so that two delays end at the same moment.
        let queue: Queue<u32> = Queue::new(BACKOFF, move || {
            sender.send(()).unwrap_or_default();
            let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap();
            at(elapsed / 50 * 50)
        });
        let ended = Mutex::new(());
        thread::scope(|scope| {
            let (sender, taken) = mpsc::channel();
            let works = ended.lock().unwrap();
            for _ in 0..2 {
                let (queue, ended, sender) = (&queue, &ended, sender.clone());
                scope.spawn(move || {
                    let Work::Key(key) = queue.take(lane, LONG) else {
                        return;
                    };
                    sender.send(()).unwrap();
                    // The work lasts until the other key is in work as well.
                    drop(ended.lock());
                    key.succeed();
                });
            }
            // Each worker has looked at the clock under the lock, so it waits when the lock is free.
            looks.recv().unwrap();
            looks.recv().unwrap();
            queue.add_after(&1, Lane::First, Duration::from_millis(100));
            queue.add_after(&2, Lane::First, Duration::from_millis(100 + between));
            let outcome = (0..2).try_for_each(|_| taken.recv_timeout(limit));
            queue.stop();
            drop(works);
            outcome.unwrap();
        });
    }
}
