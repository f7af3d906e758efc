//! How a call ends on the wire: the sidecar closes the connection and sends no frame that a
//! driver would log. If the reply did not come in time, it resets the stream first.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use testkit::{Dir, PATIENCE, h2};

use super::support::livenessprobe;

/// What a driver has received on a connection: the types of the frames before its reply and
/// after it, and whether the connection ended without an error.
#[derive(Debug, Default)]
struct Received {
    before: Vec<u8>,
    after: Vec<u8>,
    ended_cleanly: bool,
}

/// Starts a driver that replies to each call with these bytes, and reports each connection.
fn driver(dir: &Dir, reply: fn(u32) -> Vec<u8>) -> Receiver<Received> {
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let (report, reports) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let report = report.clone();
            std::thread::spawn(move || report.send(converse(socket, reply)));
        }
    });
    reports
}

fn converse(mut socket: UnixStream, reply: fn(u32) -> Vec<u8>) -> Received {
    let mut received = Received::default();
    let mut has_replied = false;
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
                received.ended_cleanly = true;
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
        let kinds = if has_replied {
            &mut received.after
        } else {
            &mut received.before
        };
        kinds.push(kind);
        if kind == h2::DATA && flags & h2::END_STREAM != 0 {
            has_replied = true;
            socket.write_all(&reply(stream)).unwrap();
        }
    }
}

#[test]
fn after_the_reply_the_connection_ends_without_another_frame() {
    type Reply = fn(u32) -> Vec<u8>;
    let replies: [(u16, Reply); 3] = [
        (200, |stream| h2::ok(stream, h2::READY)),
        (500, |stream| h2::reply_ends(stream, "9")),
        (500, h2::ok_without_message),
    ];
    for (status, reply) in replies {
        let dir = Dir::new();
        let reports = driver(&dir, reply);
        let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=15s"]);
        for _ in 0..20 {
            assert_eq!(sidecar.healthz().status, status);
        }
        // One connection more was for the name of the driver.
        for _ in 0..20 {
            let received = reports.recv_timeout(PATIENCE).unwrap();
            assert!(received.before.contains(&h2::HEADERS), "{received:?}");
            // C-core may send these before it has read the whole reply.
            let early = [h2::SETTINGS, h2::WINDOW_UPDATE];
            assert!(
                received.after.iter().all(|kind| early.contains(kind)),
                "{received:?}"
            );
            assert!(received.ended_cleanly, "{received:?}");
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
    assert!(received.after.contains(&h2::RST_STREAM), "{received:?}");
}
