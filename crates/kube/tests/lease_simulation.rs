//! Elections in a simulated cluster: clocks that drift and stop, processes that are suspended and
//! restarted, and an API server whose requests and responses are late or lost.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use kube::lease::{Action, Answer, Election, Event, LeaseRecord, Request, Timing};
use kube::time::{Jitter, Moment};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// The faults of a run end here, and the rest of the run shows that the election recovers.
const FAULTS_END: u64 = 240 * SECOND;

/// A clock that runs too fast or too slow by up to a tenth. A leader's slow clock ends its term
/// after 11.1 s, and a candidate's fast one makes it wait 13.6 s.
struct Clock {
    /// The true time and this clock's time when its rate last changed.
    origin: (u64, u64),
    /// Thousandths of the true rate.
    rate: u64,
}

impl Clock {
    fn at(&self, now: u64) -> u64 {
        self.origin.1 + (now - self.origin.0) * self.rate / 1_000
    }

    fn set_rate(&mut self, rate: u64, now: u64) {
        self.origin = (now, self.at(now));
        self.rate = rate;
    }

    /// The true time at which this clock shows `local`, or a moment from now if it stands.
    fn shows(&self, local: u64, now: u64) -> u64 {
        let left = (local.saturating_sub(self.at(now)) * 1_000).div_ceil(self.rate.max(1));
        now + left.clamp(1, SECOND)
    }
}

struct Process {
    identity: String,
    election: Election,
    clock: Clock,
    /// What its wall clock is ahead of the others'.
    wall_ahead: u64,
    /// Until then it does not run.
    suspended_until: u64,
    /// The number of the request in flight.
    request: Option<u64>,
    writes: bool,
    rests: bool,
    stopped_last: u64,
}

enum Happening {
    /// The process has slept enough.
    Wake,
    /// The limit of a request has passed.
    Limit(u64),
    /// A request reaches the API server.
    Request(u64, Request),
    Response(u64, Answer),
    /// A fault is made, and the next one follows.
    Fault,
    ClockGoesOn,
    Campaign,
}

struct Cluster {
    random: Jitter,
    now: u64,
    agenda: BTreeMap<(u64, u64), (usize, Happening)>,
    number: u64,
    processes: Vec<Process>,
    lease: Option<(LeaseRecord, u64)>,
    unreachable_until: u64,
    leaders: u64,
    /// The number of processes that led when the run was looked at last.
    leading: Vec<usize>,
    lost: u64,
}

impl Cluster {
    fn new(seed: u64, identities: &[&str]) -> Cluster {
        let mut random = Jitter::new((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let processes = identities.iter().map(|identity| Process {
            identity: (*identity).to_owned(),
            election: election(identity, &mut random),
            clock: Clock {
                origin: (0, u64::from(random.bits()) * MILLISECOND),
                rate: 900 + u64::from(random.bits() % 201),
            },
            wall_ahead: u64::from(random.bits()) * SECOND,
            suspended_until: 0,
            request: None,
            writes: false,
            rests: false,
            stopped_last: 0,
        });
        let processes = processes.collect();
        let mut cluster = Cluster {
            random,
            now: 0,
            agenda: BTreeMap::new(),
            number: 0,
            processes,
            lease: None,
            unreachable_until: 0,
            leaders: 0,
            leading: Vec::new(),
            lost: 0,
        };
        for index in 0..identities.len() {
            cluster.plan(index, 1, Happening::Wake);
            cluster.plan(index, SECOND, Happening::Fault);
        }
        cluster
    }

    fn plan(&mut self, index: usize, after: u64, happening: Happening) {
        self.number += 1;
        let key = (self.now + after, self.number);
        self.agenda.insert(key, (index, happening));
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.bits().is_multiple_of(one_in)
    }

    fn below(&mut self, limit: u64) -> u64 {
        u64::try_from(self.random.below(Duration::from_nanos(limit)).as_nanos()).unwrap()
    }

    fn faulty(&self) -> bool {
        self.now < FAULTS_END
    }

    /// Runs until the true time `end` and checks after each step who leads.
    fn run(&mut self, end: u64, check: impl Fn(&Cluster)) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((now, _), (index, happening)) = entry.remove_entry();
            self.now = now;
            self.happen(index, happening);
            self.look();
            check(self);
        }
        self.now = end;
        self.look();
    }

    fn look(&mut self) {
        self.leading.clear();
        for (index, process) in self.processes.iter_mut().enumerate() {
            for event in process.election.take_events() {
                self.leaders += u64::from(matches!(event, Event::Leading(_)));
                self.lost += u64::from(matches!(event, Event::Lost(_)));
            }
            let now = moment(process.clock.at(self.now));
            let term = process.election.term();
            if term.is_some_and(|term| term.permits(now).is_ok()) {
                self.leading.push(index);
            }
        }
    }

    fn happen(&mut self, index: usize, happening: Happening) {
        let process = &mut self.processes[index];
        let local = process.clock.at(self.now);
        match happening {
            Happening::Request(number, request) => return self.serve(index, number, request),
            Happening::Fault => return self.fault(index),
            Happening::ClockGoesOn => {
                let rate = 900 + u64::from(self.random.bits() % 201);
                return process.clock.set_rate(rate, self.now);
            }
            happening if self.now < process.suspended_until => {
                let after = process.suspended_until - self.now;
                return self.plan(index, after, happening);
            }
            Happening::Response(number, answer) if process.request == Some(number) => {
                process.request = None;
                process.election.answer(answer, moment(local));
            }
            Happening::Limit(number) if process.request == Some(number) => {
                process.request = None;
                process.election.answer(Answer::Failed, moment(local));
            }
            Happening::Campaign => {
                process.rests = false;
                process.election.campaign(moment(local));
                process.request = None;
            }
            Happening::Wake if process.request.is_none() => {}
            _ => return,
        }
        self.act(index);
    }

    fn act(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let local = process.clock.at(self.now);
        let wall = UNIX_EPOCH + Duration::from_nanos(self.now + process.wall_ahead);
        match process.election.next(moment(local), wall) {
            Action::Rest => {
                if !process.rests {
                    process.rests = true;
                    self.plan(index, 20 * SECOND, Happening::Campaign);
                }
            }
            Action::Sleep(until) => {
                let at = process.clock.shows(until.nanoseconds(), self.now);
                self.plan(index, at - self.now, Happening::Wake);
            }
            Action::Send { request, limit } => {
                let limit = u64::try_from(limit.as_nanos()).unwrap();
                let at = process.clock.shows(local + limit, self.now);
                let number = self.number;
                process.request = Some(number);
                process.writes = request != Request::Get;
                let delay = self.delay();
                if !self.is_lost() {
                    self.plan(index, delay, Happening::Request(number, request));
                }
                self.plan(
                    index,
                    at.max(self.now + limit) - self.now,
                    Happening::Limit(number),
                );
            }
        }
    }

    fn delay(&mut self) -> u64 {
        let limit = match self.random.bits() % 32 {
            _ if !self.faulty() => 100 * MILLISECOND,
            0 => 40 * SECOND,
            1..=4 => 4 * SECOND,
            _ => 100 * MILLISECOND,
        };
        self.below(limit)
    }

    fn is_lost(&mut self) -> bool {
        self.faulty() && (self.now < self.unreachable_until || self.chance(16))
    }

    fn serve(&mut self, index: usize, number: u64, request: Request) {
        let version = self.lease.as_ref().map(|(_, version)| *version);
        let stored = match request {
            Request::Get => true,
            Request::Create(record) if version.is_none() => {
                self.lease = Some((record, number));
                true
            }
            Request::Update(record, expected)
                if version.map(|v| v.to_string()) == Some(expected.clone()) =>
            {
                self.lease = Some((record, number));
                true
            }
            Request::Create(_) | Request::Update(..) => false,
        };
        let answer = match &self.lease {
            _ if !stored => Answer::Failed,
            Some((record, version)) => Answer::Stored(record.clone(), version.to_string()),
            None => Answer::NotFound,
        };
        let delay = self.delay();
        if !self.is_lost() {
            self.plan(index, delay, Happening::Response(number, answer));
        }
    }

    fn fault(&mut self, index: usize) {
        if !self.faulty() {
            return;
        }
        let kind = self.random.bits() % 8;
        let long = self.below(60 * SECOND);
        let short = self.below(2 * SECOND);
        let now = self.now;
        let local = moment(self.processes[index].clock.at(now));
        let leads = self.processes[index].election.term().is_some();
        let process = &mut self.processes[index];
        match kind {
            // CLOCK_BOOTTIME goes on in a suspend.
            0 | 1 => process.suspended_until = process.suspended_until.max(now + long),
            // The clock itself stands, as that of a virtual machine that is paused. For a leader
            // no rule can be right if that lasts longer than the lease outlasts the term.
            2 | 3 if now > process.stopped_last + 30 * SECOND => {
                let may_lead = leads || (process.request.is_some() && process.writes);
                let duration = if may_lead { short } else { long };
                process.stopped_last = now + duration;
                process.clock.set_rate(0, now);
                process.suspended_until = process.suspended_until.max(now + duration);
                self.plan(index, duration, Happening::ClockGoesOn);
            }
            4 => {
                process.election = election(&process.identity, &mut self.random);
                process.request = None;
                process.rests = false;
                self.plan(index, short, Happening::Wake);
            }
            5 => {
                process.election.release(local);
                process.request = None;
                self.plan(index, 1, Happening::Wake);
            }
            6 => {
                process.wall_ahead = long * 1_000;
                self.unreachable_until = now + long / 2;
            }
            // Another program edits the labels.
            7 => {
                if let Some((_, version)) = &mut self.lease {
                    self.number += 1;
                    *version = self.number;
                }
            }
            _ => {}
        }
        let next = SECOND + self.below(40 * SECOND);
        self.plan(index, next, Happening::Fault);
    }
}

fn election(identity: &str, random: &mut Jitter) -> Election {
    let seed = (u64::from(random.bits()) << 32 | u64::from(random.bits())).to_le_bytes();
    Election::new(identity.to_owned(), Timing::default(), Jitter::new(seed))
}

fn moment(nanoseconds: u64) -> Moment {
    Moment::since_boot(Duration::from_nanos(nanoseconds))
}

const SEEDS: u64 = 400;

#[test]
fn no_two_terms_overlap_and_a_leader_comes_back() {
    let mut leaders = 0;
    let mut lost = 0;
    for seed in 0..SEEDS {
        let mut cluster = Cluster::new(seed, &["a", "b", "c", "d"]);
        let one = |cluster: &Cluster| {
            let leading = &cluster.leading;
            assert!(
                leading.len() <= 1,
                "seed {seed}, {} ns: {leading:?}",
                cluster.now
            );
        };
        // Every suspend, rest and delay is over after 60 s, a dead leader's lease 15 s later, and a
        // candidate looks at it every 11 s at most.
        cluster.run(FAULTS_END + 100 * SECOND, one);
        assert_eq!(cluster.leading.len(), 1, "seed {seed}");
        let leader = cluster.leading[0];
        // Without faults the leader stays.
        let before = cluster.lost;
        cluster.run(cluster.now + 60 * SECOND, one);
        assert_eq!(
            (cluster.lost, &cluster.leading[..]),
            (before, &[leader][..]),
            "seed {seed}"
        );
        // A released lease is taken by the candidate that looks at it next.
        let local = moment(cluster.processes[leader].clock.at(cluster.now));
        cluster.processes[leader].election.release(local);
        cluster.plan(leader, 1, Happening::Wake);
        let leaders_before = cluster.leaders;
        cluster.run(cluster.now + 13 * SECOND, one);
        assert_eq!(cluster.leaders, leaders_before + 1, "seed {seed}");
        assert_eq!(cluster.leading.len(), 1, "seed {seed}");
        leaders += cluster.leaders;
        lost += cluster.lost;
    }
    // The faults have to be bad enough to matter, and not so bad that there is no leader to speak of.
    println!("{leaders} terms and {lost} losses in {SEEDS} runs");
    assert!(leaders > 5 * SEEDS && lost > 2 * SEEDS, "{leaders} {lost}");
}

#[test]
fn of_processes_with_one_identity_one_leads_in_the_end() {
    for seed in 0..SEEDS {
        let mut cluster = Cluster::new(seed, &["same", "same", "c"]);
        let one_identity = |cluster: &Cluster| {
            let leading = &cluster.leading;
            let is_fine = leading.len() <= 1 || leading[..] == [0, 1];
            assert!(is_fine, "seed {seed}, {} ns: {leading:?}", cluster.now);
        };
        cluster.run(FAULTS_END + 120 * SECOND, one_identity);
        let leading = cluster.leading.clone();
        assert_eq!(leading.len(), 1, "seed {seed}");
        let before = cluster.lost;
        cluster.run(cluster.now + 60 * SECOND, one_identity);
        assert_eq!(
            (cluster.lost, &cluster.leading),
            (before, &leading),
            "seed {seed}"
        );
    }
}
