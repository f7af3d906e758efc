//! Probes that end when the test says so.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use csi::Code;

use super::*;
use crate::outcome::Readiness;

const PATIENT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);
/// The watchdog's.
const PATIENCE: Patience = Patience {
    tick: Duration::from_millis(20),
    ticks: 3,
};

/// A running probe: its moments, and what the test does with it.
struct ProbeUnderTest {
    moments: Moments,
    phases: Sender<Option<Phase>>,
    outcome: Sender<Outcome>,
}

impl ProbeUnderTest {
    fn enters(&self, phase: Phase) {
        self.phases.send(Some(phase)).unwrap();
    }

    fn ends(self, outcome: Outcome) {
        self.phases.send(None).unwrap();
        self.outcome.send(outcome).unwrap();
    }
}

struct Rig {
    probes: Arc<SharedProbe>,
    begun: Receiver<ProbeUnderTest>,
    stuck: Receiver<String>,
}

impl Rig {
    fn new() -> Rig {
        let (begins, begun) = channel();
        let (wedge, stuck) = channel();
        let probe = move |moments, phase: &mut dyn FnMut(Phase)| {
            let (phases, next) = channel();
            let (outcome, end) = channel();
            begins
                .send(ProbeUnderTest {
                    moments,
                    phases,
                    outcome,
                })
                .unwrap();
            while let Some(entered) = next.recv().unwrap() {
                phase(entered);
            }
            Report {
                outcome: end.recv().unwrap(),
                rpc: None,
                took: Duration::ZERO,
            }
        };
        let events = Events {
            ended: Box::new(|_| {}),
            stuck: Box::new(move |reason| {
                let _ = wedge.send(reason.to_owned());
            }),
        };
        let address = CsiAddress::parse("/csi/csi.sock").unwrap();
        let probes = SharedProbe::start(
            address,
            "/csi.v1.Identity/Probe",
            Box::new(probe),
            events,
            PATIENCE,
        )
        .unwrap();
        Rig {
            probes: Arc::new(probes),
            begun,
            stuck,
        }
    }

    fn ask(&self, moments: Moments) -> JoinHandle<Answer> {
        let probes = Arc::clone(&self.probes);
        thread::spawn(move || probes.ask(moments))
    }

    /// Asks while a probe is running, and waits until the request has joined.
    fn join(&self, moments: Moments) -> JoinHandle<Answer> {
        let asked = self.ask(moments);
        let until = Instant::now() + PATIENT;
        while self.probes.shared.lock().wanted() < Some(moments) {
            assert!(Instant::now() < until, "the joiner never came");
            thread::yield_now();
        }
        asked
    }

    fn next_probe(&self) -> ProbeUnderTest {
        self.begun.recv_timeout(PATIENT).unwrap()
    }
}

fn moments() -> Moments {
    Moments::new(Instant::now(), TIMEOUT)
}

fn lost() -> Outcome {
    Err(ProbeError::Call(CallError::new(Code::UNAVAILABLE, "lost")))
}

#[test]
fn a_success_answers_all_requests_that_joined_it() {
    let rig = Rig::new();
    let first = rig.ask(moments());
    let probe = rig.next_probe();
    let joiners: Vec<_> = (0..5).map(|_| rig.join(moments())).collect();
    probe.ends(Ok(Readiness::Ready));
    assert_eq!(first.join().unwrap().outcome, Ok(Readiness::Ready));
    for joiner in joiners {
        assert_eq!(joiner.join().unwrap().outcome, Ok(Readiness::Ready));
    }
    // No request waits, so no probe begins.
    assert!(rig.begun.recv_timeout(Duration::from_millis(50)).is_err());
}

#[test]
fn a_request_after_the_end_of_a_probe_has_its_own() {
    let rig = Rig::new();
    for _ in 0..3 {
        let asked = rig.ask(moments());
        rig.next_probe().ends(Ok(Readiness::Ready));
        assert_eq!(asked.join().unwrap().outcome, Ok(Readiness::Ready));
    }
}

#[test]
fn a_fresh_probe_has_the_latest_deadline_of_those_that_wait_for_it() {
    let rig = Rig::new();
    let first = rig.ask(moments());
    let probe = rig.next_probe();
    let early = rig.join(moments());
    let latest_moments = moments();
    let latest = rig.join(latest_moments);
    probe.ends(lost());
    assert_eq!(first.join().unwrap().outcome, lost());
    let fresh = rig.next_probe();
    assert_eq!(fresh.moments, latest_moments);
    fresh.ends(Ok(Readiness::NotReady));
    assert_eq!(early.join().unwrap().outcome, Ok(Readiness::NotReady));
    assert_eq!(latest.join().unwrap().outcome, Ok(Readiness::NotReady));
}

#[test]
fn neither_a_failure_nor_not_ready_answers_a_request_that_joined() {
    for outcome in [lost(), Ok(Readiness::NotReady)] {
        let rig = Rig::new();
        let first = rig.ask(moments());
        let probe = rig.next_probe();
        let joiner = rig.join(moments());
        probe.ends(outcome.clone());
        assert_eq!(first.join().unwrap().outcome, outcome);
        rig.next_probe().ends(Ok(Readiness::Ready));
        assert_eq!(joiner.join().unwrap().outcome, Ok(Readiness::Ready));
    }
}

#[test]
fn a_request_that_gives_up_gets_what_is_known() {
    let short = || Moments::new(Instant::now(), Duration::from_millis(80));
    let gone = ConnectError {
        address: "/csi/csi.sock".to_owned(),
        cause: "gone".to_owned(),
        reason: Reason::Other,
        is_transient: true,
    };
    for (phase, words) in [
        (None, "cannot connect to /csi/csi.sock: timed out"),
        (
            Some(Phase::Connecting(Some(gone))),
            "cannot connect to /csi/csi.sock: gone",
        ),
        (Some(Phase::Calling), "DeadlineExceeded"),
    ] {
        let rig = Rig::new();
        let first = rig.ask(moments());
        let probe = rig.next_probe();
        if let Some(phase) = phase {
            probe.enters(phase);
        }
        let asked = Instant::now();
        let late = rig.ask(short()).join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2));
        let words_of = late.outcome.unwrap_err().to_string();
        assert!(words_of.contains(words), "{words_of}");
        probe.ends(Ok(Readiness::Ready));
        assert_eq!(first.join().unwrap().outcome, Ok(Readiness::Ready));
        // The one that gave up wants no probe any more.
        assert!(rig.begun.recv_timeout(Duration::from_millis(100)).is_err());
    }
}

#[test]
fn a_call_that_never_ends_exhausts_the_watchdog_s_patience() {
    let rig = Rig::new();
    let asked = rig.ask(Moments::new(Instant::now(), Duration::from_millis(50)));
    let probe = rig.next_probe();
    probe.enters(Phase::Calling);
    assert!(asked.join().unwrap().outcome.is_err());
    let reason = rig.stuck.recv_timeout(PATIENT).unwrap();
    assert!(
        reason.starts_with("a gRPC call") && reason.contains("not ended 3 s"),
        "{reason}"
    );
    probe.ends(lost());
}

/// A resolver may take minutes.
#[test]
fn a_connect_that_lasts_uses_up_no_patience() {
    let rig = Rig::new();
    let asked = rig.ask(Moments::new(Instant::now(), Duration::from_millis(50)));
    let probe = rig.next_probe();
    assert!(asked.join().unwrap().outcome.is_err());
    // Many times its patience with a call.
    let many = PATIENCE.tick * PATIENCE.ticks * 10;
    assert!(rig.stuck.recv_timeout(many).is_err());
    let called = Instant::now();
    probe.enters(Phase::Calling);
    let reason = rig.stuck.recv_timeout(PATIENT).unwrap();
    assert!(reason.starts_with("a gRPC call"), "{reason}");
    // Each tick counts from then on; the first may have begun before.
    let least = PATIENCE.tick * (PATIENCE.ticks - 1);
    assert!(called.elapsed() >= least, "{:?}", called.elapsed());
    probe.ends(lost());
}

#[test]
fn a_probe_that_ends_late_does_not_exhaust_the_watchdog_s_patience() {
    let rig = Rig::new();
    let asked = rig.ask(Moments::new(Instant::now(), Duration::from_millis(50)));
    let probe = rig.next_probe();
    probe.enters(Phase::Calling);
    assert!(asked.join().unwrap().outcome.is_err());
    // Overdue, but within the patience.
    probe.ends(lost());
    assert!(rig.stuck.recv_timeout(Duration::from_millis(200)).is_err());
    let asked = rig.ask(moments());
    rig.next_probe().ends(Ok(Readiness::Ready));
    assert_eq!(asked.join().unwrap().outcome, Ok(Readiness::Ready));
}

#[test]
fn a_panic_in_a_probe_is_a_failure_and_the_next_one_begins() {
    let events = Events {
        ended: Box::new(|_| panic!("in the record, too")),
        stuck: Box::new(|_| {}),
    };
    let probe = |_: Moments, _: &mut dyn FnMut(Phase)| panic!("boom");
    let address = CsiAddress::parse("/csi/csi.sock").unwrap();
    let probes = SharedProbe::start(
        address,
        "/csi.v1.Identity/Probe",
        Box::new(probe),
        events,
        Patience::default(),
    )
    .unwrap();
    for _ in 0..2 {
        let error = probes.ask(moments()).outcome.unwrap_err().to_string();
        let words = "this sidecar has a bug, and the driver has no part in it: boom";
        assert!(error.contains(words), "{error}");
    }
}
