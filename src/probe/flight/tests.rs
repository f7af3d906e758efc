//! Sharing, with probes that end when the test says so.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::*;
use crate::probe::Code;

const PATIENT: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(10);
/// The watchdog's.
const PATIENCE: Patience = Patience {
    tick: Duration::from_millis(20),
    ticks: 3,
};

/// A flight in the air: its window, and what the test does with it.
struct InTheAir {
    window: Window,
    phases: Sender<Option<Phase>>,
    outcome: Sender<Outcome>,
}

impl InTheAir {
    fn enters(&self, phase: Phase) {
        self.phases.send(Some(phase)).unwrap();
    }

    fn ends(self, outcome: Outcome) {
        self.phases.send(None).unwrap();
        self.outcome.send(outcome).unwrap();
    }
}

struct Airport {
    flights: Arc<Flights>,
    departures: Receiver<InTheAir>,
    wedged: Receiver<String>,
}

impl Airport {
    fn open() -> Airport {
        let (departed, departures) = channel();
        let (wedge, wedged) = channel();
        let probe = move |window, phase: &mut dyn FnMut(Phase)| {
            let (phases, next) = channel();
            let (outcome, end) = channel();
            departed
                .send(InTheAir {
                    window,
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
            wedged: Box::new(move |reason| {
                let _ = wedge.send(reason.to_owned());
            }),
        };
        let address = CsiAddress::parse("/csi/csi.sock").unwrap();
        let flights = Flights::start(
            address,
            "/csi.v1.Identity/Probe",
            Box::new(probe),
            events,
            PATIENCE,
        )
        .unwrap();
        Airport {
            flights: Arc::new(flights),
            departures,
            wedged,
        }
    }

    fn ask(&self, window: Window) -> JoinHandle<Answer> {
        let flights = Arc::clone(&self.flights);
        thread::spawn(move || flights.ask(window))
    }

    /// Asks while a flight is in the air, and waits until that is known of.
    fn join(&self, window: Window) -> JoinHandle<Answer> {
        let asked = self.ask(window);
        let until = Instant::now() + PATIENT;
        while self.flights.shared.lock().wanted < Some(window) {
            assert!(Instant::now() < until, "the joiner never came");
            thread::yield_now();
        }
        asked
    }

    fn departure(&self) -> InTheAir {
        self.departures.recv_timeout(PATIENT).unwrap()
    }
}

fn window() -> Window {
    Window::new(Instant::now(), WINDOW)
}

fn lost() -> Outcome {
    Err(ProbeError::Call(CallError::new(Code::UNAVAILABLE, "lost")))
}

#[test]
fn a_success_answers_all_who_joined_it() {
    let airport = Airport::open();
    let first = airport.ask(window());
    let flight = airport.departure();
    let joiners: Vec<_> = (0..5).map(|_| airport.join(window())).collect();
    flight.ends(Ok(Readiness::Ready));
    assert_eq!(first.join().unwrap().outcome, Ok(Readiness::Ready));
    for joiner in joiners {
        assert_eq!(joiner.join().unwrap().outcome, Ok(Readiness::Ready));
    }
    // Nobody waits, so nothing flies.
    assert!(
        airport
            .departures
            .recv_timeout(Duration::from_millis(50))
            .is_err()
    );
}

#[test]
fn a_request_after_the_end_of_a_flight_has_its_own() {
    let airport = Airport::open();
    for _ in 0..3 {
        let asked = airport.ask(window());
        airport.departure().ends(Ok(Readiness::Ready));
        assert_eq!(asked.join().unwrap().outcome, Ok(Readiness::Ready));
    }
}

#[test]
fn a_fresh_flight_has_the_longest_window_of_those_who_wait_for_it() {
    let airport = Airport::open();
    let first = airport.ask(window());
    let flight = airport.departure();
    let early = airport.join(window());
    let latest_window = window();
    let latest = airport.join(latest_window);
    flight.ends(lost());
    assert_eq!(first.join().unwrap().outcome, lost());
    let fresh = airport.departure();
    assert_eq!(fresh.window, latest_window);
    fresh.ends(Ok(Readiness::NotReady));
    assert_eq!(early.join().unwrap().outcome, Ok(Readiness::NotReady));
    assert_eq!(latest.join().unwrap().outcome, Ok(Readiness::NotReady));
}

#[test]
fn neither_a_failure_nor_not_ready_is_a_joiner_s_answer() {
    for outcome in [lost(), Ok(Readiness::NotReady)] {
        let airport = Airport::open();
        let first = airport.ask(window());
        let flight = airport.departure();
        let joiner = airport.join(window());
        flight.ends(outcome.clone());
        assert_eq!(first.join().unwrap().outcome, outcome);
        airport.departure().ends(Ok(Readiness::Ready));
        assert_eq!(joiner.join().unwrap().outcome, Ok(Readiness::Ready));
    }
}

#[test]
fn a_window_that_closes_is_answered_with_what_is_known() {
    let short = || Window::new(Instant::now(), Duration::from_millis(80));
    let gone = ConnectError {
        address: "/csi/csi.sock".to_owned(),
        cause: "gone".to_owned(),
        reason: Reason::Other,
        passing: true,
    };
    for (phase, words) in [
        (None, "cannot connect to /csi/csi.sock: timed out"),
        (
            Some(Phase::Connecting(Some(gone))),
            "cannot connect to /csi/csi.sock: gone",
        ),
        (Some(Phase::Calling), "DeadlineExceeded"),
    ] {
        let airport = Airport::open();
        let first = airport.ask(window());
        let flight = airport.departure();
        if let Some(phase) = phase {
            flight.enters(phase);
        }
        let asked = Instant::now();
        let late = airport.ask(short()).join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2));
        let words_of = late.outcome.unwrap_err().to_string();
        assert!(words_of.contains(words), "{words_of}");
        flight.ends(Ok(Readiness::Ready));
        assert_eq!(first.join().unwrap().outcome, Ok(Readiness::Ready));
        // The one that gave up wants no flight any more.
        assert!(
            airport
                .departures
                .recv_timeout(Duration::from_millis(100))
                .is_err()
        );
    }
}

#[test]
fn a_call_that_never_ends_wears_out_the_watchdog() {
    let airport = Airport::open();
    let asked = airport.ask(Window::new(Instant::now(), Duration::from_millis(50)));
    let flight = airport.departure();
    flight.enters(Phase::Calling);
    assert!(asked.join().unwrap().outcome.is_err());
    let reason = airport.wedged.recv_timeout(PATIENT).unwrap();
    assert!(
        reason.starts_with("a gRPC call") && reason.contains("not ended 3 s"),
        "{reason}"
    );
    flight.ends(lost());
}

/// A resolver may take minutes.
#[test]
fn a_connect_that_lasts_does_not_wear_out_the_watchdog_nor_use_up_its_patience() {
    let airport = Airport::open();
    let asked = airport.ask(Window::new(Instant::now(), Duration::from_millis(50)));
    let flight = airport.departure();
    assert!(asked.join().unwrap().outcome.is_err());
    // Many times its patience with a call.
    let many = PATIENCE.tick * PATIENCE.ticks * 10;
    assert!(airport.wedged.recv_timeout(many).is_err());
    let called = Instant::now();
    flight.enters(Phase::Calling);
    let reason = airport.wedged.recv_timeout(PATIENT).unwrap();
    assert!(reason.starts_with("a gRPC call"), "{reason}");
    // Each tick counts from then on; the first may have begun before.
    let least = PATIENCE.tick * (PATIENCE.ticks - 1);
    assert!(called.elapsed() >= least, "{:?}", called.elapsed());
    flight.ends(lost());
}

#[test]
fn a_flight_that_ends_late_does_not_wear_out_the_watchdog() {
    let airport = Airport::open();
    let asked = airport.ask(Window::new(Instant::now(), Duration::from_millis(50)));
    let flight = airport.departure();
    flight.enters(Phase::Calling);
    assert!(asked.join().unwrap().outcome.is_err());
    // Overdue, but within the patience.
    flight.ends(lost());
    assert!(
        airport
            .wedged
            .recv_timeout(Duration::from_millis(200))
            .is_err()
    );
    let asked = airport.ask(window());
    airport.departure().ends(Ok(Readiness::Ready));
    assert_eq!(asked.join().unwrap().outcome, Ok(Readiness::Ready));
}

#[test]
fn a_panic_in_a_probe_is_a_failure_and_the_next_one_flies() {
    let events = Events {
        ended: Box::new(|_| panic!("in the record, too")),
        wedged: Box::new(|_| {}),
    };
    let probe = |_: Window, _: &mut dyn FnMut(Phase)| panic!("boom");
    let address = CsiAddress::parse("/csi/csi.sock").unwrap();
    let flights = Flights::start(
        address,
        "/csi.v1.Identity/Probe",
        Box::new(probe),
        events,
        Patience::default(),
    )
    .unwrap();
    for _ in 0..2 {
        let error = flights.ask(window()).outcome.unwrap_err().to_string();
        let words = "this sidecar has a bug, and the driver has no part in it: boom";
        assert!(error.contains(words), "{error}");
    }
}
