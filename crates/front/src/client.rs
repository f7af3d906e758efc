//! A client's connection in each of its states, and the non-blocking I/O on it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use program::escape;

use crate::head::{self, Head, Request, RequestError};
use crate::in_flight::Guard;
use crate::incomplete::Accepted;
use crate::limits::{HEAD_BYTES, HEAD_TIME, LINGER_BYTES, LINGER_TIME, WRITE_TIME};
use crate::peer::Peer;
use crate::site::{Progress, Site};

/// A connection whose head is not complete yet.
pub struct Reading {
    pub socket: TcpStream,
    pub listener: usize,
    pub deadline: Instant,
    peer: Peer,
    accepted: Instant,
    bytes: Vec<u8>,
}

/// So many bytes are parsed each time that some come. kubelet's request line has fewer.
const FIRST_BYTES: usize = 64;

/// The result of reading.
pub enum Read {
    /// The head is not complete.
    Partial,
    /// The client has gone.
    Gone,
    /// The head is complete.
    Complete(Request),
    /// The request is refused.
    Refused(RequestError),
}

impl Reading {
    pub fn new(socket: TcpStream, peer: Peer, listener: usize, now: Instant) -> Reading {
        Reading {
            socket,
            listener,
            deadline: now + HEAD_TIME,
            peer,
            accepted: now,
            bytes: Vec::new(),
        }
    }

    /// Whether it has sent anything at all.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads what is there.
    pub fn read(&mut self) -> Read {
        let mut buffer = [0; 2048];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Read::Gone,
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    // A head that comes byte by byte would cost the square of its length if
                    // it were parsed each time. So it is parsed again only where a line has
                    // ended, and in the first bytes, by which other protocols are
                    // recognised.
                    let is_worth_it = self.bytes.len() >= HEAD_BYTES
                        || self.bytes.len() <= count + FIRST_BYTES
                        || buffer[..count].contains(&b'\n');
                    if !is_worth_it {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Partial,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Read::Gone,
            }
            match head::read(&self.bytes) {
                Head::Partial => {}
                Head::Complete(request) => return Read::Complete(request),
                Head::Refused(error) => return Read::Refused(error),
            }
        }
    }
}

impl Accepted for Reading {
    fn accepted(&self) -> Instant {
        self.accepted
    }

    fn peer(&self) -> Peer {
        self.peer
    }
}

/// A complete request that waits for its answer.
pub struct Client<S: Site> {
    pub socket: TcpStream,
    pub peer: Peer,
    pub route: S::Route,
    pub group: usize,
    pub arrived: Instant,
    /// When the event loop answers it without its worker.
    pub progress: Progress,
    pub is_head: bool,
    /// Whether it will send no more. Most often its client has gone, but a client may also close
    /// its sending side and wait, and is answered all the same if there is room.
    pub has_finished: bool,
    /// Whether it may send more, and so must not be closed abruptly.
    pub lingers: bool,
    pub label: Label,
    pub guard: Guard,
}

impl<S: Site> Client<S> {
    /// Whether it is of this group, or of any.
    pub fn is_in(&self, group: Option<usize>) -> bool {
        group.is_none_or(|group| self.group == group)
    }
}

/// A request's method and target, where requests are logged.
pub struct Label(Option<(String, String)>);

impl Label {
    /// Logs that the request has come.
    pub fn new(request: &Request) -> Label {
        let label = log::log_enabled!(log::Level::Debug).then(|| {
            (
                escape::capped(&request.method),
                escape::capped(&request.target),
            )
        });
        if let Some((method, target)) = &label {
            log::debug!(method = method.as_str(), target = target.as_str(); "Request received");
        }
        Label(label)
    }

    /// Logs how the request is answered.
    pub fn log(&self, status: u16) {
        if let Some((method, target)) = &self.0 {
            log::debug!(
                method = method.as_str(), target = target.as_str(), status = status;
                "Request answered"
            );
        }
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

/// The result of writing.
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

    /// Writes as much as there is room for.
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
    /// Reads and drops; says whether the connection is over.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server)
    }

    #[test]
    fn a_reader_that_does_not_read_is_waited_for_until_the_write_timeout() {
        let (mut client, server) = pair();
        let now = Instant::now();
        // More than the kernel buffers for a socket.
        let bytes: Arc<[u8]> = vec![b'x'; 32 << 20].into();
        let Written::Partly(writing) = Writing::new(server, bytes, false, None, now).write(now)
        else {
            panic!("32 MiB found room");
        };
        assert_eq!(writing.deadline, now + WRITE_TIME);
        let sent = writing.sent;
        assert!(sent > 0 && sent < 32 << 20, "{sent}");
        // Once the client reads, writing goes on from there.
        client.read_exact(&mut vec![0; sent]).unwrap();
        let more = match writing.write(now) {
            Written::Partly(writing) => writing.sent,
            Written::Lingers(_) | Written::Closed => panic!("all of 32 MiB found room"),
        };
        assert!(more > sent);
    }

    #[test]
    fn a_client_that_still_sends_is_listened_to_for_a_while() {
        let (mut client, server) = pair();
        let now = Instant::now();
        let bytes: Arc<[u8]> = b"answer".to_vec().into();
        let Written::Lingers(mut lingering) =
            Writing::new(server, bytes, true, None, now).write(now)
        else {
            panic!("closed at once");
        };
        assert_eq!(lingering.deadline, now + LINGER_TIME);
        assert!(!lingering.is_over());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        drop(client);
        let until = Instant::now() + Duration::from_secs(20);
        while !lingering.is_over() {
            assert!(Instant::now() < until);
        }
    }
}
