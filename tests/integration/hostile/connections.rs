//! Connections that send nothing, too little or too slowly, do not read, or are reset.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use testkit::{Dir, Driver};

use super::{REQUEST, siege};
use crate::support::livenessprobe;
use crate::support::siege::{PROMPT, connect, crowd, hold, lay, reset};

#[test]
fn two_thousand_idle_connections_keep_no_client_out() {
    siege(|address| {
        let held = crowd(address, 2_000, b"");
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn two_thousand_half_open_requests_keep_no_client_out() {
    siege(|address| {
        let held = crowd(address, 2_000, b"GET /healthz HTTP/1.1\r\nHost: ");
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn new_connections_without_end_keep_no_client_out() {
    siege(|address| {
        let until = Instant::now() + hold();
        while Instant::now() < until {
            drop(crowd(address, 50, b"GET /hea"));
        }
    });
}

#[test]
fn five_thousand_connections_that_are_reset_leave_nothing_behind() {
    siege(|address| {
        for number in 0..5_000 {
            let mut stream = connect(address);
            if number % 2 == 0 {
                let _ = stream.write_all(REQUEST);
            }
            reset(stream);
        }
    });
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_do_no_harm() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, PROMPT, || {
        // They wait in the kernel's queue and are reset before the sidecar accepts them. The
        // sidecar is stopped so briefly that the well-behaved client is still answered in
        // time.
        sidecar.process.freeze();
        for mut stream in crowd(sidecar.address, 200, b"") {
            let _ = stream.write_all(REQUEST);
            reset(stream);
        }
        sidecar.process.thaw();
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    siege(|address| {
        let held: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = connect(address);
                socket2::SockRef::from(&stream)
                    .set_recv_buffer_size(1_024)
                    .unwrap();
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                stream
            })
            .collect();
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn a_byte_at_a_time_is_too_slow() {
    siege(|address| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: a-very-patient-client.example\r\n\r\n";
        let began = Instant::now();
        let mut slow = crowd(address, 10, b"");
        let mut bytes = request.iter();
        while slow.iter().any(is_open) {
            if let Some(byte) = bytes.next() {
                for stream in &mut slow {
                    let _ = stream.write_all(&[*byte]);
                }
            }
            assert!(began.elapsed() < Duration::from_secs(4), "not cut off");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        for mut stream in slow {
            let mut response = String::new();
            if stream.read_to_string(&mut response).is_ok() {
                assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
            }
        }
    });
}

/// Returns whether the sidecar has neither answered nor closed the connection.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn clients_that_half_close_are_answered() {
    siege(|address| {
        for _ in 0..200 {
            let mut stream = connect(address);
            stream.write_all(REQUEST).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            assert!(response.ends_with("\r\n\r\nok"), "{response}");
        }
    });
}

#[test]
fn of_half_open_requests_the_oldest_gives_way() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let half = b"GET /healthz HTTP/1.1\r\n";
    let mut older = crowd(sidecar.address, 16, half);
    // This one connects first and begins its request a moment later.
    let mut younger = connect(sidecar.address);
    std::thread::sleep(Duration::from_millis(50));
    younger.write_all(half).unwrap();
    let mut response = String::new();
    older[0].read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    younger.write_all(b"Host: x\r\n\r\n").unwrap();
    response.clear();
    younger.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("\r\n\r\nok"), "{response}");
}

#[test]
fn a_head_has_two_seconds_however_many_others_begin() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let mut first = crowd(sidecar.address, 1, b"GET /").remove(0);
    let began = Instant::now();
    let others: Vec<TcpStream> = (0..4)
        .flat_map(|_| {
            std::thread::sleep(Duration::from_millis(400));
            crowd(sidecar.address, 1, b"GET /")
        })
        .collect();
    let mut response = String::new();
    first.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(
        began.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        began.elapsed()
    );
    drop(others);
}
