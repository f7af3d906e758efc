//! The rules of the election one by one, as a script of answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::lease::{Action, Answer, Election, Event, LeaseRecord, Loss, Request, Timing};
use kube::time::{Jitter, Moment, micro_time};

/// A candidate, the moment, and the lease as a faultless API server keeps it.
struct Script {
    election: Election,
    now: Duration,
    lease: Option<(LeaseRecord, u32)>,
}

const HOLDER: &str = "other";

fn wall(now: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_165_932) + now
}

impl Script {
    fn new() -> Script {
        Script {
            election: Election::new("us".to_owned(), Timing::default(), Jitter::new([7; 8])),
            now: Duration::from_secs(100),
            lease: None,
        }
    }

    fn held_by(holder: &str) -> Script {
        let mut script = Script::new();
        script.write(holder);
        script
    }

    /// Another process writes the lease now.
    fn write(&mut self, holder: &str) {
        let (mut record, version) = self.lease.take().unwrap_or_default();
        if record.holder_identity != holder {
            record.lease_transitions += 1;
            record.acquire_time = micro_time(wall(self.now));
        }
        holder.clone_into(&mut record.holder_identity);
        record.lease_duration_seconds = 20;
        record.renew_time = format!("{} by another process", micro_time(wall(self.now)));
        self.lease = Some((record, version + 1));
    }

    fn moment(&self) -> Moment {
        Moment::since_boot(self.now)
    }

    fn since(&self, begin: Duration) -> Duration {
        self.now.saturating_sub(begin)
    }

    fn next(&mut self) -> Action {
        self.election.next(self.moment(), wall(self.now))
    }

    fn request(&mut self) -> Request {
        match self.next() {
            Action::Send { request, .. } => request,
            action => panic!("{action:?}"),
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.election.answer(answer, self.moment());
    }

    /// Carries out a request and answers it at once.
    fn serve(&mut self, request: &Request) {
        let current = self.lease.as_ref().map(|(_, version)| version.to_string());
        match request {
            Request::Get => {}
            Request::Create(record) => {
                assert_eq!(current, None);
                self.lease = Some((record.clone(), 1));
            }
            Request::Update(record, version) => {
                let Some((lease, number)) = &mut self.lease else {
                    return self.answer(Answer::NotFound);
                };
                if *version != number.to_string() {
                    return self.answer(Answer::Failed);
                }
                *lease = record.clone();
                *number += 1;
            }
        }
        self.answer(match &self.lease {
            Some((record, version)) => Answer::Stored(record.clone(), version.to_string()),
            None => Answer::NotFound,
        });
    }

    /// Goes on until the process sleeps, and returns what it sent.
    fn run(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Action::Send { request, .. } = self.next() {
            self.serve(&request);
            requests.push(request);
            assert!(requests.len() < 10, "{requests:?}");
        }
        requests
    }

    /// Sleeps until the next action, and returns for how long.
    fn sleep(&mut self) -> Duration {
        let Action::Sleep(until) = self.next() else {
            panic!("{:?}", self.next());
        };
        let slept = until.since(self.moment());
        self.now += slept;
        slept
    }

    fn leads(&self) -> bool {
        let term = self.election.term();
        term.is_some_and(|term| term.permits(self.moment()).is_ok())
    }

    fn record(&self) -> &LeaseRecord {
        &self.lease.as_ref().unwrap().0
    }

    fn losses(&mut self) -> Vec<Loss> {
        let events = self.election.take_events().into_iter();
        let losses = events.filter_map(|event| match event {
            Event::Lost(loss) => Some(loss),
            _ => None,
        });
        losses.collect()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_absent_lease_is_created_and_renewed_without_a_get() {
    let mut script = Script::new();
    let expected = LeaseRecord {
        holder_identity: "us".to_owned(),
        lease_duration_seconds: 15,
        acquire_time: "2026-11-20T09:13:52.000000Z".to_owned(),
        renew_time: "2026-11-20T09:13:52.000000Z".to_owned(),
        lease_transitions: 0,
    };
    assert_eq!(
        script.run(),
        [Request::Get, Request::Create(expected.clone())]
    );
    assert!(script.leads());
    assert_eq!(script.sleep(), seconds(5));
    let renewal = LeaseRecord {
        renew_time: "2026-11-20T09:13:57.000000Z".to_owned(),
        ..expected
    };
    assert_eq!(script.run(), [Request::Update(renewal, "1".to_owned())]);
    assert_eq!(script.sleep(), seconds(5));
}

#[test]
fn an_empty_holder_is_replaced_at_once() {
    let mut script = Script::held_by("");
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert_eq!(script.record().lease_transitions, 1);
}

#[test]
fn a_foreign_lease_is_taken_when_it_stood_still_for_its_own_duration() {
    let mut script = Script::held_by(HOLDER);
    assert_eq!(script.run(), [Request::Get]);
    let begin = script.now;
    while script.since(begin) < seconds(20) {
        let slept = script.sleep();
        assert!((seconds(5)..seconds(11)).contains(&slept), "{slept:?}");
        let requests = script.run();
        assert_eq!(requests.len(), if script.leads() { 2 } else { 1 });
        assert_eq!(script.leads(), script.since(begin) >= seconds(20));
    }
    assert_eq!(script.record().lease_transitions, 2);
    assert_eq!(script.record().acquire_time, script.record().renew_time);
}

#[test]
fn a_foreign_lease_that_changes_is_never_taken() {
    let mut script = Script::held_by(HOLDER);
    for _ in 0..100 {
        assert_eq!(script.run(), [Request::Get]);
        script.sleep();
        script.write(HOLDER);
    }
    let holders = script.election.take_events();
    assert!(matches!(&holders[..], [Event::Holder(holder)] if holder == HOLDER));
}

#[test]
fn a_foreign_lease_that_was_deleted_still_has_to_stand_still() {
    let mut script = Script::held_by(HOLDER);
    assert_eq!(script.run(), [Request::Get]);
    let begin = script.now;
    script.lease = None;
    while !script.leads() {
        script.sleep();
        script.run();
        assert!(script.since(begin) < seconds(60));
    }
    assert!(script.since(begin) >= seconds(20));
    assert_eq!(script.record().lease_transitions, 0);
}

#[test]
fn the_lease_of_this_container_is_taken_back_after_a_restart() {
    let mut script = Script::held_by("us");
    let before = script.record().clone();
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert_eq!(script.record().lease_transitions, before.lease_transitions);
    assert_eq!(script.record().acquire_time, before.acquire_time);
}

#[test]
fn a_term_counts_from_the_request_and_not_from_its_answer() {
    let mut script = Script::held_by("");
    let get = script.request();
    script.serve(&get);
    for seconds_late in [4, 3] {
        let write = script.request();
        script.now += seconds(seconds_late);
        script.serve(&write);
        let left = script.election.term().unwrap().permits(script.moment());
        assert_eq!(left, Ok(seconds(10 - seconds_late)));
        assert_eq!(script.sleep(), seconds(5 - seconds_late));
    }
    // An answer after the whole term begins none; the lease is ours all the same.
    let mut script = Script::held_by("");
    let get = script.request();
    script.serve(&get);
    let write = script.request();
    script.now += seconds(11);
    script.serve(&write);
    assert!(script.election.term().is_none());
    assert_eq!(script.run().len(), 1);
    assert!(script.leads());
    assert_eq!(script.record().lease_transitions, 1);
}

#[test]
fn a_failed_renewal_is_followed_by_get_and_update() {
    let mut script = Script::new();
    script.run();
    script.sleep();
    assert!(matches!(script.request(), Request::Update(..)));
    script.answer(Answer::Failed);
    let requests = script.run();
    assert!(matches!(&requests[..], [Request::Get, Request::Update(..)]));
    assert!(script.leads());
    assert!(script.losses().is_empty());
}

#[test]
fn a_request_that_hangs_is_not_a_lost_lease() {
    let mut script = Script::new();
    script.run();
    script.sleep();
    let Action::Send { limit, .. } = script.next() else {
        panic!("no renewal");
    };
    script.now += limit;
    script.answer(Answer::Failed);
    script.now += seconds(1);
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert!(script.losses().is_empty());
}

#[test]
fn an_api_server_that_is_away_for_some_seconds_or_slow_costs_no_lease() {
    let mut script = Script::new();
    script.run();
    script.sleep();
    let back = script.now + seconds(4);
    while script.now < back {
        match script.next() {
            Action::Send { .. } => script.answer(Answer::Failed),
            Action::Sleep(until) => script.now += until.since(script.moment()),
            Action::Rest => panic!("rest"),
        }
    }
    script.run();
    for _ in 0..100 {
        script.sleep();
        let Action::Send { request, limit } = script.next() else {
            panic!("no renewal");
        };
        assert!(seconds(2) < limit);
        script.now += seconds(2);
        script.serve(&request);
        assert!(script.leads());
    }
    assert!(script.losses().is_empty());
}

#[test]
fn attempts_that_all_fail_have_pauses_and_end_the_term_on_time() {
    let mut script = Script::new();
    script.run();
    let begin = script.now;
    let mut requests = 0;
    while script.election.term().is_some() {
        match script.next() {
            Action::Send { .. } => script.answer(Answer::Failed),
            Action::Sleep(until) => script.now += until.since(script.moment()),
            Action::Rest => panic!("rest"),
        }
        requests += 1;
        assert!(requests < 30);
    }
    assert_eq!(script.since(begin), seconds(10));
    assert_eq!(script.losses(), [Loss::Deadline]);
    // A candidate again, which finds its own last record and goes on.
    let before = script.record().clone();
    script.sleep();
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert_eq!(script.record().acquire_time, before.acquire_time);
    assert_eq!(script.record().lease_transitions, before.lease_transitions);
}

#[test]
fn a_new_term_continues_the_last_one_only_if_no_other_process_led_meanwhile() {
    let mut script = Script::new();
    script.run();
    let first = script.election.term().unwrap().clone();
    script.now += seconds(30);
    script.run();
    let second = script.election.term().unwrap().clone();
    assert!(first.permits(script.moment()).is_err());
    assert!(second.continues(&first));
    script.now += seconds(30);
    script.write(HOLDER);
    script.write("");
    script.run();
    assert!(script.leads());
    assert!(!script.election.term().unwrap().continues(&second));
}

#[test]
fn another_holder_ends_the_term_at_once() {
    let mut script = Script::new();
    script.run();
    script.sleep();
    script.write(HOLDER);
    let requests = script.run();
    assert!(matches!(&requests[..], [Request::Update(..), Request::Get]));
    assert!(!script.leads());
    assert_eq!(script.losses(), [Loss::Taken(HOLDER.to_owned())]);
}

#[test]
fn an_unanswered_write_of_ours_is_recognized() {
    let mut script = Script::held_by("");
    let get = script.request();
    script.serve(&get);
    let Request::Update(record, _) = script.request() else {
        panic!("no update");
    };
    script.lease = Some((record, 9));
    script.answer(Answer::Failed);
    assert!(script.sleep() >= seconds(5));
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert_eq!(script.record().lease_transitions, 1);
}

#[test]
fn the_younger_of_two_processes_of_one_identity_steps_back() {
    for lost_answer in [false, true] {
        let mut script = Script::held_by("us");
        if lost_answer {
            let get = script.request();
            script.serve(&get);
            let Request::Update(record, _) = script.request() else {
                panic!("no update");
            };
            script.lease = Some((record, 9));
            script.answer(Answer::Failed);
            script.sleep();
        }
        script.run();
        assert!(script.leads());
        script.sleep();
        script.write("us");
        script.run();
        assert_eq!(script.losses(), [Loss::SameIdentity]);
        // From now on our own identity is that of a stranger.
        let begin = script.now;
        while !script.leads() {
            script.sleep();
            script.run();
            assert!(script.since(begin) < seconds(60));
        }
        assert!(script.since(begin) >= seconds(20));
        assert_eq!(script.record().lease_transitions, 2);
    }
}

#[test]
fn the_elder_of_two_processes_of_one_identity_keeps_the_lease() {
    let mut script = Script::held_by("us");
    script.run();
    for _ in 0..3 {
        script.sleep();
        script.run();
    }
    script.sleep();
    script.election.take_events();
    script.write("us");
    let requests = script.run();
    assert!(matches!(
        &requests[..],
        [Request::Update(..), Request::Get, Request::Update(..)]
    ));
    assert!(script.leads());
    let events = script.election.take_events();
    assert!(matches!(&events[..], [Event::SameIdentity]));
}

#[test]
fn a_suspended_elder_waits_for_the_process_that_took_its_place() {
    let mut script = Script::new();
    script.run();
    script.now += seconds(600);
    script.election.take_events();
    script.write("us");
    assert_eq!(script.run(), [Request::Get]);
    assert!(!script.leads());
    for _ in 0..2 {
        let events = script.election.take_events();
        let holders = events.iter().filter_map(|event| match event {
            Event::Holder(holder) => Some(&holder[..]),
            _ => None,
        });
        assert_eq!(holders.collect::<Vec<_>>(), ["us"]);
        script.sleep();
        // The stranger renews, which is no news. Then another holder comes, and the stranger again.
        script.write("us");
        script.run();
        assert!(script.election.take_events().is_empty());
        script.sleep();
        script.write(HOLDER);
        script.run();
        script.election.take_events();
        script.sleep();
        script.write("us");
        script.run();
    }
}

#[test]
fn a_lease_that_is_ours_is_not_reported_as_that_of_a_stranger() {
    let mut script = Script::held_by("us");
    script.run();
    script.now += seconds(30);
    script.run();
    assert!(script.leads());
    let events = script.election.take_events();
    assert!(!events.iter().any(|event| matches!(event, Event::Holder(_))));
}

#[test]
fn a_release_leaves_a_record_that_is_taken_at_once() {
    let mut script = Script::new();
    script.run();
    script.now += seconds(2);
    let term = script.election.term().unwrap().clone();
    script.election.release(script.moment());
    assert!(term.permits(script.moment()).is_err());
    let released = LeaseRecord {
        holder_identity: String::new(),
        lease_duration_seconds: 1,
        acquire_time: "2026-11-20T09:13:54.000000Z".to_owned(),
        renew_time: "2026-11-20T09:13:54.000000Z".to_owned(),
        lease_transitions: 0,
    };
    assert_eq!(script.run(), [Request::Update(released, "1".to_owned())]);
    assert_eq!(script.next(), Action::Rest);
    script.election.campaign(script.moment());
    assert_eq!(script.run().len(), 2);
    assert!(script.leads());
    assert!(!script.election.term().unwrap().continues(&term));
}

#[test]
fn a_release_is_repeated_and_given_up_after_the_renew_deadline() {
    let mut script = Script::new();
    script.run();
    script.election.release(script.moment());
    assert!(matches!(script.request(), Request::Update(..)));
    script.answer(Answer::Failed);
    assert_eq!(script.run().len(), 2);
    assert_eq!(script.next(), Action::Rest);
    assert_eq!(script.record().holder_identity, "");

    let mut script = Script::new();
    script.run();
    let begin = script.now;
    script.election.release(script.moment());
    loop {
        match script.next() {
            Action::Send { .. } => script.answer(Answer::Failed),
            Action::Sleep(until) => script.now += until.since(script.moment()),
            Action::Rest => break,
        }
    }
    assert!(script.since(begin) <= seconds(11));
}

#[test]
fn a_candidate_releases_only_what_it_may_hold() {
    let mut script = Script::held_by(HOLDER);
    script.run();
    script.election.release(script.moment());
    assert_eq!(script.next(), Action::Rest);

    // A term that was lost, while the lease still has our name.
    let mut script = Script::new();
    script.run();
    script.now += seconds(10);
    assert_eq!(script.request(), Request::Get);
    script.answer(Answer::Failed);
    script.election.release(script.moment());
    assert_eq!(script.run().len(), 2);
    assert_eq!(script.record().holder_identity, "");
    assert_eq!(script.next(), Action::Rest);
}

#[test]
fn a_stored_record_that_is_not_ours_is_followed_by_a_pause() {
    let mut script = Script::held_by("");
    let get = script.request();
    script.serve(&get);
    assert!(matches!(script.request(), Request::Update(..)));
    // A webhook of the API server may change what it stores.
    script.write("");
    let (record, version) = script.lease.clone().unwrap();
    script.answer(Answer::Stored(record, version.to_string()));
    assert!(!script.leads());
    assert!(script.sleep() >= seconds(5));
    assert_eq!(script.request(), Request::Get);
}

#[test]
fn an_acquire_time_that_is_missing_is_written_anew() {
    // The API server refuses an empty time, so a restart would never take its lease back.
    let mut script = Script::held_by("us");
    script.lease.as_mut().unwrap().0.acquire_time.clear();
    script.run();
    assert!(script.leads());
    assert_eq!(script.record().acquire_time, micro_time(wall(script.now)));
    assert_eq!(script.record().lease_transitions, 1);
    // Another program removes the fields from the lease of a leader, which still knows them.
    let before = script.record().clone();
    script.sleep();
    let (record, version) = script.lease.as_mut().unwrap();
    record.acquire_time.clear();
    record.lease_transitions = 0;
    *version += 1;
    script.run();
    assert!(script.leads());
    assert_eq!(script.record().acquire_time, before.acquire_time);
    assert_eq!(script.record().lease_transitions, before.lease_transitions);
    assert!(script.losses().is_empty());
}

#[test]
fn the_transitions_stay_within_what_the_api_server_accepts() {
    let mut script = Script::held_by("");
    script.lease.as_mut().unwrap().0.lease_transitions = i32::MAX.unsigned_abs();
    script.run();
    assert!(script.leads());
    assert_eq!(script.record().lease_transitions, i32::MAX.unsigned_abs());
}

#[test]
fn a_lease_of_ours_that_was_deleted_in_a_suspend_has_to_stand_still() {
    for suspend in [12, 600] {
        let mut script = Script::new();
        script.run();
        script.now += seconds(suspend);
        // Another process may have taken the lease before the deletion, and leads until it
        // notices it.
        script.lease = None;
        assert_eq!(script.run(), [Request::Get]);
        assert!(!script.leads());
        let begin = script.now;
        while !script.leads() {
            script.sleep();
            script.run();
            assert!(script.since(begin) < seconds(60));
        }
        assert!(script.since(begin) >= seconds(15));
    }
}

#[test]
fn a_process_that_led_for_long_is_the_elder_in_its_next_term_as_well() {
    let mut script = Script::held_by("us");
    script.run();
    for _ in 0..3 {
        script.sleep();
        script.run();
    }
    script.now += seconds(30);
    script.run();
    assert!(script.leads());
    assert_eq!(script.losses(), [Loss::Deadline]);
    script.sleep();
    script.write("us");
    script.run();
    assert!(script.leads());
    let events = script.election.take_events();
    assert!(matches!(&events[..], [Event::SameIdentity]));
}

#[test]
fn every_renewal_changes_the_record_even_if_the_wall_clock_stands() {
    let mut script = Script::new();
    script.run();
    let wall = wall(script.now);
    let mut times = vec![script.record().renew_time.clone()];
    // A clock that is set back must not repeat a time either.
    for wall in [wall, wall, wall - seconds(5)] {
        script.sleep();
        let Action::Send { request, .. } = script.election.next(script.moment(), wall) else {
            panic!("no renewal");
        };
        script.serve(&request);
        times.push(script.record().renew_time.clone());
    }
    let expected = [0, 1, 2, 3].map(|n| micro_time(wall + Duration::from_micros(n)));
    assert_eq!(times, expected);
}
