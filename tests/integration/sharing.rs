//! Sharing a Probe: no crowd at the driver, and still an honest answer for each.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::support::{Dir, Driver, LATENESS, PATIENCE, Sidecar, h2};

#[test]
fn twenty_requests_at_once_are_one_probe_or_two() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    let asked: Vec<_> = (0..20).map(|_| sidecar.ask("/healthz")).collect();
    for response in asked {
        assert_eq!(response.join().unwrap().both(), (200, "ok"));
    }
    assert!((1..=2).contains(&driver.probes()), "{}", driver.probes());
    assert_eq!(driver.most_at_once(), 1);
}

#[test]
fn a_crowd_that_keeps_coming_is_one_probe_at_a_time() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=200ms"]);
    let sidecar = Arc::new(Sidecar::start(&dir.socket(), &[]));
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let sidecar = Arc::clone(&sidecar);
            std::thread::spawn(move || {
                for _ in 0..5 {
                    assert_eq!(sidecar.healthz().both(), (200, "ok"));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(driver.most_at_once(), 1);
}

/// A driver whose first Probe fails when it is told to, and whose later ones
/// are answered with `later`.
fn first_fails_later(dir: &Dir, later: &'static [u8]) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (fail, told) = mpsc::channel();
    let told = Mutex::new(told);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        if call.number > 0 {
            let answer = h2::ok(call.stream, later);
            call.send(&answer);
            return;
        }
        begun.send(()).unwrap();
        told.lock().unwrap().recv().unwrap();
        let _ = call.socket.shutdown(std::net::Shutdown::Both);
    });
    (has_begun, fail)
}

#[test]
fn a_joiner_does_not_get_the_failure_of_a_flight_older_than_itself() {
    let dir = Dir::new();
    let (has_begun, fail) = first_fails_later(&dir, h2::READY);
    let sidecar = Sidecar::start(&dir.socket(), &["--v=10"]);
    let first = sidecar.ask("/healthz");
    has_begun.recv_timeout(PATIENCE).unwrap();
    let joiner = sidecar.ask("/healthz?joiner");
    // The joiner has no event of its own: it is there, or it is late and gets
    // the same answer from a flight of its own.
    std::thread::sleep(Duration::from_millis(300));
    fail.send(()).unwrap();
    let first = first.join().unwrap();
    assert_eq!(first.status, 500);
    assert!(first.body.contains("Unavailable"), "{first:?}");
    assert_eq!(joiner.join().unwrap().both(), (200, "ok"));
}

#[test]
fn a_joiner_does_not_get_not_ready_from_a_flight_older_than_itself_either() {
    let dir = Dir::new();
    let (begun, has_begun) = mpsc::channel();
    let (answer, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        let message: &[u8] = if call.number > 0 {
            h2::READY
        } else {
            b"\x0a\x00"
        };
        if call.number == 0 {
            begun.send(()).unwrap();
            told.lock().unwrap().recv().unwrap();
        }
        let answer = h2::ok(call.stream, message);
        call.send(&answer);
    });
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    let first = sidecar.ask("/healthz");
    has_begun.recv_timeout(PATIENCE).unwrap();
    let joiner = sidecar.ask("/healthz");
    std::thread::sleep(Duration::from_millis(300));
    answer.send(()).unwrap();
    assert_eq!(first.join().unwrap().status, 500);
    assert_eq!(joiner.join().unwrap().both(), (200, "ok"));
}

#[test]
fn each_waiter_keeps_its_own_deadline() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = Sidecar::start(&dir.socket(), &["--probe-timeout=1s"]);
    let timeout = Duration::from_secs(1);
    let early = sidecar.ask("/healthz");
    std::thread::sleep(Duration::from_millis(500));
    // Joins a flight that fails half-way through its window.
    let late = sidecar.ask("/healthz");
    for response in [early.join().unwrap(), late.join().unwrap()] {
        assert_eq!(response.status, 500);
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        assert!(
            response.took >= timeout && response.took < timeout + LATENESS,
            "{response:?}"
        );
    }
}

#[test]
fn a_fresh_flight_has_what_is_left_of_its_request_s_window() {
    let dir = Dir::new();
    let sidecar = Sidecar::start(&dir.socket(), &["--probe-timeout=1s"]);
    // No driver: the first flight fails after 900 ms, the joiner's own window
    // ends 500 ms later, and so does its answer.
    let early = sidecar.ask("/healthz");
    std::thread::sleep(Duration::from_millis(500));
    let late = sidecar.ask("/healthz");
    for response in [early.join().unwrap(), late.join().unwrap()] {
        assert!(
            response.body.contains("no such file or directory"),
            "{response:?}"
        );
        let took = response.took;
        assert!(
            took >= Duration::from_millis(900) && took < Duration::from_secs(1),
            "{response:?}"
        );
    }
}
