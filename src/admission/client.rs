//! A client's connection in each of its states, and the non-blocking I/O on it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::head::{self, Head, Refusal, Request};
use super::limits::{HEAD_BYTES, HEAD_TIME, LINGER_BYTES, LINGER_TIME, WRITE_TIME};
use super::under_way::Guard;
use crate::health::Route;

/// A connection whose head is not complete yet.
pub struct Reading {
    pub socket: TcpStream,
    pub entrance: usize,
    pub accepted: Instant,
    pub deadline: Instant,
    bytes: Vec<u8>,
}

/// What reading came to.
pub enum Read {
    /// More is to come.
    Partial,
    /// The client has gone.
    Gone,
    /// The head is complete.
    Complete(Request),
    /// It is refused.
    Refused(Refusal),
}

impl Reading {
    pub fn new(socket: TcpStream, entrance: usize, now: Instant) -> Reading {
        Reading {
            socket,
            entrance,
            accepted: now,
            deadline: now + HEAD_TIME,
            bytes: Vec::new(),
        }
    }

    /// Whether it has sent anything at all.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads what is there.
    pub fn read(&mut self) -> Read {
        // One more than a head can have, so that one that is too long shows.
        let mut buffer = [0; 2048];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Read::Gone,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Partial,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Read::Gone,
            }
            match head::read(&self.bytes) {
                Head::Partial => {}
                Head::Complete(request) => return Read::Complete(request),
                Head::Refused(refusal) => return Read::Refused(refusal),
            }
            debug_assert!(self.bytes.len() < HEAD_BYTES);
        }
    }
}

/// A complete request.
pub struct Asking {
    pub socket: TcpStream,
    pub route: Route,
    pub arrived: Instant,
    /// When the door may answer in place of what is behind it, and when it must.
    pub deadlines: [Instant; 2],
    pub is_head: bool,
    /// Whether it may send more, and so must not be closed abruptly.
    pub lingers: bool,
    /// Method and target, where they are logged.
    pub label: Option<(String, String)>,
    pub guard: Guard,
}

impl Asking {
    /// When it is to be looked after next.
    pub fn deadline(&self) -> Instant {
        self.deadlines[0]
    }

    /// Whether this is the last time; if not, there is another.
    pub fn is_last_deadline(&mut self) -> bool {
        let is_last = self.deadlines[0] == self.deadlines[1];
        self.deadlines[0] = self.deadlines[1];
        is_last
    }
}

/// A client that has not taken all of its answer yet.
pub struct Writing {
    pub socket: TcpStream,
    pub deadline: Instant,
    bytes: Arc<[u8]>,
    sent: usize,
    lingers: bool,
    _guard: Option<Guard>,
}

/// What writing came to.
pub enum Written {
    /// There is more to write.
    Partly(Writing),
    /// All is written, and the client may still send.
    Lingers(Lingering),
    /// The connection is over.
    Closed,
}

impl Writing {
    pub fn new(
        socket: TcpStream,
        bytes: Arc<[u8]>,
        lingers: bool,
        guard: Option<Guard>,
        now: Instant,
    ) -> Writing {
        Writing {
            socket,
            deadline: now + WRITE_TIME,
            bytes,
            sent: 0,
            lingers,
            _guard: guard,
        }
    }

    /// Writes what there is room for.
    pub fn write(mut self, now: Instant) -> Written {
        while self.sent < self.bytes.len() {
            match self.socket.write(&self.bytes[self.sent..]) {
                Ok(0) => return Written::Closed,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Written::Partly(self);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Closed,
            }
        }
        if !self.lingers || self.socket.shutdown(Shutdown::Write).is_err() {
            return Written::Closed;
        }
        Written::Lingers(Lingering {
            socket: self.socket,
            deadline: now + LINGER_TIME,
            read: 0,
        })
    }
}

/// A connection that is answered and may still send.
pub struct Lingering {
    pub socket: TcpStream,
    pub deadline: Instant,
    read: usize,
}

impl Lingering {
    /// Reads and forgets; says whether the connection is over.
    pub fn is_over(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.read += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
            if self.read >= LINGER_BYTES {
                return true;
            }
        }
    }
}
