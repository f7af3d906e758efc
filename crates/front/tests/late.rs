//! A site that knows no answer when the time of a request is over, and one that panics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use front::{InFlight, Reply, Reserved, Schedule, Settings, Site};
use program::Program;

static PROGRAM: Program = Program {
    name: "test",
    package: "csi-test",
    version: "1",
    revision: "2",
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A site whose worker is done when the test says so.
struct Slow {
    is_done: Mutex<Receiver<()>>,
}

impl Site for Slow {
    type Route = bool;
    type Prepared = ();

    fn route(&self, _: usize, path: &str, _: &str) -> Option<bool> {
        assert_ne!(path, "/panic");
        Some(path == "/reply-panics")
    }

    fn groups(&self) -> usize {
        1
    }

    fn group(&self, _: bool) -> usize {
        0
    }

    fn schedule(&self, _: bool, arrived: Instant) -> Schedule {
        Schedule {
            cause: arrived + Duration::from_millis(100),
            last: arrived + Duration::from_millis(200),
            overslept: PATIENCE,
            last_chance: Duration::ZERO,
        }
    }

    fn prepare(&self, _: usize, _: Instant) {
        let is_done = self.is_done.lock().unwrap();
        let _ = is_done.recv_timeout(PATIENCE);
    }

    fn reply(&self, panics: bool, (): &()) -> Reply {
        assert!(!panics);
        Reply::plain(200, "ok")
    }
}

fn open() -> (SocketAddr, Sender<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (done, is_done) = channel();
    front::open(Settings {
        program: &PROGRAM,
        listeners: vec![listener],
        site: Arc::new(Slow {
            is_done: Mutex::new(is_done),
        }),
        reserved: Reserved {
            least: 0,
            wanted: 0,
            advice: String::new(),
        },
        in_flight: InFlight::default(),
        fatal: |reason| panic!("{reason}"),
    })
    .unwrap();
    (address, done)
}

/// The first line of the answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_request_without_an_answer_in_time_is_refused() {
    let (address, done) = open();
    let began = Instant::now();
    assert_eq!(get(address, "/"), "HTTP/1.1 503 Service Unavailable");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // The worker's answer comes too late for it, and is not the next one's.
    done.send(()).unwrap();
    done.send(()).unwrap();
    assert_eq!(get(address, "/"), "HTTP/1.1 200 OK");
}

#[test]
fn a_panic_of_the_site_is_an_answer() {
    let (address, done) = open();
    done.send(()).unwrap();
    for path in ["/panic", "/reply-panics"] {
        assert_eq!(get(address, path), "HTTP/1.1 500 Internal Server Error");
    }
    done.send(()).unwrap();
    assert_eq!(get(address, "/"), "HTTP/1.1 200 OK");
}
