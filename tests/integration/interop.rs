//! Behaviour that may depend on the gRPC library of the driver: texts in trailers,
//! connections left behind, the stop of a server. `make test` runs these tests against the
//! example driver, `make interop` against the libraries that drivers use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::driver::{Library, library};
use testkit::{Dir, Driver, LATENESS, PATIENCE, Response, eventually};

use super::support::{assert_deadline_exceeded, livenessprobe};

/// Returns the response's body for a driver that fails with this text.
fn body_of_failure(text: &str) -> String {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--error=9", &format!("--message={text}")]);
    let response = livenessprobe().start(&dir.socket(), &[]).healthz();
    assert_eq!(response.status, 500);
    response.body
}

fn failed_precondition(text: &str) -> String {
    format!("rpc error: code = FailedPrecondition desc = {text}")
}

#[test]
fn an_error_text_arrives_as_the_driver_wrote_it() {
    for text in [
        "Gerät läuft über, 磁盘已满, \u{1f4be}",
        // A percent sign begins an encoded byte in a trailer.
        "100% full, 50%25 of it in %41 and %zz%",
        "quotes \" and ' and <angles> & {braces} [brackets] \\ / ? # = + ~ ^ | `",
        " with spaces around ",
    ] {
        assert_eq!(body_of_failure(text), failed_precondition(text));
    }
}

#[test]
fn an_error_without_a_text_is_reported_by_its_code() {
    assert_eq!(body_of_failure(""), failed_precondition(""));
}

#[test]
fn an_error_text_of_5_kb_is_cut() {
    let text = "x".repeat(5_000);
    let cut = format!("{}... (3976 bytes more)", &text[..1_024]);
    assert_eq!(body_of_failure(&text), failed_precondition(&cut));
}

#[test]
fn an_error_text_too_long_for_headers_is_a_failed_call() {
    // The text of a status is part of the metadata, which may have 65 KiB. grpc-go sends a
    // little more than that, because C-core advertises a quarter more than it accepts.
    let body = body_of_failure(&"x".repeat(100_000));
    let begin = match library() {
        // It knows the advertised limit, and resets the stream.
        Library::Go => "rpc error: code = Internal desc = Received RST_STREAM with error code 2",
        _ => "rpc error: code = ResourceExhausted desc = ",
    };
    assert!(body.starts_with(begin), "{body}");
}

#[test]
fn a_driver_slower_than_the_deadline_is_given_up_and_stays_healthy() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=800ms"]);
    let timeout = Duration::from_millis(400);
    let hasty = livenessprobe().start(&dir.socket(), &["--probe-timeout=400ms"]);
    for _ in 0..3 {
        assert_deadline_exceeded(&hasty.healthz(), timeout);
    }
    // The connections for the late replies are closed.
    driver.process.out.wait_for_count("probe end", 3);
    let patient = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(patient.healthz().both(), (200, "ok"));
}

#[test]
fn sixty_requests_during_a_probe_are_answered_from_it() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=2s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=5s"]);
    let first = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    let others: Vec<_> = (0..59).map(|_| sidecar.spawn_get("/healthz")).collect();
    for client in std::iter::once(first).chain(others) {
        assert_eq!(client.join().unwrap().both(), (200, "ok"));
    }
    driver.has_had_probes(1);
}

#[test]
fn a_thousand_probes_leave_no_connection_at_the_driver() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    // These are the listener, and sockets that the library opens for itself.
    let idle = driver.sockets();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    for _ in 0..1_000 {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
    eventually("no connection at the driver", || driver.sockets() == idle);
    driver.has_had_probes(1_000);
}

/// Checks a response that came after the driver had stopped.
fn is_gone(response: &Response, dir: &Dir) {
    assert_eq!(response.status, 500);
    // Some libraries remove the socket file.
    let causes = ["no such file or directory", "connection refused"];
    assert!(
        causes
            .iter()
            .any(|cause| response.body == format!("cannot connect to {}: {cause}", dir.socket())),
        "{response:?}"
    );
}

#[test]
fn a_driver_that_stops_gracefully_during_a_call_replies_first() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &["--delay=500ms"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let client = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    driver.process.signal(libc::SIGTERM);
    assert_eq!(client.join().unwrap().both(), (200, "ok"));
    assert_eq!(driver.process.wait().code(), Some(0));
    is_gone(&sidecar.healthz(), &dir);
    let _driver = Driver::start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn a_driver_between_two_calls_stops_at_once() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    // There is no connection of the sidecar that it would have to wait for.
    let stopped = Instant::now();
    driver.process.signal(libc::SIGTERM);
    assert_eq!(driver.process.wait().code(), Some(0));
    assert!(
        stopped.elapsed() < Duration::from_secs(2),
        "{:?}",
        stopped.elapsed()
    );
    is_gone(&sidecar.healthz(), &dir);
}

#[test]
fn a_driver_that_restarts_on_its_path_is_found_whether_it_stopped_or_was_killed() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGTERM, libc::SIGKILL] {
        let mut driver = Driver::start(&dir.socket(), &[]);
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
        driver.process.signal(signal);
        driver.process.wait();
    }
}

#[test]
fn requests_while_a_driver_stops_get_its_reply_or_the_cause() {
    let dir = Dir::new();
    let timeout = Duration::from_millis(500);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    for _ in 0..10 {
        let mut driver = Driver::start(&dir.socket(), &[]);
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut responses = Vec::new();
                while !has_ended.load(Ordering::Relaxed) {
                    responses.push(sidecar.healthz());
                }
                responses
            });
            driver.process.out.wait_for_count("probe begin", 20);
            driver.process.signal(libc::SIGTERM);
            let ended = driver.process.wait_at_most(PATIENCE);
            has_ended.store(true, Ordering::Relaxed);
            assert_eq!(ended.code(), Some(0));
            for response in client.join().unwrap() {
                assert!(response.took < timeout + LATENESS, "{response:?}");
                let words = [
                    "ok",
                    "cannot connect to ",
                    "rpc error: code = Unavailable",
                    // C-core's server cancels a call that comes too late. In rare cases it
                    // does not reply until the deadline, and then ends.
                    "rpc error: code = Canceled",
                    match library() {
                        Library::Core | Library::Python => "rpc error: code = DeadlineExceeded",
                        Library::Go | Library::Node | Library::Tonic => "ok",
                    },
                ];
                assert!(
                    words.iter().any(|words| response.body.starts_with(words)),
                    "{response:?}"
                );
            }
        });
    }
}
