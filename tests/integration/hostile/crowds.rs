//! Crowds of clients with proper requests.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use testkit::{Dir, Driver};

use super::{REQUEST, siege};
use crate::support::livenessprobe;
use crate::support::siege::{crowd, hold, lay};

/// Lays siege with so many clients that each send one request after the other for this time,
/// before a driver that takes a second. Each response must be healthy.
fn clients_before_a_slow_driver(count: usize, time: Duration) {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, Duration::from_millis(2_700), || {
        let until = Instant::now() + time;
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    while Instant::now() < until {
                        assert_eq!(sidecar.healthz().both(), (200, "ok"));
                    }
                });
            }
        });
    });
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn forty_clients_before_a_driver_that_takes_a_second() {
    clients_before_a_slow_driver(40, 2 * hold());
}

#[test]
fn a_hundred_and_twenty_clients_before_a_driver_that_takes_a_second() {
    clients_before_a_slow_driver(120, hold());
}

#[test]
fn requests_without_a_place_are_refused() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let mut counts = (0, 0);
    for mut stream in crowd(sidecar.address, 600, REQUEST) {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        match &response[..12] {
            "HTTP/1.1 500" => counts.0 += 1,
            "HTTP/1.1 503" => counts.1 += 1,
            _ => panic!("{response}"),
        }
    }
    // The first requests keep their deadline, and the newest are refused.
    assert_eq!(counts, (512, 88));
}

#[test]
fn clients_that_hang_up_hold_no_place() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, Duration::from_millis(2_700), || {
        let until = Instant::now() + hold();
        while Instant::now() < until {
            // These are some thousand a second, more than there are places during a probe.
            drop(crowd(sidecar.address, 50, REQUEST));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn connections_that_all_send_at_once_after_a_silence_are_all_answered() {
    siege(|address| {
        let mut silent = crowd(address, 120, b"");
        for stream in &mut silent {
            stream.write_all(REQUEST).unwrap();
        }
        for mut stream in silent {
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
    });
}
