//! Bytes over a real connection to the HTTP front, with tiny_http behind it: the front sends
//! one response, which is the right one, and closes the connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use csi_livenessprobe::admission::head::{Head, read};
use csi_livenessprobe::admission::{Door, Entrance, HEAD_BYTES, UnderWay, streams};
use csi_livenessprobe::health::{Paths, Route};
use csi_livenessprobe::server::{self, Reply};

/// How long the test waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// The body of a health response.
const HEALTHY: &str = "ok";
/// The body of a metrics response.
const EXPOSITION: &str = "# EOF\n";

/// Takes a byte that says how the rest is sent: in pieces of how many bytes, and whether the
/// client shuts down its sending side.
pub fn check(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else {
        return;
    };
    let bytes = &rest[..rest.len().min(4 * HEAD_BYTES)];
    let verdict = read(&bytes[..bytes.len().min(HEAD_BYTES)]);
    // A response to half a head would otherwise come at its deadline, two seconds later.
    let finishes = how & 1 == 0 || verdict == Head::Partial;
    let piece = match how >> 1 {
        0..64 => bytes.len(),
        size => usize::from(size) * 16,
    };
    let response = exchange(bytes, piece.max(1), finishes);
    match verdict {
        Head::Partial => assert!(response.is_empty(), "{}", response.escape_ascii()),
        Head::Refused(refusal) => is_response(&response, refusal.status, refusal.why, false),
        Head::Complete(request) => {
            let (status, body) = match paths().route(&request.target) {
                Route::Health(_) => (200, HEALTHY),
                Route::Metrics => (200, EXPOSITION),
                Route::Unknown => (404, "404 page not found"),
            };
            is_response(&response, status, body, request.is_head);
        }
    }
}

/// Sends these bytes and returns all bytes that come back.
fn exchange(bytes: &[u8], piece: usize, finishes: bool) -> Vec<u8> {
    static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(open);
    let mut stream = TcpStream::connect_timeout(&ADDRESS, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    for piece in bytes.chunks(piece) {
        // The front may have refused the request and closed the connection.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    if finishes {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut response = Vec::new();
    stream
        .read_to_end(&mut response)
        .expect("a response and a close");
    response
}

/// Checks that this is one response of HTTP/1.1, which closes the connection, and no more.
fn is_response(response: &[u8], status: u16, body: &str, is_head: bool) {
    let shown = response.escape_ascii().to_string();
    let text = std::str::from_utf8(response).expect("UTF-8");
    let (head, content) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{shown}"));
    assert!(
        head.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status}: {shown}"
    );
    let value = |name: &str| {
        let mut values = head.split("\r\n").skip(1).filter_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name}: {shown}"));
        assert_eq!(values.next(), None, "{shown}");
        value
    };
    assert_eq!(value("Connection"), "close");
    let length: usize = value("Content-Length").parse().expect("a number");
    assert!(content.len() == if is_head { 0 } else { length }, "{shown}");
    if !is_head {
        assert!(content.contains(body), "{body}: {shown}");
    }
}

fn paths() -> Paths {
    Paths {
        health: true,
        extra: vec!["nfs".to_owned()],
        metrics: Some("/metrics".to_owned()),
    }
}

/// Opens a front as the sidecar does, with a handler that responds at once.
fn open() -> SocketAddr {
    let beyond_repair = |reason: &str| panic!("{reason}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let origin = Instant::now();
    let respond = Arc::new(|route: Route, _: Instant| match route {
        Route::Health(_) => Reply::plain(200, HEALTHY.to_owned()),
        Route::Metrics => Reply::plain(200, EXPOSITION.to_owned()),
        Route::Unknown => Reply::plain(404, "404 page not found".to_owned()),
    });
    let private = server::open(streams(0), origin, respond, beyond_repair).expect("tiny_http");
    let entrance = Entrance {
        listener,
        paths: paths(),
    };
    Door::new(
        vec![entrance],
        private,
        origin,
        PATIENCE,
        Box::new(|_, _, _| None),
        UnderWay::default(),
        1,
    )
    .expect("a front")
    .open(beyond_repair)
    .expect("a thread");
    address
}
