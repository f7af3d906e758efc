//! A private stream to tiny_http, and the trips over it: a request in our own
//! words, and the answer for all clients that travel together.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Asking;
use crate::health::Route;

/// Carries when the request came to the door, in nanoseconds since an origin
/// that both sides know: its window begins there.
pub const ARRIVED_HEADER: &str = "X-Arrived";

/// The longest answer that can be right, head included.
const REPLY_BYTES: usize = 1024 * 1024;
/// The longest body of one.
pub const BODY_BYTES: usize = REPLY_BYTES - 4096;

/// A private stream.
pub struct Stream {
    pub socket: UnixStream,
    pub trip: Option<Trip>,
}

/// A trip under way.
pub struct Trip {
    pub route: Route,
    pub clients: Vec<Asking>,
    /// When the last of its clients gives up; then it is overdue.
    pub deadline: Instant,
    /// Seconds counted since.
    pub overdue_ticks: u32,
    request: Vec<u8>,
    sent: usize,
    reply: Vec<u8>,
}

/// An answer as tiny_http wrote it, with what a client needs added.
pub struct Reply {
    pub status: u16,
    /// Head and body.
    pub whole: Arc<[u8]>,
    /// The head alone.
    pub head: Arc<[u8]>,
}

impl Stream {
    pub fn new(socket: UnixStream) -> Stream {
        Stream { socket, trip: None }
    }

    /// Sends these clients on their way.
    pub fn depart(&mut self, clients: Vec<Asking>, route: Route, origin: Instant) {
        let newest = clients
            .iter()
            .map(|client| client.arrived)
            .max()
            .unwrap_or(origin);
        let deadline = clients
            .iter()
            .map(|client| client.deadlines[1])
            .max()
            .unwrap_or(origin);
        let arrived = newest.saturating_duration_since(origin).as_nanos();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\n{ARRIVED_HEADER}: {arrived}\r\n\r\n",
            route.target()
        );
        self.trip = Some(Trip {
            route,
            clients,
            deadline,
            overdue_ticks: 0,
            request: request.into_bytes(),
            sent: 0,
            reply: Vec::new(),
        });
    }

    /// Whether there is something to send.
    pub fn wants_to_send(&self) -> bool {
        self.trip
            .as_ref()
            .is_some_and(|trip| trip.sent < trip.request.len())
    }

    /// Sends and receives what it can; the trip ends with its reply.
    ///
    /// # Errors
    ///
    /// When the stream has ended or says what cannot be understood: tiny_http is
    /// not there any more.
    pub fn advance(&mut self) -> io::Result<Option<(Trip, Reply)>> {
        let Some(trip) = &mut self.trip else {
            // Nothing was asked, so nothing but an end can have come.
            return match self.socket.read(&mut [0]) {
                Err(error) if is_later(&error) => Ok(None),
                Err(error) => Err(error),
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        };
        while trip.sent < trip.request.len() {
            match self.socket.write(&trip.request[trip.sent..]) {
                Ok(count) => trip.sent += count,
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 8192];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => trip.reply.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if trip.reply.len() > REPLY_BYTES {
                return Err(io::Error::other("an answer that is too long"));
            }
            if let Some(reply) = parse(&trip.reply)? {
                return Ok(self.trip.take().map(|trip| (trip, reply)));
            }
        }
    }
}

impl Trip {
    /// Counts a second that it is overdue; says how many there have been.
    pub fn tick(&mut self, now: Instant) -> u32 {
        if now >= self.deadline {
            self.overdue_ticks += 1;
            self.deadline = now + Duration::from_secs(1);
        }
        self.overdue_ticks
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Takes a complete reply apart; `None` while it is not.
fn parse(bytes: &[u8]) -> io::Result<Option<Reply>> {
    const END: &[u8] = b"\r\n\r\n";
    const CLOSE: &[u8] = b"\r\nConnection: close";
    let Some(head_end) = bytes.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let head = &bytes[..head_end];
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let length: Option<usize> = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::Error::other("an answer without status or length"));
    };
    let body = &bytes[head_end + END.len()..];
    if body.len() < length {
        return Ok(None);
    }
    Ok(Some(Reply {
        status,
        whole: [head, CLOSE, END, &body[..length]].concat().into(),
        head: [head, CLOSE, END].concat().into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_with_its_last_byte_and_closes() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).unwrap().is_none(), "{end}");
        }
        let reply = parse(bytes).unwrap().unwrap();
        assert_eq!(reply.status, 200);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
        assert_eq!(&*reply.head, head.as_bytes());
        assert_eq!(&*reply.whole, format!("{head}ok").as_bytes());
    }

    #[test]
    fn a_reply_without_a_length_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
