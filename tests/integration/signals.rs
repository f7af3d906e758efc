//! The stop by SIGTERM or SIGINT: idle, during a probe, and as PID 1.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::machine::in_namespaces;
use testkit::sys::send_signal;
use testkit::{Dir, Driver, PATIENCE, Process, Sidecar};

use super::support::livenessprobe;

#[test]
fn a_stop_signal_when_idle_ends_it_with_0() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let mut sidecar = livenessprobe().start(&dir.socket(), &[]);
        assert_eq!(sidecar.healthz().status, 200);
        let signalled = Instant::now();
        sidecar.process.signal(signal);
        assert_eq!(sidecar.process.wait().code(), Some(0));
        assert!(
            signalled.elapsed() < Duration::from_secs(1),
            "{:?}",
            signalled.elapsed()
        );
        sidecar
            .process
            .err
            .wait_for(0, &format!("\"Stopping\" signal=\"{name}\""));
    }
}

#[test]
fn a_stop_before_any_request_or_driver_ends_it_with_0() {
    let dir = Dir::new();
    let mut sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

#[test]
fn a_stop_at_its_first_log_line_ends_it_with_0() {
    for _ in 0..50 {
        let mut command = livenessprobe().command();
        command.args([
            "--csi-address=/no/such/socket",
            "--http-endpoint=127.0.0.1:0",
        ]);
        let mut process = Process::start(&mut command);
        process.err.wait_for(0, "Starting");
        process.signal(libc::SIGTERM);
        assert_eq!(process.wait().code(), Some(0));
    }
}

/// The start waits five seconds for an address that an interface may still get.
#[test]
fn a_stop_while_it_waits_for_an_address_ends_it_with_0_at_once() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let mut command = livenessprobe().command();
        command.args([
            "--csi-address=/no/such/socket",
            // TEST-NET-1 (RFC 5737), which no interface has.
            "--http-endpoint=192.0.2.1:9808",
        ]);
        let mut process = Process::start(&mut command);
        process.err.wait_for(0, "Waiting for an address");
        let signalled = Instant::now();
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(0));
        let took = signalled.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        process
            .err
            .wait_for(0, &format!("\"Stopping\" signal=\"{name}\""));
    }
}

#[test]
fn a_stop_in_mid_probe_lets_the_probe_finish() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[]);
    let client = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(client.join().unwrap().both(), (200, "ok"));
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

#[test]
fn a_stop_in_a_probe_that_hangs_takes_one_timeout_at_most() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    let client = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    let signalled = Instant::now();
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(client.join().unwrap().status, 500);
    assert_eq!(sidecar.process.wait().code(), Some(0));
    assert!(
        signalled.elapsed() < Duration::from_millis(1500),
        "{:?}",
        signalled.elapsed()
    );
}

#[test]
fn stopping_again_and_again_always_ends_with_0() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for _ in 0..50 {
        let mut sidecar = livenessprobe().start(&dir.socket(), &[]);
        let client = sidecar.spawn_get("/healthz");
        client.join().unwrap();
        sidecar.process.signal(libc::SIGTERM);
        assert_eq!(sidecar.process.wait().code(), Some(0));
    }
}

#[test]
fn pid_1_stops_too() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let Some(mut command) = in_namespaces(&["--pid", "--fork", "--kill-child"]) else {
        return;
    };
    command.arg(livenessprobe().binary()).args([
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]);
    let mut sidecar = Sidecar::run(&mut command);
    assert_eq!(sidecar.healthz().status, 200);
    // klog's header has the pid, which is 1 in the namespace.
    let line = sidecar.process.err.wait_for(0, "Listening");
    assert_eq!(line.split_whitespace().nth(2), Some("1"), "{line}");
    let unshare = sidecar.process.pid();
    let children = format!("/proc/{unshare}/task/{unshare}/children");
    let pid_1: i32 = std::fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    send_signal(pid_1, libc::SIGTERM);
    assert_eq!(sidecar.process.wait_at_most(PATIENCE).code(), Some(0));
}

#[test]
fn a_client_that_hung_up_does_not_delay_a_stop() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[]);
    let client = send_request(&sidecar);
    driver.has_had_probes(1);
    drop(client);
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

/// kubelet hangs up after `timeoutSeconds`, and its request stays for --probe-timeout.
#[test]
fn a_stop_waits_for_no_client_that_has_hung_up() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=60s"]);
    let client = send_request(&sidecar);
    driver.has_had_probes(1);
    drop(client);
    let took = stop(&mut sidecar);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// The sidecar may notice that just before the stop begins, just after, or meanwhile.
#[test]
fn a_stop_no_longer_waits_for_a_client_that_hangs_up_meanwhile() {
    let dir = Dir::new();
    for number in 0..30 {
        let driver = Driver::start(&dir.socket(), &["--hang"]);
        let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=60s"]);
        let client = send_request(&sidecar);
        driver.has_had_probes(1);
        let signalled = Instant::now();
        sidecar.process.signal(libc::SIGTERM);
        if number % 2 == 0 {
            sidecar.process.err.wait_for(0, "\"Stopping\"");
        }
        drop(client);
        assert_eq!(sidecar.process.wait().code(), Some(0));
        let took = signalled.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn a_stop_takes_five_seconds_at_most() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=60s"]);
    let _client = send_request(&sidecar);
    driver.has_had_probes(1);
    let took = stop(&mut sidecar);
    assert!(took > Duration::from_secs(4), "{took:?}");
    assert!(took < Duration::from_millis(5_500), "{took:?}");
}

/// The driver ends, the clients hang up, and then the stop comes. A probe that began now would
/// wait for a socket.
#[test]
fn no_probe_begins_after_a_stop_for_a_client_that_has_hung_up() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=60s"]);
    let clients = [send_request(&sidecar), send_request(&sidecar)];
    driver.has_had_probes(1);
    drop((driver, clients));
    std::fs::remove_file(dir.socket()).unwrap();
    let took = stop(&mut sidecar);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Stops a sidecar, checks that it exits with 0, and returns how long that took.
fn stop(sidecar: &mut Sidecar) -> Duration {
    let signalled = Instant::now();
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0));
    signalled.elapsed()
}

/// Connects and sends a request.
fn send_request(sidecar: &Sidecar) -> TcpStream {
    let mut client = TcpStream::connect(sidecar.address).unwrap();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    client
}
