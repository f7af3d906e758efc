//! Crowds of honest clients that connect in the same moment, and how many requests have a
//! place.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use testkit::flood::get_politely;
use testkit::{Dir, Driver, Sidecar, eventually};

use super::{ANOTHER_ADDRESS, KUBELET, REQUEST, start};
use crate::support::siege::{crowd, crowd_from};
use crate::support::threads::event_loop;

/// Connects so many clients at once, sends their requests one after the other within half a
/// second, and returns the first lines of the responses. All clients share one thread: 400
/// threads would take more than half a second on a machine with two processors.
fn get_at_once(sidecar: &Sidecar, count: u32) -> Vec<String> {
    let mut clients = crowd(sidecar.address, usize::try_from(count).unwrap(), b"");
    let began = Instant::now();
    for (number, client) in (0..).zip(&mut clients) {
        let due = began + Duration::from_millis(500) / count * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.write_all(REQUEST).unwrap();
    }
    assert!(began.elapsed() < KUBELET, "too slow to send in time");
    let answers = clients.into_iter().map(|mut client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    });
    answers.collect()
}

/// Connects so many clients at once, and sends their requests some time later.
fn a_crowd_that_sends_later(count: usize, first: Duration) {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 1024);
    let silent = crowd(sidecar.address, count, b"");
    thread::sleep(first);
    // All requests are sent before the first response is read, so that none is late for the
    // two seconds that a request has, on a busy machine either.
    for mut stream in &silent {
        stream.write_all(REQUEST).unwrap();
    }
    for (number, mut stream) in silent.into_iter().enumerate() {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{number} of {count}: {answer:?}"
        );
    }
}

#[test]
fn crowds_that_connect_at_once_and_send_later_are_all_answered() {
    for count in [127, 129, 400, 511, 513] {
        a_crowd_that_sends_later(count, Duration::ZERO);
    }
}

#[test]
fn four_hundred_that_connect_at_once_are_all_answered_with_64_descriptors() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 64);
    for answer in get_at_once(&sidecar, 400) {
        assert_eq!(answer, "HTTP/1.1 200 OK");
    }
}

#[test]
fn crowds_that_are_silent_for_longer_than_the_kernel_keeps_them_are_all_answered() {
    for count in [127, 129, 511, 513] {
        a_crowd_that_sends_later(count, Duration::from_millis(1_500));
    }
}

/// Requests that arrive in the same moment as the one that takes the last place wait for a
/// place. They are not refused at once.
#[test]
fn a_crowd_that_sends_in_one_moment_waits_for_room() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=60ms"]);
    let sidecar = start(&dir, 1024);
    event_loop(&sidecar);
    let at_rest = sidecar.descriptors();
    let silent = crowd(sidecar.address, 560, b"");
    // The kernel keeps silent connections for a second.
    eventually("560 connections", || sidecar.descriptors() >= at_rest + 560);
    sidecar.process.freeze();
    for mut stream in &silent {
        stream.write_all(REQUEST).unwrap();
    }
    sidecar.process.thaw();
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}

#[test]
fn there_are_512_places_for_requests_and_no_fewer() {
    for (count, refused) in [(511, 0), (512, 0), (513, 1)] {
        let dir = Dir::new();
        let _driver = Driver::start(&dir.socket(), &["--hang"]);
        let sidecar = start(&dir, 1024);
        let answers: Vec<String> = crowd(sidecar.address, count, REQUEST)
            .into_iter()
            .map(|mut stream| {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
            .collect();
        let unavailable = answers
            .iter()
            .filter(|answer| answer.starts_with("HTTP/1.1 503 "));
        assert_eq!(unavailable.count(), refused, "{count}");
    }
}

/// Requests from another address take all places before a driver that is slow. Kubelet's
/// request is answered from its probe all the same.
#[test]
fn a_crowd_of_requests_from_another_address_leaves_room_for_kubelet() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = start(&dir, 1024);
    event_loop(&sidecar);
    let at_rest = sidecar.descriptors();
    let attackers = crowd_from(ANOTHER_ADDRESS, sidecar.address, 600, REQUEST);
    eventually("512 requests", || sidecar.descriptors() >= at_rest + 512);
    for answer in get_politely(sidecar.address, 20, &[Duration::ZERO]) {
        assert_eq!(answer.line, "HTTP/1.1 200 OK", "{answer:?}");
        assert!(answer.took < Duration::from_millis(2_700), "{answer:?}");
    }
    drop(attackers);
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn four_hundred_clients_before_a_driver_that_takes_a_second_are_all_answered() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = start(&dir, 1024);
    for answer in get_at_once(&sidecar, 400) {
        assert_eq!(answer, "HTTP/1.1 200 OK");
    }
    assert_eq!(driver.most_in_flight(), 1);
}
