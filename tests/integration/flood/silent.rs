//! Connections that send nothing: when they are closed, and what their end costs.

use std::io::Read as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Dir, Driver, eventually};

use super::{REQUEST, start};
use crate::support::siege::{connect, crowd, reset};
use crate::support::threads::event_loop;

#[test]
fn a_connection_that_sends_nothing_is_closed_after_its_time() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 1024);
    let began = Instant::now();
    let mut silent: TcpStream = connect(sidecar.address);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    // It has a second in the kernel, whose timer is coarse, and two in the sidecar.
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// While there is no room for another request, connections without one are not read. Their
/// end must not wake the event loop again and again.
#[test]
fn connections_that_are_reset_while_there_is_no_room_cost_nothing() {
    let dir = Dir::new();
    // Without a driver all requests wait, and the event loop has no responses to send.
    let sidecar = start(&dir, 1024);
    let event_loop = event_loop(&sidecar);
    let on_processor = || {
        let path = format!("/proc/{}/task/{event_loop}/schedstat", sidecar.pid);
        let text = std::fs::read_to_string(path).unwrap();
        let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
        Duration::from_nanos(nanoseconds)
    };
    let at_rest = sidecar.descriptors();
    let begun = crowd(sidecar.address, 15, b"GET /");
    let mut waiting = crowd(sidecar.address, 511, REQUEST);
    eventually("511 requests", || {
        sidecar.descriptors() >= at_rest + 15 + 511
    });
    waiting.extend(crowd(sidecar.address, 1, REQUEST));
    eventually("the last request", || {
        sidecar.descriptors() >= at_rest + 15 + 512
    });
    let (before, full) = (on_processor(), Instant::now());
    for stream in begun {
        reset(stream);
    }
    assert!(
        full.elapsed() < Duration::from_millis(80),
        "too slow to reset them in time"
    );
    // A new request waits for room for so long (`FULL_TIME`).
    thread::sleep(Duration::from_millis(100));
    let took = on_processor().saturating_sub(before);
    assert!(took < Duration::from_millis(20), "{took:?}");
}
