//! The door's one thread: what it holds, and how it waits for all of it at once.

mod turns;

use std::collections::VecDeque;
use std::io::{self, PipeReader};
use std::net::TcpListener;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Asking, Lingering, Reading, Writing};
use super::incomplete::Incomplete;
use super::limits::{ACCEPT_PAUSE, FULL_TIME, Limits};
use super::trip::Stream;
use super::under_way::UnderWay;
use crate::health::{Paths, Route};
use crate::panics;
use crate::poll::{Interest, Round};
use crate::probe::Urgency;
use crate::report_log::ReportLog;

/// The loop parses heads and formats little.
const STACK: usize = 128 * 1024;

/// A listener and what is served there.
pub struct Entrance {
    /// The listener.
    pub listener: TcpListener,
    /// Its paths.
    pub paths: Paths,
}

/// What to answer in place of what is behind the door: to this question, that
/// arrived then, so urgently.
pub type Late = dyn Fn(Route, Instant, Urgency) -> Option<(u16, String)> + Send;

/// The door, see `admission`.
pub struct Door {
    entrances: Vec<Entrance>,
    streams: Vec<Stream>,
    limits: Limits,
    /// What arrivals are counted from on the way to tiny_http.
    origin: Instant,
    /// A probe's timeout.
    timeout: Duration,
    late: Box<Late>,
    under_way: UnderWay,
    /// Can be read once the process stops.
    on_stop: PipeReader,
    /// Connections that have sent nothing.
    silent: Incomplete<Reading>,
    /// Connections that have sent a part of a head.
    heads: Incomplete<Reading>,
    /// Oldest first, as those below.
    waiting: VecDeque<Asking>,
    writers: VecDeque<Writing>,
    lingerers: VecDeque<Lingering>,
    /// Nothing is accepted before this moment, for want of descriptors.
    paused_until: Option<Instant>,
    /// Since when there has been no room for requests.
    full_since: Option<Instant>,
    accept_log: ReportLog,
}

/// Where the sockets of each kind stand in a round.
struct Numbers {
    entrances: Range<usize>,
    streams: Range<usize>,
    travelling: Range<usize>,
    waiting: Range<usize>,
    silent: Range<usize>,
    heads: Range<usize>,
    writers: Range<usize>,
    lingerers: Range<usize>,
}

impl Door {
    /// A door with these entrances, in front of these private streams.
    /// `timeout` is a probe's, and there are so many `drivers`.
    ///
    /// # Errors
    ///
    /// When a socket cannot be made non-blocking, or there is no pipe to be had.
    pub fn new(
        entrances: Vec<Entrance>,
        streams: Vec<UnixStream>,
        origin: Instant,
        timeout: Duration,
        late: Box<Late>,
        under_way: UnderWay,
        drivers: usize,
    ) -> io::Result<Door> {
        for entrance in &entrances {
            entrance.listener.set_nonblocking(true)?;
        }
        for stream in &streams {
            stream.set_nonblocking(true)?;
        }
        Ok(Door {
            entrances,
            streams: streams.into_iter().map(Stream::new).collect(),
            limits: Limits::of_this_process(drivers),
            origin,
            timeout,
            late,
            on_stop: under_way.on_stop()?,
            under_way,
            silent: Incomplete::new(),
            heads: Incomplete::new(),
            waiting: VecDeque::new(),
            writers: VecDeque::new(),
            lingerers: VecDeque::new(),
            paused_until: None,
            full_since: None,
            accept_log: ReportLog::new(),
        })
    }

    /// Opens the door, in a thread of its own, until the process ends;
    /// `beyond_repair` hears why it cannot go on.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn open(mut self, beyond_repair: impl Fn(&str) + Send + 'static) -> Result<(), String> {
        thread::Builder::new()
            .name("door".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let ended = panics::caught(|| self.stand());
                let reason = ended.map_or_else(String::from, |error| error.to_string());
                beyond_repair(&format!("cannot serve HTTP any more: {reason}"));
            })
            .map(drop)
            .map_err(|error| format!("cannot start the thread \"door\": {error}"))
    }

    /// Lets everybody have their turn, for ever. Comes back when the HTTP side
    /// is beyond repair.
    fn stand(&mut self) -> io::Error {
        let mut round = Round::default();
        loop {
            let now = Instant::now();
            let closed_until = self.closed_until(now);
            // Asked once a round: the numbers of the sockets hang on it.
            let is_stopping = self.under_way.is_stopping();
            let is_closed = closed_until.is_some() || is_stopping;
            // Here, before each wait, and not where a client is seen to finish: the process may
            // begin to stop just after that, and then nothing would wake this loop for it.
            if is_stopping {
                self.forget_finished();
            }
            let numbers = self.gather(&mut round, is_closed, is_stopping);
            let at_most = self
                .next_deadline(closed_until)
                .map(|moment| moment.saturating_duration_since(now));
            // It says so when memory or descriptors are short, and works again
            // when they are not.
            if round.wait(at_most).is_err() {
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
            if let Err(error) = self.take_turns(&round, &numbers) {
                return error;
            }
        }
    }

    /// Until when no connection is accepted, if that is so: descriptors have run out,
    /// or there is no room for requests.
    fn closed_until(&self, now: Instant) -> Option<Instant> {
        let full_until = self.full_since.map(|since| since + FULL_TIME);
        [self.paused_until, full_until]
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .max()
    }

    /// Whether those who are new wait for room, before they are turned away.
    fn is_holding(&self, now: Instant) -> bool {
        self.is_without_room() && self.full_since.is_none_or(|since| since + FULL_TIME > now)
    }

    /// Puts all sockets into a round.
    fn gather(&self, round: &mut Round, is_closed: bool, is_stopping: bool) -> Numbers {
        round.clear();
        let mut end = 0;
        let mut kind = |count: usize| {
            let begin = end;
            end += count;
            begin..end
        };
        let open: &[Entrance] = if is_closed { &[] } else { &self.entrances };
        kind(usize::from(!is_stopping));
        let numbers = Numbers {
            entrances: kind(open.len()),
            streams: kind(self.streams.len()),
            travelling: kind(self.travelling()),
            waiting: kind(self.waiting.len()),
            silent: kind(self.silent.len()),
            heads: kind(self.heads.len()),
            writers: kind(self.writers.len()),
            lingerers: kind(self.lingerers.len()),
        };
        if !is_stopping {
            round.add(self.on_stop.as_fd(), Interest::Read);
        }
        for entrance in open {
            round.add(entrance.listener.as_fd(), Interest::Read);
        }
        for stream in &self.streams {
            let interest = if stream.wants_to_send() {
                Interest::Write
            } else {
                Interest::Read
            };
            round.add(stream.socket.as_fd(), interest);
        }
        for client in self.clients() {
            let interest = if client.has_finished {
                Interest::Hangup
            } else {
                Interest::Finish
            };
            round.add(client.socket.as_fd(), interest);
        }
        let reads = if self.is_holding(Instant::now()) {
            Interest::Hangup
        } else {
            Interest::Read
        };
        for reading in self.silent.iter().chain(self.heads.iter()) {
            round.add(reading.socket.as_fd(), reads);
        }
        for writing in &self.writers {
            round.add(writing.socket.as_fd(), Interest::Write);
        }
        for lingering in &self.lingerers {
            round.add(lingering.socket.as_fd(), Interest::Read);
        }
        numbers
    }

    /// The first moment at which something is to be done without a socket's
    /// asking.
    fn next_deadline(&self, closed_until: Option<Instant>) -> Option<Instant> {
        let trips = self
            .streams
            .iter()
            .filter_map(|stream| stream.trip.as_ref());
        trips
            .flat_map(|trip| {
                let clients = trip.clients.iter().map(Asking::deadline);
                clients.chain([trip.deadline])
            })
            .chain(self.waiting.iter().map(Asking::deadline))
            .chain(self.silent.oldest().map(|reading| reading.deadline))
            .chain(self.heads.oldest().map(|reading| reading.deadline))
            .chain(self.writers.iter().map(|writing| writing.deadline))
            .chain(self.lingerers.iter().map(|lingering| lingering.deadline))
            .chain(closed_until)
            .min()
    }
}

/// What passes when others give something back.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)
    )
}
