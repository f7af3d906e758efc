//! Requests share one Probe call: no crowd reaches the driver, and each client still gets
//! an honest response.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use testkit::{Dir, Driver, LATENESS, PATIENCE, Response, Sidecar, h2};

use super::support::{RECEIVED, assert_deadline_exceeded, livenessprobe};

#[test]
fn twenty_requests_at_once_are_one_probe_or_two() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let clients: Vec<_> = (0..20).map(|_| sidecar.spawn_get("/healthz")).collect();
    for client in clients {
        assert_eq!(client.join().unwrap().both(), (200, "ok"));
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

/// How a Probe call ends.
enum End {
    /// With this reply.
    Reply(&'static [u8]),
    /// With the loss of the connection.
    Lost,
}

/// Checks that a request which arrived during a probe that fails in this way does not get
/// that failure, but the result of a later probe.
fn joins_a_probe_that_fails(first_end: End, first_body: &str) {
    let dir = Dir::new();
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let ends = Mutex::new(ends);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        begun.send(()).unwrap();
        match ends.lock().unwrap().recv().unwrap() {
            End::Reply(message) => {
                let reply = h2::ok(call.stream, message);
                call.send(&reply);
            }
            End::Lost => {
                let _ = call.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    });
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=10s", "--v=5"]);
    let first = sidecar.spawn_get("/healthz");
    has_begun.recv_timeout(PATIENCE).unwrap();
    let joining = sidecar.spawn_get("/healthz");
    sidecar.process.err.wait_for_count(RECEIVED, 2);
    end.send(first_end).unwrap();
    let first = first.join().unwrap();
    assert_eq!(first.both(), (500, first_body));
    has_begun.recv_timeout(PATIENCE).unwrap();
    end.send(End::Reply(h2::READY)).unwrap();
    assert_eq!(joining.join().unwrap().both(), (200, "ok"));
}

#[test]
fn a_request_does_not_get_the_failure_of_a_probe_that_began_before_it() {
    joins_a_probe_that_fails(
        End::Lost,
        "rpc error: code = Unavailable desc = Socket closed",
    );
}

#[test]
fn a_request_does_not_get_not_ready_from_a_probe_that_began_before_it() {
    joins_a_probe_that_fails(End::Reply(b"\x0a\x00"), "driver responded but is not ready");
}

#[test]
fn each_request_keeps_its_own_deadline() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    let timeout = Duration::from_secs(1);
    let early = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    std::thread::sleep(Duration::from_millis(500));
    // It joins a probe that fails when half of its own time is over.
    let late = sidecar.spawn_get("/healthz");
    for response in [early.join().unwrap(), late.join().unwrap()] {
        assert_deadline_exceeded(&response, timeout);
    }
}

#[test]
fn a_second_probe_ends_with_the_time_of_the_request_that_needs_it() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    // There is no driver. The first probe fails after 900 ms. The later request then has
    // 500 ms left, and its own probe ends when they are over.
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
fn a_late_request_that_joined_a_failing_probe_has_all_of_its_own_time() {
    // Request a arrives first, b a little later, and c when most of their time is over. The
    // probe that they share hangs. The driver that takes over afterwards needs more time
    // than a and b have left, and less than c has.
    let dir = Dir::new();
    let hanging = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let a = sidecar.spawn_get("/healthz");
    hanging.process.out.wait_for(0, "probe begin");
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

/// Sends so many requests at this pace, and cycles through these paths.
fn get_at_a_pace(
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
fn each_of_a_crowd_gets_the_cause_before_its_own_deadline() {
    // They are far more than are probed for at once, and arrive over more than a deadline.
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    for response in get_at_a_pace(&sidecar, &["/healthz"], 30, Duration::from_millis(50)) {
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
    for response in get_at_a_pace(&sidecar, &["/healthz"], 30, Duration::from_millis(50)) {
        let response = response.join().unwrap();
        assert_eq!(response.status, 500);
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        let took = response.took;
        assert!(took >= Duration::from_millis(900), "{response:?}");
        assert!(took < Duration::from_secs(1) + LATENESS, "{response:?}");
    }
}

#[test]
fn all_requests_that_wait_when_a_slow_probe_ends_are_answered_from_it() {
    // They have no time for a second probe.
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1200ms"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let first = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    let paths = ["/healthz", "/readyz", "/livez", "/healthz?verbose"];
    let clients = get_at_a_pace(&sidecar, &paths, 20, Duration::from_millis(20));
    assert_eq!(first.join().unwrap().status, 200);
    for client in clients {
        let response = client.join().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert!(
            response.took < Duration::from_millis(1_200) + LATENESS,
            "{response:?}"
        );
    }
}
