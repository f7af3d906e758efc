//! A flood of connections at a certain rate, and honest clients that pause between their
//! connection and their request meanwhile.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::sys::{bind_without_port, raise_descriptor_limit};
use crate::wait::{PATIENCE, eventually};

/// Where the connections of a flood come from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// All from this address.
    One(Ipv4Addr),
    /// Each from another address of 127.0.0.0/8.
    Many,
}

impl Source {
    /// Returns the address that the connection of this number comes from.
    fn address(self, number: u32) -> Ipv4Addr {
        match self {
            Source::One(address) => address,
            // Other tests use the first addresses for other purposes.
            Source::Many => Ipv4Addr::from_bits(0x7f01_0001 + number % 0x00fe_0000),
        }
    }
}

/// A client that opens connections without end and keeps the youngest of them.
#[derive(Clone, Copy, Debug)]
pub struct Attacker {
    /// Where its connections come from.
    pub source: Source,
    /// Connections a second; without a rate, as many as it can.
    pub rate: Option<u32>,
    /// How many connections it keeps open.
    pub kept: usize,
    /// What it sends on each connection at once.
    pub sends: &'static str,
}

/// An attacker at work, until it is dropped.
pub struct Flood {
    is_over: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    /// Begins the flood, and waits until it has opened as many connections as it keeps.
    pub fn begin(self, address: SocketAddr) -> Flood {
        raise_descriptor_limit();
        let is_over = Arc::new(AtomicBool::new(false));
        let opened = Arc::new(AtomicU64::new(0));
        let thread = {
            let (is_over, opened) = (Arc::clone(&is_over), Arc::clone(&opened));
            thread::spawn(move || self.open_without_end(address, &is_over, &opened))
        };
        let flood = Flood {
            is_over,
            opened,
            began: Instant::now(),
            thread: Some(thread),
        };
        let kept = u64::try_from(self.kept).unwrap();
        eventually("an attacker with all its connections", || {
            flood.opened.load(Ordering::Relaxed) >= kept
        });
        flood
    }

    fn open_without_end(self, address: SocketAddr, is_over: &AtomicBool, opened: &AtomicU64) {
        let mut kept = VecDeque::new();
        let began = Instant::now();
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            if let Some(rate) = self.rate {
                let due = began + Duration::from_secs(1) / rate * count;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // It must never wait, not even for a full accept queue.
            socket.set_nonblocking(true).unwrap();
            bind_without_port(&socket, self.source.address(count));
            // The kernel may be out of ports, and the next connection has one again.
            let _ = socket.connect(&address.into());
            if !self.sends.is_empty() {
                let _ = socket.send(self.sends.as_bytes());
            }
            kept.push_back(socket);
            if kept.len() > self.kept {
                kept.pop_front();
            }
            count += 1;
            opened.store(count.into(), Ordering::Relaxed);
        }
    }
}

impl Flood {
    /// Returns the connections a second so far.
    pub fn rate(&self) -> f64 {
        let opened = u32::try_from(self.opened.load(Ordering::Relaxed)).unwrap();
        f64::from(opened) / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The response to a client that paused.
#[derive(Debug)]
pub struct Answer {
    /// How long the client paused between its connection and its request.
    pub pause: Duration,
    /// The first line of the response, or how the connection ended.
    pub line: String,
    /// The time from the request to the response.
    pub took: Duration,
}

/// Connects, pauses, sends a request, and reads the response.
fn get_after(address: SocketAddr, pause: Duration) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::sleep(pause);
    let sent = Instant::now();
    let mut response = String::new();
    let exchanged = stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut response));
    let line = match exchanged {
        Ok(0) => "closed without a response".to_owned(),
        Ok(_) => response.lines().next().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    Answer {
        pause,
        line,
        took: sent.elapsed(),
    }
}

/// Starts so many clients, one every 20 ms, and cycles through these pauses.
pub fn get_politely(address: SocketAddr, count: usize, pauses: &[Duration]) -> Vec<Answer> {
    const PACE: Duration = Duration::from_millis(20);
    let mut next = Instant::now();
    let clients: Vec<JoinHandle<Answer>> = pauses
        .iter()
        .cycle()
        .take(count)
        .map(|&pause| {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PACE;
            thread::spawn(move || get_after(address, pause))
        })
        .collect();
    let answers = clients.into_iter().map(|client| client.join().unwrap());
    answers.collect()
}
