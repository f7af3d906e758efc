//! Periodic probes: their pace, the exit after too many failures, the health file, and HTTP
//! at the same time.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Dir, Driver, LATENESS, Process, Sidecar, eventually, h2, http};

use super::support::threads::PERIODIC;
use super::support::{RECEIVED, livenessprobe};

/// Starts a sidecar that serves no HTTP.
fn start(dir: &Dir, flags: &[&str]) -> Process {
    start_with(dir, flags, |_| {})
}

fn start_with(dir: &Dir, flags: &[&str], more: impl FnOnce(&mut Command)) -> Process {
    let mut command = livenessprobe().command();
    command
        .arg(format!("--csi-address={}", dir.socket()))
        .args(flags);
    more(&mut command);
    Process::start(&mut command)
}

fn health_file(path: &Path) -> String {
    format!("--health-file={}", path.display())
}

#[test]
fn a_thousand_rounds_keep_their_pace() {
    const INTERVAL: Duration = Duration::from_millis(20);
    let dir = Dir::new();
    // A loop that waited for the whole interval after each probe would need 29 s.
    let driver = Driver::start(&dir.socket(), &["--delay=9ms"]);
    let mut sidecar = start(&dir, &["--interval=20ms"]);
    driver.process.out.wait_for_count("probe begin", 1);
    let began = Instant::now();
    for hundreds in 1..=10 {
        let count = hundreds * 100 + 1;
        driver.process.out.wait_for_count("probe begin", count);
    }
    let took = began.elapsed();
    println!("{took:?}");
    // It is never quicker. A busy machine may miss 250 rounds, which are not made up.
    assert!(took + INTERVAL * 5 >= INTERVAL * 1_000, "{took:?}");
    assert!(took < INTERVAL * 1_250, "{took:?}");
    assert!(sidecar.is_running());
}

#[test]
fn a_slow_probe_never_overlaps_the_next() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=150ms"]);
    let began = Instant::now();
    let _sidecar = start(&dir, &["--interval=50ms", "--probe-timeout=1s"]);
    driver.process.out.wait_for_count("probe end", 5);
    // Each probe takes a little more than 150 ms, so the next one begins at the fourth tick
    // after its beginning. The bounds are for four such intervals and the last probe.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4 * 200 + 150), "{took:?}");
    assert!(took < Duration::from_millis(5 * 250 + 150), "{took:?}");
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn too_many_failures_in_a_row_end_it_with_1_and_the_reason() {
    let dir = Dir::new();
    let began = Instant::now();
    let mut sidecar = start(
        &dir,
        &["--interval=200ms", "--retries=3", "--probe-timeout=150ms"],
    );
    assert_eq!(sidecar.wait().code(), Some(1));
    assert!(began.elapsed() >= Duration::from_millis(2 * 200));
    let line = sidecar
        .err
        .wait_for(0, "Exiting after too many failed probes in a row");
    assert!(
        line.contains("no such file or directory")
            && line.contains("the last of 3 failed probes in a row"),
        "{line}"
    );
    assert_eq!(sidecar.err.count("Listening"), 0);
}

#[test]
fn a_success_resets_the_count_of_failures() {
    let dir = Dir::new();
    let listener = h2::serve(dir.socket().as_ref(), |mut call| {
        // Two failures and a success, twice, and then failures only.
        let reply = if call.number == 2 || call.number == 5 {
            h2::ok(call.stream, h2::READY)
        } else {
            [
                h2::reply_begins(call.stream),
                h2::reply_ends(call.stream, "9"),
            ]
            .concat()
        };
        call.send(&reply);
    });
    let mut sidecar = start(&dir, &["--interval=20ms", "--v=5"]);
    assert_eq!(sidecar.wait().code(), Some(1));
    assert_eq!(sidecar.err.count("\"Probe ended\""), 9);
    drop(listener);
}

#[test]
fn the_health_file_comes_with_the_first_success_and_goes_with_the_last_failure() {
    let dir = Dir::new();
    let path = dir.path().join("healthy");
    // A sidecar before this one has left it behind.
    std::fs::write(&path, "old").unwrap();
    let mut sidecar = start(
        &dir,
        &[
            "--interval=100ms",
            "--retries=20",
            "--probe-timeout=100ms",
            &health_file(&path),
        ],
    );
    eventually("no file of the sidecar before it", || !path.exists());
    let mut driver = Driver::start(&dir.socket(), &[]);
    eventually("a health file", || path.exists());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "ok\n");

    driver.process.kill();
    sidecar.err.wait_for(0, "Probe failed");
    // One failure is allowed.
    assert!(path.exists());
    assert_eq!(sidecar.wait().code(), Some(1));
    assert!(!path.exists());
    let left = std::fs::read_dir(dir.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["csi.sock"]);
}

#[test]
fn the_health_file_goes_with_the_process() {
    let dir = Dir::new();
    let path = dir.path().join("healthy");
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = start(&dir, &["--interval=20ms", &health_file(&path)]);
    eventually("a health file", || path.exists());
    sidecar.signal(libc::SIGTERM);
    assert_eq!(sidecar.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_health_file_that_cannot_be_written_ends_the_start() {
    let dir = Dir::new();
    let existing = dir.path();
    for path in [existing.join("none/healthy"), existing.to_owned()] {
        let mut sidecar = start(&dir, &[&health_file(&path)]);
        assert_eq!(sidecar.wait().code(), Some(1));
        let line = sidecar.err.wait_for(0, "cannot write the health file");
        assert!(line.contains(&path.display().to_string()), "{line}");
    }
}

#[test]
fn http_is_answered_from_the_periodic_outcomes() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--interval=1h"]);
    driver.process.out.wait_for(0, "probe end");
    assert_eq!(sidecar.threads_named(PERIODIC).len(), 1);
    for path in ["/healthz", "/readyz", "/livez", "/healthz?verbose"] {
        assert_eq!(sidecar.get(path).status, 200);
    }
    driver.has_had_probes(1);
    let text = sidecar.get("/metrics").body;
    assert!(text.contains("csi_sidecar_probe_success"), "{text}");
}

#[test]
fn http_probes_again_when_the_last_outcome_is_old() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let flags = ["--interval=300ms", "--probe-timeout=300ms"];
    let sidecar = livenessprobe().start(&dir.socket(), &flags);
    sidecar.process.err.wait_for(0, "CSI driver name");
    driver.process.out.wait_for_count("probe end", 3);
    // The sidecar is stopped between two rounds: a reply that waits to be read would be a
    // fresh outcome.
    let at_rest = (0..1_000).map(|_| sidecar.descriptors()).min().unwrap();
    eventually("a moment without a probe", || {
        sidecar.process.freeze();
        let is_at_rest = sidecar.descriptors() == at_rest;
        if !is_at_rest {
            sidecar.process.thaw();
        }
        is_at_rest
    });
    driver.process.freeze();
    // For longer than an outcome is valid: the interval, the timeout and a second.
    std::thread::sleep(Duration::from_secs(2));
    let client = sidecar.spawn_get("/healthz");
    sidecar.process.thaw();
    let response = client.join().unwrap();
    assert_eq!(response.status, 500, "{response:?}");
    driver.process.thaw();
    eventually("a healthy driver", || sidecar.healthz().status == 200);
}

#[test]
fn variables_give_values_and_flags_win() {
    let dir = Dir::new();
    let began = Instant::now();
    let mut sidecar = start_with(&dir, &["--retries=2", "--timeout=100ms"], |command| {
        command
            .env("LIVENESS_PROBE_INTERVAL", "200ms")
            .env("LIVENESS_PROBE_RETRIES", "none")
            .env("LIVENESS_PROBE_TIMEOUT", "1h")
            .env("CSI_ENDPOINT", "nonsense");
    });
    assert_eq!(sidecar.wait().code(), Some(1));
    sidecar
        .err
        .wait_for(0, "the last of 2 failed probes in a row");
    assert!(began.elapsed() < Duration::from_millis(300) + LATENESS + LATENESS);
    // A variable whose flag is given is not even read.
    assert_eq!(sidecar.err.count("Environment variable"), 0);
}

#[test]
fn variables_alone_start_no_periodic_probes() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = livenessprobe().command();
    command
        .arg(format!("--csi-address={}", dir.socket()))
        .arg("--health-port=0")
        .env("LIVENESS_PROBE_INTERVAL", "10ms")
        .env("LIVENESS_PROBE_RETRIES", "1");
    let sidecar = Sidecar::run(&mut command);
    for name in ["LIVENESS_PROBE_INTERVAL=10ms", "LIVENESS_PROBE_RETRIES=1"] {
        let line = sidecar.process.err.wait_for(0, name);
        assert!(
            line.starts_with('W') && line.contains("--interval"),
            "{line}"
        );
    }
    let port = sidecar.address.port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(http::get(address, "/healthz").both(), (200, "ok"));
    assert_eq!(sidecar.threads_named(PERIODIC), [0; 0]);
}

#[test]
fn a_stop_while_the_driver_fails_is_a_clean_stop() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let flags = ["--retries=1", "--probe-timeout=1s", "--v=5"];
    let mut sidecar = livenessprobe().start(&dir.socket(), &flags);
    let client = sidecar.spawn_get("/healthz");
    sidecar.process.err.wait_for(0, RECEIVED);
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0), "{}", sidecar.log());
    assert_eq!(client.join().unwrap().status, 500);
}

#[test]
fn an_old_health_file_is_removed_even_if_the_start_fails() {
    let dir = Dir::new();
    let path = dir.path().join("healthy");
    std::fs::write(&path, "ok\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("--http-endpoint={}", taken.local_addr().unwrap());
    let mut sidecar = start(&dir, &[&health_file(&path), &endpoint]);
    assert_eq!(sidecar.wait().code(), Some(1));
    assert!(!path.exists());
}

#[test]
fn a_link_or_a_fifo_in_place_of_the_temporary_health_file_does_no_harm() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let path = dir.path().join("healthy");
    let (beside, precious) = (dir.path().join(".healthy.new"), dir.path().join("precious"));
    std::fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, &beside).unwrap();
    let mut sidecar = start(&dir, &["--interval=20ms", &health_file(&path)]);
    eventually("a health file", || path.exists());
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    sidecar.kill();

    std::fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo").arg(&beside).status().unwrap();
    assert!(made.success());
    let mut sidecar = start(&dir, &["--interval=20ms", &health_file(&path)]);
    eventually("a health file", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text == "ok\n")
    });
    sidecar.signal(libc::SIGTERM);
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn a_health_file_that_was_removed_is_written_again() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let path = dir.path().join("healthy");
    let _sidecar = start(&dir, &["--interval=20ms", &health_file(&path)]);
    eventually("a health file", || path.exists());
    std::fs::remove_file(&path).unwrap();
    eventually("the health file again", || path.exists());
}
