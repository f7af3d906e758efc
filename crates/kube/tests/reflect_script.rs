//! The reflector by script: each rule of client-go's that is kept, and each hazard.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod reflect_record;

use std::sync::Arc;
use std::time::Duration;

use kube::decode::{self, Event, Interner, Status};
use kube::reflect::{Action, Backoff, Input, ListFrom, Reflector, Resync};
use kube::store::Store;
use kube::time::{Jitter, Moment};
use reflect_record::{Record, record};

struct Script {
    reflector: Reflector<Record>,
    store: Arc<Store<Record>>,
    now: Moment,
}

type Actions = Vec<Action<Record>>;

impl Script {
    fn new(seed: u8) -> Script {
        let store = Arc::new(Store::new(&[]));
        Script {
            reflector: Reflector::new(Arc::clone(&store), Jitter::new([seed; 8])),
            store,
            now: Moment::since_boot(Duration::from_hours(1)),
        }
    }

    /// A script whose watch is open from this version on, with an empty store.
    fn watching(version: u64) -> Script {
        let mut script = Script::new(1);
        script.step(Input::Due);
        script.step(Input::Listed(version));
        script.step(Input::Open);
        script
    }

    fn step(&mut self, input: Input<Record>) -> Actions {
        self.reflector.step(input, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Takes the last of `actions` for a wait, waits, and returns how long and the request after.
    fn wait(&mut self, actions: &Actions) -> (Duration, Action<Record>) {
        let Some(Action::Wait(until)) = actions.last() else {
            panic!("no wait in {actions:?}");
        };
        let time = until.since(self.now);
        if !time.is_zero() {
            assert_eq!(self.step(Input::Due), [Action::Wait(*until)], "too early");
        }
        self.now = *until;
        let mut next = self.step(Input::Due);
        assert_eq!(next.len(), 1);
        (time, next.remove(0))
    }
}

fn status(code: u16, reason: &str) -> Status {
    let body = format!(r#"{{"code":{code},"reason":"{reason}"}}"#);
    Status::of_response(code, None, body.as_bytes())
}

fn too_large() -> Status {
    let body = br#"{"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
    Status::of_response(504, None, body)
}

fn watch_version(action: &Action<Record>) -> u64 {
    match action {
        Action::Watch {
            resource_version, ..
        } => *resource_version,
        other => panic!("no watch but {other:?}"),
    }
}

fn seconds(range: std::ops::Range<f64>, time: Duration) -> bool {
    range.contains(&time.as_secs_f64())
}

#[test]
fn the_first_list_takes_any_state_and_the_watch_goes_on_from_it() {
    let mut timeouts = Vec::new();
    for seed in 0..40 {
        let mut script = Script::new(seed);
        assert_eq!(script.step(Input::Due), [Action::List(ListFrom::Any)]);
        let actions = script.step(Input::Item(record(1, 1, 5)));
        assert!(matches!(&actions[..], [Action::Changed(change)] if change.before().is_none()));
        assert!(!script.reflector.is_synced());
        match &script.step(Input::Listed(7))[..] {
            [
                Action::Synced,
                Action::Watch {
                    resource_version: 7,
                    timeout_seconds,
                },
            ] => {
                timeouts.push(*timeout_seconds);
            }
            other => panic!("{other:?}"),
        }
        assert!(script.reflector.is_synced());
    }
    assert!(timeouts.iter().all(|timeout| (300..600).contains(timeout)));
    assert!(timeouts.iter().any(|&timeout| timeout < 400));
    assert!(timeouts.iter().any(|&timeout| timeout > 500));
    assert_eq!(ListFrom::Any.parameter(), "0");
    assert_eq!(ListFrom::NotOlder(12).parameter(), "12");
    assert_eq!(ListFrom::Latest.parameter(), "");
}

#[test]
fn a_watch_resumes_from_the_last_event_whichever_it_was() {
    for (event, version) in [
        (Event::Added(record(1, 1, 11)), 11),
        (Event::Modified(record(1, 1, 12)), 12),
        (Event::Deleted(record(1, 1, 13)), 13),
        (Event::Bookmark(14), 14),
    ] {
        let mut script = Script::watching(10);
        script.step(Input::Event(event));
        let actions = script.step(Input::Ended);
        let (time, next) = script.wait(&actions);
        assert!(time < Duration::from_secs(1));
        assert_eq!(watch_version(&next), version);
    }
}

#[test]
fn the_version_of_an_error_event_is_not_taken() {
    let mut script = Script::watching(10);
    let line = br#"{"type":"ERROR","object":{"metadata":{"resourceVersion":"99"},"code":500}}"#;
    let event = decode::event(line, &Interner::default()).unwrap();
    let actions = script.step(Input::Event(event));
    assert_eq!(actions[0], Action::Close);
    let (_, next) = script.wait(&actions);
    assert_eq!(watch_version(&next), 10);
}

#[test]
fn a_version_that_is_gone_leads_to_a_list_not_older_and_only_then_to_the_latest() {
    for refusal in [
        status(410, "Gone"),
        status(410, "Expired"),
        status(0, "Expired"),
        too_large(),
    ] {
        for as_event in [false, true] {
            let mut script = Script::watching(10);
            let actions = if as_event {
                script.step(Input::Event(Event::Error(refusal.clone())))
            } else {
                script.step(Input::Refused(refusal.clone()))
            };
            let (time, next) = script.wait(&actions);
            assert!(seconds(0.8..1.6, time), "{time:?}");
            assert_eq!(next, Action::List(ListFrom::NotOlder(10)));
            // Another failure keeps the version.
            let actions = script.step(Input::Refused(status(500, "InternalError")));
            assert_eq!(
                script.wait(&actions).1,
                Action::List(ListFrom::NotOlder(10))
            );
            let actions = script.step(Input::Refused(refusal.clone()));
            assert_eq!(actions, [Action::List(ListFrom::Latest)]);
            // There is nothing further to fall back to, so it is not asked for without a pause.
            let actions = script.step(Input::Refused(refusal.clone()));
            let (time, next) = script.wait(&actions);
            assert!(!time.is_zero());
            assert_eq!(next, Action::List(ListFrom::Latest));
            let actions = script.step(Input::Listed(40));
            assert_eq!(watch_version(&actions[0]), 40);
        }
    }
}

#[test]
fn lists_that_succeed_between_refused_watches_are_no_hot_loop() {
    let mut script = Script::watching(10);
    let start = script.now;
    let mut lists = 0;
    while script.now.since(start) < Duration::from_mins(10) {
        let actions = script.step(Input::Refused(status(410, "Expired")));
        assert!(matches!(script.wait(&actions).1, Action::List(_)));
        lists += 1;
        script.step(Input::Listed(10));
    }
    assert!(lists < 30, "{lists}");
}

#[test]
fn an_end_of_a_watch_that_lasted_is_no_failure() {
    let mut times = Vec::new();
    for _ in 0..50 {
        let mut script = Script::watching(10);
        for _ in 0..50 {
            script.pass(Duration::from_secs(1));
            let actions = script.step(Input::Ended);
            let (time, next) = script.wait(&actions);
            assert_eq!(watch_version(&next), 10);
            script.step(Input::Open);
            times.push(time);
        }
    }
    assert!(times.iter().all(|time| *time < Duration::from_secs(1)));
    assert!(times.iter().any(|time| *time > Duration::from_millis(900)));
    assert!(times.iter().any(|time| *time < Duration::from_millis(100)));
}

#[test]
fn watches_that_end_at_once_or_never_open_back_off() {
    for opens in [true, false] {
        let mut script = Script::watching(10);
        let start = script.now;
        let mut watches = 0;
        while script.now.since(start) < Duration::from_hours(1) {
            let actions = script.step(Input::Ended);
            let (_, next) = script.wait(&actions);
            watches += 1;
            if watches % 3 == 0 {
                assert_eq!(next, Action::List(ListFrom::NotOlder(10)));
                let actions = script.step(Input::Listed(10));
                assert_eq!(watch_version(&actions[0]), 10);
            } else {
                assert_eq!(watch_version(&next), 10);
            }
            if opens {
                script.step(Input::Open);
            }
        }
        assert!((60..140).contains(&watches), "{watches}");
    }
}

#[test]
fn a_watch_that_keeps_failing_leads_to_a_list_unless_it_makes_progress() {
    let event_500 = || Input::Event(Event::Error(status(500, "InternalError")));
    let event_0 = || Input::Event(Event::Error(status(0, "")));
    let refused_503 = || Input::Refused(status(503, ""));
    let failures: [&dyn Fn() -> Input<Record>; 4] =
        [&event_500, &event_0, &refused_503, &|| Input::Ended];
    for fail in failures {
        let mut script = Script::watching(10);
        for _ in 0..2 {
            let actions = script.step(fail());
            assert_eq!(watch_version(&script.wait(&actions).1), 10);
        }
        script.step(Input::Open);
        script.step(Input::Event(Event::Bookmark(11)));
        let mut watches = 0;
        let list = loop {
            let actions = script.step(fail());
            match script.wait(&actions).1 {
                list @ Action::List(_) => break list,
                watch => assert_eq!(watch_version(&watch), 11),
            }
            watches += 1;
            // An end right after a bookmark is no failure.
            assert!(watches <= 3, "no list");
        };
        assert_eq!(list, Action::List(ListFrom::NotOlder(11)));
        assert!(watches >= 2, "{watches}");
    }
    // A list would be the larger request to a server that has too many.
    let mut script = Script::watching(10);
    for _ in 0..20 {
        let actions = script.step(Input::Refused(status(429, "TooManyRequests")));
        assert_eq!(watch_version(&script.wait(&actions).1), 10);
    }
}

#[test]
fn refusals_for_the_moment_keep_the_version_and_retry_after_is_honoured() {
    for code in [401, 403, 429, 500, 502, 503, 504] {
        let mut script = Script::watching(10);
        for as_event in [false, true] {
            let mut refusal = status(code, "");
            refusal.retry_after = Some(Duration::from_secs(20));
            let actions = if as_event {
                script.step(Input::Event(Event::Error(refusal)))
            } else {
                script.step(Input::Refused(refusal))
            };
            let (time, next) = script.wait(&actions);
            assert!(seconds(20.0..21.0, time), "{time:?}");
            assert_eq!(watch_version(&next), 10);
        }
        let mut script = Script::new(3);
        script.step(Input::Due);
        let mut refusal = status(code, "");
        refusal.retry_after = Some(Duration::from_hours(999_999));
        let actions = script.step(Input::Refused(refusal));
        let (time, next) = script.wait(&actions);
        assert!(seconds(300.0..301.0, time), "{time:?}");
        assert_eq!(next, Action::List(ListFrom::Any));
    }
    // A request that cannot succeed as it is does not come again.
    let mut script = Script::watching(10);
    let actions = script.step(Input::Refused(status(400, "BadRequest")));
    assert_eq!(
        script.wait(&actions).1,
        Action::List(ListFrom::NotOlder(10))
    );
}

#[test]
fn delays_double_to_thirty_seconds_and_start_again_after_two_quiet_minutes() {
    let mut shares = Vec::new();
    for seed in 0..20 {
        let mut jitter = Jitter::new([seed; 8]);
        let mut backoff = Backoff::default();
        let mut now = Moment::since_boot(Duration::from_hours(1));
        for _ in 0..2 {
            for base in [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0] {
                let until = backoff.failed(None, &mut jitter, now);
                let time = until.since(now);
                assert!(seconds(base..2.0 * base, time), "{base} {time:?}");
                shares.push(time.as_secs_f64() / base);
                now = until + Duration::from_secs(119);
            }
            now = now + Duration::from_secs(1);
        }
    }
    assert!(shares.iter().any(|share| *share < 1.2));
    assert!(shares.iter().any(|share| *share > 1.8));
}

#[test]
fn a_short_retry_after_shortens_no_delay() {
    let mut jitter = Jitter::new([1; 8]);
    let mut backoff = Backoff::default();
    let mut now = Moment::since_boot(Duration::from_hours(1));
    for base in [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0] {
        let until = backoff.failed(Some(Duration::from_millis(1)), &mut jitter, now);
        assert!(until.since(now).as_secs_f64() >= base);
        now = until;
    }
}

#[test]
fn a_list_that_breaks_off_removes_nothing_and_is_asked_for_again() {
    let mut script = Script::watching(10);
    script.step(Input::Event(Event::Added(record(1, 1, 11))));
    script.step(Input::Event(Event::Added(record(2, 2, 12))));
    let actions = script.step(Input::Refused(status(410, "Expired")));
    script.wait(&actions);
    for broken in [Input::Ended, Input::Malformed] {
        script.step(Input::Item(record(1, 1, 13)));
        let actions = script.step(broken);
        assert_eq!(script.store.len(), 2);
        assert_eq!(
            script.wait(&actions).1,
            Action::List(ListFrom::NotOlder(12))
        );
    }
    // The complete one reports the deletion that the watch missed, with the last known record.
    assert!(script.step(Input::Item(record(1, 1, 13))).is_empty());
    match &script.step(Input::Listed(14))[..] {
        [Action::Changed(change), Action::Watch { .. }] => {
            assert_eq!(change.before(), Some(&record(2, 2, 12)));
            assert_eq!(change.after(), None);
        }
        other => panic!("{other:?}"),
    }
    let mut script = Script::new(1);
    script.step(Input::Due);
    let actions = script.step(Input::Ended);
    assert!(!script.reflector.is_synced());
    assert_eq!(script.wait(&actions).1, Action::List(ListFrom::Any));
}

#[test]
fn an_event_from_before_the_version_leads_to_the_latest_list() {
    for event in [
        Event::Added(record(2, 2, 8)),
        Event::Modified(record(2, 2, 8)),
        Event::Deleted(record(1, 1, 8)),
        Event::Bookmark(9),
    ] {
        let mut script = Script::watching(10);
        script.step(Input::Event(Event::Added(record(1, 1, 12))));
        // A bookmark may repeat the version.
        assert!(script.step(Input::Event(Event::Bookmark(12))).is_empty());
        let actions = script.step(Input::Event(event));
        assert_eq!(actions[0], Action::Close);
        let (time, next) = script.wait(&actions);
        assert!(!time.is_zero());
        assert_eq!(next, Action::List(ListFrom::Latest));
        // The backup has neither the object nor its version.
        let actions = script.step(Input::Listed(9));
        assert!(matches!(&actions[0], Action::Changed(_)));
        assert!(script.store.is_empty());
        assert_eq!(watch_version(&actions[1]), 9);
    }
}

#[test]
fn a_replica_that_leads_again_lists_the_latest_before_it_is_synced() {
    let mut script = Script::watching(10);
    script.step(Input::Event(Event::Added(record(1, 1, 11))));
    script.reflector.relist();
    assert!(!script.reflector.is_synced());
    // What is left of the request that was in flight changes nothing.
    let late = Input::Event(Event::Added(record(2, 2, 12)));
    assert!(script.step(late).is_empty());
    assert_eq!(script.store.len(), 1);
    assert_eq!(script.step(Input::Due), [Action::List(ListFrom::Latest)]);
    let actions = script.step(Input::Ended);
    assert!(!script.reflector.is_synced());
    assert_eq!(script.wait(&actions).1, Action::List(ListFrom::Latest));
    match &script.step(Input::Listed(30))[..] {
        [Action::Changed(change), Action::Synced, watch] => {
            assert_eq!(change.before(), Some(&record(1, 1, 11)));
            assert_eq!(watch_version(watch), 30);
        }
        other => panic!("{other:?}"),
    }
    assert!(script.reflector.is_synced());
    // A delay that the server has asked for is kept.
    let mut refusal = status(429, "TooManyRequests");
    refusal.retry_after = Some(Duration::from_secs(20));
    let actions = script.step(Input::Refused(refusal));
    script.reflector.relist();
    let (time, next) = script.wait(&actions);
    assert!(seconds(20.0..21.0, time), "{time:?}");
    assert_eq!(next, Action::List(ListFrom::Latest));
}

#[test]
fn an_event_that_cannot_be_read_is_passed_over_by_a_list() {
    let mut script = Script::watching(10);
    script.step(Input::Event(Event::Bookmark(15)));
    let actions = script.step(Input::Malformed);
    assert_eq!(actions[0], Action::Close);
    let (time, next) = script.wait(&actions);
    assert!(!time.is_zero());
    assert_eq!(next, Action::List(ListFrom::NotOlder(15)));
}

#[test]
fn a_write_of_our_own_is_not_a_change_again_when_the_watch_reports_it() {
    let mut script = Script::watching(10);
    assert!(script.store.put_written(record(1, 1, 12)).is_some());
    assert!(
        script
            .step(Input::Event(Event::Added(record(1, 1, 11))))
            .is_empty()
    );
    assert!(
        script
            .step(Input::Event(Event::Modified(record(1, 1, 12))))
            .is_empty()
    );
    let actions = script.step(Input::Event(Event::Modified(record(1, 1, 13))));
    assert!(matches!(&actions[..], [Action::Changed(_)]));
}

#[test]
fn a_response_from_before_a_bookmark_brings_no_object_back() {
    let mut script = Script::watching(10);
    script.step(Input::Event(Event::Bookmark(20)));
    assert!(script.store.put_written(record(1, 1, 15)).is_none());
}

#[test]
fn a_resync_spreads_all_keys_over_the_interval() {
    let interval = Duration::from_mins(10);
    let start = Moment::since_boot(Duration::from_secs(77));
    assert!(Resync::new(Duration::ZERO, start).is_none());
    for count in [0_u8, 1, 10, 200] {
        let store = Store::new(&[]);
        for key in 0..count {
            store.put(record(key, 1, 5));
        }
        let mut resync = Resync::new(interval, start).unwrap();
        let mut now = start;
        for _ in 0..3 {
            let round = now;
            let mut seen = Vec::new();
            let mut calls = 0;
            while now.since(round) < interval {
                now = resync.due(&store, now).1;
                let keys = resync.due(&store, now).0;
                assert!(keys.len() <= 2, "{} keys at once of {count}", keys.len());
                seen.extend(keys);
                calls += 1;
            }
            assert_eq!(now, round + interval);
            seen.sort();
            assert_eq!(seen, store.keys_after(None, usize::MAX));
            assert!(calls <= usize::from(count) + 2, "{calls} calls for {count}");
        }
    }
}

#[test]
fn a_resync_after_a_suspend_is_one_round() {
    let store = Store::new(&[]);
    for key in 0..100 {
        store.put(record(key, 1, 5));
    }
    let start = Moment::default();
    let mut resync = Resync::new(Duration::from_mins(10), start).unwrap();
    let (keys, next) = resync.due(&store, start + Duration::from_hours(50));
    assert_eq!(keys.len(), 100);
    assert!(resync.due(&store, next).0.len() <= 1);
}
