//! An exchange with a worker: one stream for each group of requests, over which tiny_http is
//! asked, and the requests that wait for what comes back.
//!
//! The request carries the number of the group, and the response is empty. Both ends are in this
//! process, so the time of arrival and the prepared answers are handed over in memory.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use program::threads;

use crate::client::Client;
use crate::site::Site;

/// What the event loop and a worker hand over to each other.
pub struct Slot<P> {
    inner: Mutex<Inner<P>>,
}

struct Inner<P> {
    arrived: Instant,
    prepared: Option<P>,
}

impl<P> Slot<P> {
    pub fn new() -> Slot<P> {
        let inner = Inner {
            arrived: Instant::now(),
            prepared: None,
        };
        Slot {
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<P>> {
        threads::lock(&self.inner)
    }

    /// When the newest of the requests arrived.
    pub fn arrived(&self) -> Instant {
        self.lock().arrived
    }

    /// Keeps what a worker has prepared.
    pub fn put(&self, prepared: P) {
        self.lock().prepared = Some(prepared);
    }
}

/// The stream of one group.
pub struct Exchange<S: Site> {
    pub socket: UnixStream,
    slots: Arc<[Slot<S::Prepared>]>,
    group: usize,
    request: String,
    pub pending: Option<Pending<S>>,
}

/// The end of an exchange.
pub struct Ended<S: Site> {
    pub clients: Vec<Client<S>>,
    /// What the worker has prepared, which is nothing if it panicked.
    pub prepared: Option<S::Prepared>,
}

/// Requests that wait for their worker.
pub struct Pending<S: Site> {
    pub clients: Vec<Client<S>>,
    /// When the last of its clients gives up; from then on the worker is overdue.
    pub deadline: Instant,
    /// Seconds counted since.
    overdue_ticks: u32,
    sent: usize,
    response: Vec<u8>,
}

impl<S: Site> Exchange<S> {
    /// The exchange of the group of this index, whose slot has the same index.
    pub fn new(group: usize, socket: UnixStream, slots: Arc<[Slot<S::Prepared>]>) -> Exchange<S> {
        Exchange {
            socket,
            slots,
            group,
            request: format!("GET /{group} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            pending: None,
        }
    }

    /// Begins an exchange for these clients.
    pub fn begin(&mut self, clients: Vec<Client<S>>) {
        let now = Instant::now();
        let newest = clients.iter().map(|client| client.arrived).max();
        let deadline = clients.iter().map(|client| client.progress.last()).max();
        let mut inner = self.slots[self.group].lock();
        inner.arrived = newest.unwrap_or(now);
        inner.prepared = None;
        drop(inner);
        self.pending = Some(Pending {
            clients,
            deadline: deadline.unwrap_or(now),
            overdue_ticks: 0,
            sent: 0,
            response: Vec::new(),
        });
    }

    /// Whether there is something to send.
    pub fn wants_to_send(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| pending.sent < self.request.len())
    }

    /// Sends and receives as much as it can.
    ///
    /// # Errors
    ///
    /// When the stream has ended, or tiny_http says what cannot be understood.
    pub fn advance(&mut self) -> io::Result<Option<Ended<S>>> {
        const END: &[u8] = b"\r\n\r\n";
        const RESPONSE_BYTES: usize = 4096;
        let Some(pending) = &mut self.pending else {
            // Nothing was asked, so nothing but the end of the stream can have come.
            return match self.socket.read(&mut [0]) {
                Err(error) if is_later(&error) => Ok(None),
                Err(error) => Err(error),
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        };
        while pending.sent < self.request.len() {
            match self.socket.write(&self.request.as_bytes()[pending.sent..]) {
                Ok(count) => pending.sent += count,
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 512];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => pending.response.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if pending.response.ends_with(END) {
                break;
            }
            if pending.response.len() > RESPONSE_BYTES {
                return Err(io::Error::other("tiny_http's response has no end"));
            }
        }
        let prepared = self.slots[self.group].lock().prepared.take();
        let pending = self.pending.take();
        Ok(pending.map(|pending| Ended {
            clients: pending.clients,
            prepared,
        }))
    }
}

impl<S: Site> Pending<S> {
    /// Counts a second that the worker is overdue; says how many there have been.
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
