//! Bytes over a real connection to the HTTP front, with tiny_http behind it: the front sends
//! one response, which is the right one, and closes the connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use csi_livenessprobe::routes::{Paths, Route};
use front::head::{Head, path_and_query, read};
use front::{HEAD_BYTES, Immediate, InFlight, Reply, Reserved, Schedule, Settings, Site};
use program::Program;

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
        Head::Refused(error) => is_response(&response, error.status, error.why, false),
        Head::Complete(request) => {
            let (path, query) = path_and_query(&request.target);
            let (status, body) = match paths().route(path, query) {
                Some(Route::Health(_)) => (200, HEALTHY),
                Some(Route::Metrics) => (200, EXPOSITION),
                None => (404, "404 page not found"),
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

/// A site whose answers are there at once.
struct Ready;

impl Site for Ready {
    type Route = Route;
    type Prepared = ();

    fn route(&self, _: usize, path: &str, query: &str) -> Option<Route> {
        paths().route(path, query)
    }

    fn groups(&self) -> usize {
        2
    }

    fn group(&self, route: Route) -> usize {
        usize::from(route == Route::Metrics)
    }

    fn shares(&self, _: usize) -> usize {
        1
    }

    fn schedule(&self, _: Route, arrived: Instant) -> Schedule {
        Schedule {
            cause: arrived + PATIENCE,
            last: arrived + PATIENCE,
            overslept: PATIENCE,
            last_chance: PATIENCE,
        }
    }

    fn prepare(&self, _: usize, _: Instant) {}

    fn reply(&self, route: Route, (): &()) -> Reply {
        let body = match route {
            Route::Health(_) => HEALTHY,
            Route::Metrics => EXPOSITION,
        };
        Reply::plain(200, body)
    }

    fn immediate(&self, _: Route, _: Instant, _: Immediate) -> Option<Reply> {
        None
    }
}

/// Opens a front as the sidecar does.
fn open() -> SocketAddr {
    static PROGRAM: Program = Program {
        name: "test",
        package: "csi-test",
        version: "1",
        revision: "2",
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    front::open(Settings {
        program: &PROGRAM,
        listeners: vec![listener],
        site: Arc::new(Ready),
        reserved: Reserved {
            least: 0,
            wanted: 0,
            advice: String::new(),
        },
        in_flight: InFlight::default(),
        fatal: |reason| panic!("{reason}"),
    })
    .expect("a front");
    address
}
