//! A stranger who opens connections and says nothing, at a rate, and keeps the youngest
//! of them; and clients that let a moment pass between their connection and their request.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::sys::{bind_without_port, raise_descriptor_limit};

/// Where a stranger's connections come from.
#[derive(Clone, Copy, Debug)]
pub enum From {
    One(Ipv4Addr),
    /// Another address of 127.0.0.0/8 for each.
    Many,
}

impl From {
    /// The address of the connection of this number.
    fn address(self, number: u32) -> Ipv4Addr {
        match self {
            From::One(address) => address,
            // Beyond those that a test uses for something else.
            From::Many => Ipv4Addr::from_bits(0x7f01_0001 + number % 0x00fe_0000),
        }
    }
}

/// What a stranger does.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// The address that its connections come from.
    pub from: From,
    /// Connections a second; as many as it can where there is no rate.
    pub rate: Option<u32>,
    /// How many connections it keeps open.
    pub keeps: usize,
    /// What each of them sends at once.
    pub says: &'static str,
}

/// A stranger at work, until it is dropped.
pub struct Flood {
    is_over: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    /// Begins, and comes back when it holds all that it keeps.
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
        let keeps = u64::try_from(self.keeps).unwrap();
        super::eventually("a stranger with all connections", || {
            flood.opened.load(Ordering::Relaxed) >= keeps
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
            // It waits for nothing, not for a full queue either.
            socket.set_nonblocking(true).unwrap();
            bind_without_port(&socket, self.from.address(count));
            // It may be refused for want of ports; then the next one has one.
            let _ = socket.connect(&address.into());
            if !self.says.is_empty() {
                let _ = socket.send(self.says.as_bytes());
            }
            kept.push_back(socket);
            if kept.len() > self.keeps {
                kept.pop_front();
            }
            count += 1;
            opened.store(count.into(), Ordering::Relaxed);
        }
    }
}

impl Flood {
    /// Connections a second so far.
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

/// The answer to a client that paused: its first line, or how the connection ended, and
/// how long after the request it came.
#[derive(Debug)]
#[expect(dead_code, reason = "the pause is read by Debug alone, in a failure")]
pub struct Answer {
    pub pause: Duration,
    pub line: String,
    pub took: Duration,
}

/// Connects, lets this time pass, asks, and reads the answer.
fn ask_after(address: SocketAddr, pause: Duration) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::sleep(pause);
    let asked = Instant::now();
    let mut answer = String::new();
    let exchanged = stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer));
    let line = match exchanged {
        Ok(0) => "closed without an answer".to_owned(),
        Ok(_) => answer.lines().next().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    Answer {
        pause,
        line,
        took: asked.elapsed(),
    }
}

/// So many clients, one each 20 ms, with these pauses by turns.
pub fn ask_politely(address: SocketAddr, count: usize, pauses: &[Duration]) -> Vec<Answer> {
    const PACE: Duration = Duration::from_millis(20);
    let mut next = Instant::now();
    let clients: Vec<JoinHandle<Answer>> = pauses
        .iter()
        .cycle()
        .take(count)
        .map(|&pause| {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PACE;
            thread::spawn(move || ask_after(address, pause))
        })
        .collect();
    let answers = clients.into_iter().map(|client| client.join().unwrap());
    answers.collect()
}
