//! How a call ends on the wire: with the end of the connection and no frame that a driver would
//! log, or, where the answer did not come in time, with a reset of the stream.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use testkit::{Dir, PATIENCE, h2};

use super::support::livenessprobe;

/// What a driver has received on a connection: the kinds of frames before the answer, those
/// behind it, and whether the connection ended without an error.
#[derive(Debug, Default)]
struct Received {
    before: Vec<u8>,
    behind: Vec<u8>,
    ended_well: bool,
}

/// A driver that answers each call with these bytes, and tells of each connection.
fn driver(dir: &Dir, answer: fn(u32) -> Vec<u8>) -> Receiver<Received> {
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let (report, reports) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let report = report.clone();
            std::thread::spawn(move || report.send(converse(socket, answer)));
        }
    });
    reports
}

fn converse(mut socket: UnixStream, answer: fn(u32) -> Vec<u8>) -> Received {
    let mut received = Received::default();
    let mut is_answered = false;
    let mut head = [0; 9];
    socket.read_exact(&mut [0; 24]).unwrap();
    socket
        .write_all(&h2::frame(h2::SETTINGS, 0, 0, &[]))
        .unwrap();
    socket
        .write_all(&h2::frame(h2::SETTINGS, h2::ACK, 0, &[]))
        .unwrap();
    loop {
        match socket.read(&mut head[..1]) {
            Ok(0) => {
                received.ended_well = true;
                return received;
            }
            Ok(_) => {}
            Err(_) => return received,
        }
        socket.read_exact(&mut head[1..]).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).unwrap();
        let kinds = if is_answered {
            &mut received.behind
        } else {
            &mut received.before
        };
        kinds.push(kind);
        if kind == h2::DATA && flags & h2::END_STREAM != 0 {
            is_answered = true;
            socket.write_all(&answer(stream)).unwrap();
        }
    }
}

#[test]
fn after_the_answer_the_connection_ends_without_a_last_word() {
    type Answer = fn(u32) -> Vec<u8>;
    let answers: [(u16, Answer); 3] = [
        (200, |stream| h2::ok(stream, h2::READY)),
        (500, |stream| h2::reply_ends(stream, "9")),
        (500, h2::ok_without_message),
    ];
    for (status, answer) in answers {
        let dir = Dir::new();
        let reports = driver(&dir, answer);
        let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=15s"]);
        for _ in 0..20 {
            assert_eq!(sidecar.healthz().status, status);
        }
        // And one that has asked for the name.
        for _ in 0..20 {
            let received = reports.recv_timeout(PATIENCE).unwrap();
            assert!(received.before.contains(&h2::HEADERS), "{received:?}");
            // What C-core has sent before it has read all of the answer.
            let early = [h2::SETTINGS, h2::WINDOW_UPDATE];
            assert!(
                received.behind.iter().all(|kind| early.contains(kind)),
                "{received:?}"
            );
            assert!(received.ended_well, "{received:?}");
        }
    }
}

#[test]
fn a_call_that_is_given_up_is_reset() {
    let dir = Dir::new();
    let reports = driver(&dir, |_| Vec::new());
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=300ms"]);
    assert_eq!(sidecar.healthz().status, 500);
    let received = reports.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(received.behind.contains(&h2::RST_STREAM), "{received:?}");
}
