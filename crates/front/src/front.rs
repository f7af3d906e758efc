//! The front: what the event loop holds, and how it waits for all of it at once.

use std::collections::VecDeque;
use std::io::{self, PipeReader};
use std::net::TcpListener;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use program::log_throttle::LogThrottle;
use program::poll::{Interest, Round};
use program::{Program, descriptors, panics, threads};

use crate::client::{Client, Lingering, Reading, Writing};
use crate::exchange::{Exchange, Pending};
use crate::in_flight::InFlight;
use crate::incomplete::Incomplete;
use crate::limits::{ACCEPT_PAUSE, FULL_TIME, Limits};
use crate::site::Site;
use crate::workers::{self, Fatal};

/// The event loop parses heads and formats little.
const STACK: usize = 128 * 1024;

/// What a front is opened with.
pub struct Settings<S> {
    /// Which program this is.
    pub program: &'static Program,
    /// The listeners; a request is routed by the index of its listener.
    pub listeners: Vec<TcpListener>,
    /// What is served.
    pub site: Arc<S>,
    /// The descriptors that the program's other work takes.
    pub reserved: Reserved,
    /// Counts the requests, for a stop.
    pub in_flight: InFlight,
    /// Ends a process whose HTTP side cannot go on, for this reason.
    pub fatal: Fatal,
}

/// Descriptors for a program's other work.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// Without these it cannot work.
    pub least: usize,
    /// So many are kept free.
    pub wanted: usize,
    /// What can be done if there are too few, for an error: it follows "raise the limit".
    pub advice: String,
}

/// Starts the workers and the event loop, which serve until the process ends.
///
/// # Errors
///
/// When there are too few descriptors, or a stream or a thread cannot be had.
pub fn open<S: Site>(settings: Settings<S>) -> Result<(), String> {
    let groups = settings.site.groups();
    enough_descriptors(groups, &settings.reserved)?;
    let fatal = settings.fatal;
    let exchanges = workers::open(settings.program, &settings.site, fatal)?;
    let mut front = Front::new(settings, exchanges)
        .map_err(|error| format!("cannot set up the HTTP front: {error}"))?;
    threads::spawn("front", STACK, move || {
        let ended = panics::catch(|| front.run());
        let reason = ended.map_or_else(String::from, |error| error.to_string());
        fatal(&format!("cannot serve HTTP any more: {reason}"));
    })
}

/// Whether so many exchanges can be opened, with enough descriptors left. Without this check
/// tiny_http would end a moment after the start, and say no more than that a connection of ours
/// was refused.
fn enough_descriptors(exchanges: usize, reserved: &Reserved) -> Result<(), String> {
    /// Both ends of a stream, and tiny_http's copy of one.
    const AN_EXCHANGE: usize = 3;
    /// The pipe that wakes the event loop, and a client.
    const THE_REST: usize = 3;
    let (limit, taken) = (descriptors::limit(), descriptors::open());
    let needed = taken + exchanges * AN_EXCHANGE + reserved.least + THE_REST;
    if limit < needed {
        return Err(format!(
            "at most {limit} open files are allowed (RLIMIT_NOFILE, ulimit -n), and at least \
             {needed} are needed here: raise the limit{}",
            reserved.advice
        ));
    }
    Ok(())
}

/// All that the event loop holds.
pub(crate) struct Front<S: Site> {
    pub(crate) program: &'static Program,
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) site: Arc<S>,
    pub(crate) exchanges: Vec<Exchange<S>>,
    pub(crate) limits: Limits,
    pub(crate) in_flight: InFlight,
    /// Can be read once the process stops.
    on_stop: PipeReader,
    /// Connections that have sent nothing.
    pub(crate) silent: Incomplete<Reading>,
    /// Connections that have sent a part of a head.
    pub(crate) heads: Incomplete<Reading>,
    /// Requests that wait for the exchange of their group; oldest first, as those below.
    pub(crate) waiting: VecDeque<Client<S>>,
    pub(crate) writers: VecDeque<Writing>,
    pub(crate) lingerers: VecDeque<Lingering>,
    /// Nothing is accepted before this moment, for want of descriptors.
    pub(crate) paused_until: Option<Instant>,
    /// Since when there has been no room for requests.
    pub(crate) full_since: Option<Instant>,
    pub(crate) accept_log: LogThrottle,
}

/// The indices that the sockets of each kind have in a round.
pub(crate) struct Indices {
    pub(crate) listeners: Range<usize>,
    pub(crate) exchanges: Range<usize>,
    /// Requests with a worker, then those that wait for one.
    pub(crate) clients: Range<usize>,
    /// Silent connections, then those with a part of a head.
    pub(crate) incomplete: Range<usize>,
    pub(crate) writers: Range<usize>,
    pub(crate) lingerers: Range<usize>,
}

impl<S: Site> Front<S> {
    fn new(settings: Settings<S>, exchanges: Vec<Exchange<S>>) -> io::Result<Front<S>> {
        for listener in &settings.listeners {
            listener.set_nonblocking(true)?;
        }
        for exchange in &exchanges {
            exchange.socket.set_nonblocking(true)?;
        }
        Ok(Front {
            program: settings.program,
            listeners: settings.listeners,
            limits: Limits::of_this_process(settings.reserved.wanted),
            site: settings.site,
            exchanges,
            on_stop: settings.in_flight.on_stop()?,
            in_flight: settings.in_flight,
            silent: Incomplete::new(),
            heads: Incomplete::new(),
            waiting: VecDeque::new(),
            writers: VecDeque::new(),
            lingerers: VecDeque::new(),
            paused_until: None,
            full_since: None,
            accept_log: LogThrottle::new(),
        })
    }

    /// Serves until the HTTP side is beyond repair, and says why it is.
    fn run(&mut self) -> io::Error {
        let mut round = Round::default();
        loop {
            let now = Instant::now();
            let closed_until = self.closed_until(now);
            // Asked once a round, because the indices of the sockets depend on it.
            let is_stopping = self.in_flight.is_stopping();
            let is_closed = closed_until.is_some() || is_stopping;
            // Here, before each wait, and not where a client is seen to finish: the process may
            // begin to stop just after that, and then nothing would wake this loop for it.
            if is_stopping {
                self.forget_finished();
            }
            let indices = self.gather(&mut round, is_closed, is_stopping);
            let at_most = self
                .next_deadline(closed_until)
                .map(|moment| moment.saturating_duration_since(now));
            // poll(2) fails when memory or descriptors are short, and works again when they are
            // not.
            if round.wait(at_most).is_err() {
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
            if let Err(error) = self.handle_events(&round, &indices) {
                return error;
            }
        }
    }

    /// Until when no connection is accepted, if that is so: descriptors have run out, or there is
    /// no room for requests.
    pub(crate) fn closed_until(&self, now: Instant) -> Option<Instant> {
        let full_until = self.full_since.map(|since| since + FULL_TIME);
        [self.paused_until, full_until]
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .max()
    }

    /// Whether new connections wait for room, before they are turned away.
    pub(crate) fn is_holding(&self, now: Instant) -> bool {
        self.is_without_room() && self.full_since.is_none_or(|since| since + FULL_TIME > now)
    }

    /// All requests, in the order in which `gather` puts them into a round.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client<S>> {
        let pending = self.pending();
        pending
            .flat_map(|pending| &pending.clients)
            .chain(&self.waiting)
    }

    /// Keeps the requests for which `stays`, which is asked in the same order.
    pub(crate) fn retain_clients(&mut self, mut stays: impl FnMut(&mut Client<S>) -> bool) {
        for exchange in &mut self.exchanges {
            if let Some(pending) = &mut exchange.pending {
                pending.clients.retain_mut(&mut stays);
            }
        }
        self.waiting.retain_mut(stays);
    }

    fn pending(&self) -> impl Iterator<Item = &Pending<S>> {
        let exchanges = self.exchanges.iter();
        exchanges.filter_map(|exchange| exchange.pending.as_ref())
    }

    /// How many requests there are.
    pub(crate) fn requests(&self) -> usize {
        let with_worker: usize = self.pending().map(|pending| pending.clients.len()).sum();
        with_worker + self.waiting.len()
    }

    pub(crate) fn is_without_room(&self) -> bool {
        self.requests() >= self.limits.requests
    }

    /// Puts all sockets into a round.
    fn gather(&self, round: &mut Round, is_closed: bool, is_stopping: bool) -> Indices {
        round.clear();
        let mut end = 0;
        let mut kind = |count: usize| {
            let begin = end;
            end += count;
            begin..end
        };
        let open: &[TcpListener] = if is_closed { &[] } else { &self.listeners };
        kind(usize::from(!is_stopping));
        let indices = Indices {
            listeners: kind(open.len()),
            exchanges: kind(self.exchanges.len()),
            clients: kind(self.requests()),
            incomplete: kind(self.silent.len() + self.heads.len()),
            writers: kind(self.writers.len()),
            lingerers: kind(self.lingerers.len()),
        };
        if !is_stopping {
            round.add(self.on_stop.as_fd(), Interest::Read);
        }
        for listener in open {
            round.add(listener.as_fd(), Interest::Read);
        }
        for exchange in &self.exchanges {
            let interest = if exchange.wants_to_send() {
                Interest::Write
            } else {
                Interest::Read
            };
            round.add(exchange.socket.as_fd(), interest);
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
        indices
    }

    /// The first moment at which something is to be done without an event on a socket.
    fn next_deadline(&self, closed_until: Option<Instant>) -> Option<Instant> {
        self.pending()
            .map(|pending| pending.deadline)
            .chain(self.clients().map(|client| client.progress.next()))
            .chain(self.silent.oldest().map(|reading| reading.deadline))
            .chain(self.heads.oldest().map(|reading| reading.deadline))
            .chain(self.writers.iter().map(|writing| writing.deadline))
            .chain(self.lingerers.iter().map(|lingering| lingering.deadline))
            .chain(closed_until)
            .min()
    }
}
