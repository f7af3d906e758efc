//! Requests that are malformed, too long or never complete.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use testkit::{Dir, Driver, http};

use super::{REQUEST, siege};
use crate::support::livenessprobe;
use crate::support::siege::{connect, crowd};

/// Sends a request several times and checks that each response has this status.
fn is_answered(address: SocketAddr, times: usize, status: u16, request: &str) {
    for _ in 0..times {
        assert_eq!(http::send(address, request).status, status, "{request}");
    }
}

/// Sends `begin` and then `more` again and again, on one connection after the other, until
/// `total` bytes are sent. The sidecar must close each connection long before.
fn pour(address: SocketAddr, begin: &[u8], more: &[u8], total: usize) {
    let mut sent = 0;
    let chunk = more.repeat(64 * 1024 / more.len());
    while sent < total {
        let mut stream = connect(address);
        let mut here = 0;
        if stream.write_all(begin).is_ok() {
            while let Ok(count) = stream.write(&chunk) {
                here += count;
                assert!(here < 64 << 20, "never cut off");
            }
        }
        // Bytes that only the kernel has buffered count, too.
        sent += here.max(1);
    }
}

const MB: usize = 1 << 20;

#[test]
fn a_body_of_100_terabytes_is_refused() {
    siege(|address| {
        is_answered(
            address,
            200,
            413,
            "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000\r\n\r\n",
        );
    });
}

#[test]
fn a_body_that_is_declared_and_never_sent_is_not_waited_for() {
    siege(|address| {
        let request = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        for mut stream in crowd(address, 100, request) {
            let mut response = String::new();
            // The sidecar may reset a connection when it keeps too many open for a late body.
            if stream.read_to_string(&mut response).is_ok() {
                assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
            }
        }
    });
}

#[test]
fn other_versions_are_refused() {
    siege(|address| {
        is_answered(
            address,
            200,
            505,
            "GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        );
        is_answered(address, 50, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    });
}

#[test]
fn a_te_header_that_cannot_be_sorted_is_ignored() {
    siege(|address| {
        let items: Vec<String> = (0..60)
            .map(|number| {
                format!(
                    "a{number};q={}",
                    if number % 3 == 0 { "nan" } else { "0.5" }
                )
            })
            .collect();
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: x\r\nTE: {}\r\nConnection: close\r\n\r\n",
            items.join(", ")
        );
        is_answered(address, 100, 200, &request);
    });
}

#[test]
fn a_request_that_is_not_http_is_refused() {
    siege(|address| {
        for request in [
            "\u{16}\u{3}\u{1}\0\u{5}\n\n",
            "GET /healthz\r\n\r\n",
            "GET /healthz HTTP/1.1\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rSet-Cookie: c\r\n\r\n",
        ] {
            is_answered(address, 20, 400, request);
        }
        is_answered(address, 20, 405, "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n");
        let expects = "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n";
        is_answered(address, 20, 417, expects);
    });
}

#[test]
fn a_hundred_megabytes_of_pipelined_requests_are_one_request() {
    siege(|address| {
        pour(address, b"", REQUEST, 100 * MB);
    });
}

#[test]
fn a_header_without_end_is_cut_off() {
    siege(|address| {
        pour(address, b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x", 100 * MB);
        is_answered(
            address,
            1,
            431,
            &format!(
                "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
                "x".repeat(9_000)
            ),
        );
    });
}

#[test]
fn a_target_without_end_is_cut_off() {
    siege(|address| {
        pour(address, b"GET /", b"x", 100 * MB);
        is_answered(address, 1, 414, &format!("GET /{}", "x".repeat(9_000)));
    });
}

#[test]
fn every_response_closes_the_connection() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        "nonsense\r\n\r\n",
    ] {
        // send() returns when the sidecar closes the connection.
        let response = http::send(sidecar.address, request);
        assert_eq!(response.header("Connection"), Some("close"), "{response:?}");
        assert!(response.took < Duration::from_secs(1), "{response:?}");
    }
}
