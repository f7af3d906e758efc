//! Sharing a Probe: no crowd at the driver, and still an honest answer for each.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use testkit::{Dir, Driver, LATENESS, PATIENCE, Response, Sidecar, eventually, h2};

use super::support::{livenessprobe, requests_at_rest};

#[test]
fn twenty_requests_at_once_are_one_probe_or_two() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let asked: Vec<_> = (0..20).map(|_| sidecar.spawn_get("/healthz")).collect();
    for response in asked {
        assert_eq!(response.join().unwrap().both(), (200, "ok"));
    }
    driver.process.out.wait_for(0, "probe begin");
    let probes = driver.process.out.count("probe begin");
    assert!(probes <= 2, "{probes}");
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn a_crowd_that_keeps_coming_is_one_probe_at_a_time() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=200ms"]);
    let sidecar = Arc::new(livenessprobe().start(&dir.socket(), &[]));
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
    assert_eq!(driver.most_in_flight(), 1);
}

/// How a Probe ends.
enum End {
    /// With this reply.
    Reply(&'static [u8]),
    /// With the connection.
    Lost,
}

/// A joiner of a flight that ends like this: not with that flight's outcome,
/// but with a fresh one's.
fn joiner_outlives(first_end: End, first_body: &str) {
    let dir = Dir::new();
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let ends = Mutex::new(ends);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        begun.send(()).unwrap();
        match ends.lock().unwrap().recv().unwrap() {
            End::Reply(message) => {
                let answer = h2::ok(call.stream, message);
                call.send(&answer);
            }
            End::Lost => {
                let _ = call.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    });
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=10s"]);
    let at_rest = requests_at_rest(&sidecar);
    let first = sidecar.spawn_get("/healthz");
    has_begun.recv_timeout(PATIENCE).unwrap();
    let joiner = sidecar.spawn_get("/healthz");
    eventually("two requests under way", || {
        sidecar.threads_named("request").len() == at_rest + 2
    });
    end.send(first_end).unwrap();
    let first = first.join().unwrap();
    assert_eq!(first.both(), (500, first_body));
    // The joiner waits on, and not in vain.
    has_begun.recv_timeout(PATIENCE).unwrap();
    end.send(End::Reply(h2::READY)).unwrap();
    assert_eq!(joiner.join().unwrap().both(), (200, "ok"));
}

#[test]
fn a_joiner_does_not_get_the_failure_of_a_flight_older_than_itself() {
    joiner_outlives(
        End::Lost,
        "rpc error: code = Unavailable desc = Socket closed",
    );
}

#[test]
fn a_joiner_does_not_get_not_ready_from_a_flight_older_than_itself_either() {
    joiner_outlives(End::Reply(b"\x0a\x00"), "driver responded but is not ready");
}

#[test]
fn each_waiter_keeps_its_own_deadline() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    let timeout = Duration::from_secs(1);
    let early = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    std::thread::sleep(Duration::from_millis(500));
    // Joins a flight that fails half-way through its window.
    let late = sidecar.spawn_get("/healthz");
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
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    // No driver: the first flight fails after 900 ms, the joiner's own window
    // ends 500 ms later, and so does its answer.
    let early = sidecar.spawn_get("/healthz");
    std::thread::sleep(Duration::from_millis(500));
    let late = sidecar.spawn_get("/healthz");
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

#[test]
fn a_late_joiner_of_a_failing_flight_has_all_that_is_left_of_its_own_window() {
    // A asks, and so does B a little later; C comes when most of their time is
    // over. Their flight hangs; the driver that is there afterwards needs more
    // time than A and B have left, and less than C has.
    let dir = Dir::new();
    let frozen = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let a = sidecar.spawn_get("/healthz");
    frozen.process.out.wait_for(0, "probe begin");
    std::thread::sleep(Duration::from_millis(100));
    let b = sidecar.spawn_get("/healthz");
    std::thread::sleep(Duration::from_millis(1_200));
    let c = sidecar.spawn_get("/healthz");
    std::fs::remove_file(dir.socket()).unwrap();
    let _driver = Driver::start(&dir.socket(), &["--delay=600ms"]);
    assert_eq!(a.join().unwrap().status, 500);
    assert_eq!(b.join().unwrap().status, 500);
    let c = c.join().unwrap();
    assert_eq!(c.both(), (200, "ok"));
    assert!(c.took < Duration::from_secs(2) + LATENESS, "{c:?}");
}

/// So many requests, for these paths in turn, one begun after the other at this
/// pace.
fn asked_in_turn(
    sidecar: &Sidecar,
    paths: &[&str],
    count: usize,
    pace: Duration,
) -> Vec<JoinHandle<Response>> {
    let paths = paths.iter().cycle().take(count);
    paths
        .map(|path| {
            std::thread::sleep(pace);
            sidecar.spawn_get(path)
        })
        .collect()
}

#[test]
fn each_of_a_crowd_hears_the_cause_before_its_own_deadline() {
    // Far more than travel at once, spread over the time that they have.
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    for response in asked_in_turn(&sidecar, &["/healthz"], 30, Duration::from_millis(50)) {
        let response = response.join().unwrap();
        assert_eq!(response.status, 500);
        assert!(
            response.body.contains("no such file or directory"),
            "{response:?}"
        );
        assert!(response.took >= Duration::from_millis(900), "{response:?}");
        assert!(response.took < Duration::from_secs(1), "{response:?}");
    }
}

#[test]
fn each_of_a_crowd_keeps_its_deadline_before_a_driver_that_hangs() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    for response in asked_in_turn(&sidecar, &["/healthz"], 30, Duration::from_millis(50)) {
        let response = response.join().unwrap();
        assert_eq!(response.status, 500);
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        let took = response.took;
        assert!(took >= Duration::from_millis(900), "{response:?}");
        assert!(took < Duration::from_secs(1) + LATENESS, "{response:?}");
    }
}

#[test]
fn all_who_are_there_when_a_slow_probe_ends_are_answered_from_it() {
    // More than travel at once, and no time for a second Probe.
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1200ms"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let first = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    let paths = ["/healthz", "/readyz", "/livez", "/healthz?verbose"];
    let asked = asked_in_turn(&sidecar, &paths, 20, Duration::from_millis(20));
    assert_eq!(first.join().unwrap().status, 200);
    for response in asked {
        let response = response.join().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert!(
            response.took < Duration::from_millis(1_200) + LATENESS,
            "{response:?}"
        );
    }
}
