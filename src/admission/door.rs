//! The door's one thread: waits for all its sockets at once, and lets each have
//! its turn.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Asking, Lingering, Read, Reading, Writing, Written};
use super::head::{self, Refusal, Request};
use super::limits::{
    ACCEPT_BATCH, ACCEPT_PAUSE, FULL_TIME, Limits, OVERDUE_TICKS, STREAMS_PER_ROUTE,
};
use super::refusal::Canned;
use super::trip::{Reply, Stream, Trip};
use super::under_way::UnderWay;
use crate::health::{Paths, Route};
use crate::panics;
use crate::poll::{Interest, Round};
use crate::probe::Window;
use crate::report_log::ReportLog;
use crate::text;

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
/// arrived then, and whether it must be answered now.
pub type Late = dyn Fn(Route, Instant, bool) -> Option<(u16, String)> + Send;

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
    /// Connections that have sent nothing; oldest first, as all of these.
    silent: VecDeque<Reading>,
    /// Connections that have sent a part of a head.
    heads: VecDeque<Reading>,
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
    /// `timeout` is a probe's.
    ///
    /// # Errors
    ///
    /// When a socket cannot be made non-blocking.
    pub fn new(
        entrances: Vec<Entrance>,
        streams: Vec<UnixStream>,
        origin: Instant,
        timeout: Duration,
        late: Box<Late>,
        under_way: UnderWay,
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
            limits: Limits::of_this_process(),
            origin,
            timeout,
            late,
            under_way,
            silent: VecDeque::new(),
            heads: VecDeque::new(),
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
                let reason = ended.map_or_else(|panic| panic, |error| error.to_string());
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
            let numbers = self.gather(&mut round, closed_until.is_some());
            let at_most = self
                .next_deadline(closed_until)
                .map(|moment| moment.saturating_duration_since(now));
            let turn = round
                .wait(at_most)
                .and_then(|()| self.take_turns(&round, &numbers));
            match turn {
                Ok(()) => {}
                // poll(2) without memory: the same will be tried again.
                Err(error) if is_shortage(&error) => thread::sleep(ACCEPT_PAUSE),
                Err(error) => return error,
            }
        }
    }

    /// Until when nobody new is let in, if that is so: descriptors have run out,
    /// there is no room for requests, or all who were let in are so new that
    /// their requests may still be on their way.
    fn closed_until(&self, now: Instant) -> Option<Instant> {
        let full_until = self.full_since.map(|since| since + FULL_TIME);
        let crowded_until = match self.silent.front() {
            Some(oldest) if self.silent.len() >= self.limits.silent => {
                Some(oldest.accepted + self.limits.silent_time)
            }
            _ => None,
        };
        [self.paused_until, full_until, crowded_until]
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .max()
    }

    /// Whether newcomers are left in the kernel's queue for want of room, and
    /// with them those whose requests have not been read.
    fn is_full(&self, now: Instant) -> bool {
        self.full_since.is_some_and(|since| since + FULL_TIME > now)
    }

    /// Puts all sockets into a round.
    fn gather(&self, round: &mut Round, is_closed: bool) -> Numbers {
        round.clear();
        let mut end = 0;
        let mut kind = |count: usize| {
            let begin = end;
            end += count;
            begin..end
        };
        let open: &[Entrance] = if is_closed { &[] } else { &self.entrances };
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
        let travelling = self
            .streams
            .iter()
            .filter_map(|stream| stream.trip.as_ref());
        for client in travelling
            .flat_map(|trip| &trip.clients)
            .chain(&self.waiting)
        {
            round.add(client.socket.as_fd(), Interest::Hangup);
        }
        let reads = if self.is_full(Instant::now()) {
            Interest::Hangup
        } else {
            Interest::Read
        };
        for reading in self.silent.iter().chain(&self.heads) {
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
            .chain(self.silent.front().map(|reading| reading.deadline))
            .chain(self.heads.front().map(|reading| reading.deadline))
            .chain(self.writers.front().map(|writing| writing.deadline))
            .chain(self.lingerers.front().map(|lingering| lingering.deadline))
            .chain(closed_until)
            .min()
    }

    /// What a round has brought. Those who hang up make room first, answers go
    /// out before anything new comes in, and heads that are complete by now are
    /// read before a newcomer could push them out.
    fn take_turns(&mut self, round: &Round, numbers: &Numbers) -> io::Result<()> {
        let now = Instant::now();
        self.drop_the_gone(round, numbers);
        self.return_trips(round, numbers, now)?;
        self.read_heads(round, numbers, now);
        self.write_and_linger(round, numbers, now);
        self.expire(now)?;
        for entrance in 0..numbers.entrances.len() {
            if round.is_ready(numbers.entrances.start + entrance) {
                self.accept(entrance, now)?;
            }
        }
        self.depart()?;
        self.full_since = if self.is_without_room() {
            self.full_since.or(Some(now))
        } else {
            None
        };
        Ok(())
    }

    /// Forgets the clients that have closed both directions or were reset.
    fn drop_the_gone(&mut self, round: &Round, numbers: &Numbers) {
        let mut number = numbers.travelling.clone();
        for stream in &mut self.streams {
            if let Some(trip) = &mut stream.trip {
                trip.clients
                    .retain(|_| !number.next().is_some_and(|number| round.is_ready(number)));
            }
        }
        let mut number = numbers.waiting.clone();
        self.waiting
            .retain(|_| !number.next().is_some_and(|number| round.is_ready(number)));
    }

    /// Takes the answers that have come back.
    fn return_trips(&mut self, round: &Round, numbers: &Numbers, now: Instant) -> io::Result<()> {
        for at in 0..numbers.streams.len() {
            if round.is_ready(numbers.streams.start + at)
                && let Some((trip, reply)) = self.streams[at].advance()?
            {
                self.hand_out(trip, &reply, now);
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, trip: Trip, reply: &Reply, now: Instant) {
        for client in trip.clients {
            let bytes = if client.is_head {
                &reply.head
            } else {
                &reply.whole
            };
            self.answer(client, reply.status, bytes, now);
        }
    }

    /// Reads the heads on which something has come.
    fn read_heads(&mut self, round: &Round, numbers: &Numbers, now: Instant) {
        // All of these were there when the round began; each goes back to where
        // it belongs now.
        let silent = std::mem::take(&mut self.silent).into_iter();
        let heads = std::mem::take(&mut self.heads).into_iter();
        let all = silent
            .zip(numbers.silent.clone())
            .chain(heads.zip(numbers.heads.clone()));
        for (reading, number) in all {
            if round.is_ready(number) {
                self.read_head(reading, now);
            } else {
                self.keep(reading);
            }
        }
        self.make_room(now);
    }

    fn read_head(&mut self, mut reading: Reading, now: Instant) {
        match reading.read() {
            Read::Partial => self.keep(reading),
            Read::Gone => {}
            Read::Complete(request) => self.let_in(reading, request, now),
            Read::Refused(refusal) => self.refuse(reading.socket, refusal, true, now),
        }
    }

    fn keep(&mut self, reading: Reading) {
        if reading.has_begun() {
            self.heads.push_back(reading);
        } else {
            self.silent.push_back(reading);
        }
    }

    /// The oldest give way.
    fn make_room(&mut self, now: Instant) {
        while self.heads.len() > self.limits.heads {
            if let Some(oldest) = self.heads.pop_front() {
                self.send_away(oldest, head::GIVES_WAY, now);
            }
        }
        while self.silent.len() > self.limits.silent {
            if let Some(oldest) = self.silent.pop_front() {
                self.send_away(oldest, head::GIVES_WAY, now);
            }
        }
    }

    /// A complete request waits for a stream, if there is room.
    fn let_in(&mut self, reading: Reading, request: Request, now: Instant) {
        let route = self.entrances[reading.entrance]
            .paths
            .route(&request.target);
        if self.is_without_room() {
            self.refuse(reading.socket, head::TOO_MANY, request.has_more, now);
            return;
        }
        let label = log::log_enabled!(log::Level::Debug)
            .then(|| (request.method, text::capped(&request.target)));
        self.waiting.push_back(Asking {
            socket: reading.socket,
            route,
            arrived: now,
            deadlines: Window::new(now, self.timeout).overdue(),
            is_head: request.is_head,
            lingers: request.has_more,
            label,
            guard: self.under_way.enter(),
        });
    }

    fn is_without_room(&self) -> bool {
        self.travelling() + self.waiting.len() >= self.limits.requests
    }

    fn travelling(&self) -> usize {
        let trips = self
            .streams
            .iter()
            .filter_map(|stream| stream.trip.as_ref());
        trips.map(|trip| trip.clients.len()).sum()
    }

    fn refuse(&mut self, socket: TcpStream, refusal: Refusal, lingers: bool, now: Instant) {
        log::debug!(status = refusal.status, why = refusal.why; "Request refused");
        let canned = Canned::new(refusal.status, refusal.why);
        self.finish(Writing::new(socket, canned.whole, lingers, None, now), now);
    }

    fn answer(&mut self, client: Asking, status: u16, bytes: &std::sync::Arc<[u8]>, now: Instant) {
        if let Some((method, target)) = &client.label {
            log::debug!(
                method = method.as_str(), target = target.as_str(), status = status;
                "Request answered"
            );
        }
        let writing = Writing::new(
            client.socket,
            std::sync::Arc::clone(bytes),
            client.lingers,
            Some(client.guard),
            now,
        );
        self.finish(writing, now);
    }

    /// Writes, and keeps the connection only as long as it takes.
    fn finish(&mut self, writing: Writing, now: Instant) {
        match writing.write(now) {
            Written::Closed => {}
            Written::Partly(writing) => {
                push_bounded(&mut self.writers, writing, self.limits.writers);
            }
            Written::Lingers(lingering) => {
                push_bounded(&mut self.lingerers, lingering, self.limits.lingerers);
            }
        }
    }

    fn write_and_linger(&mut self, round: &Round, numbers: &Numbers, now: Instant) {
        // What was added in this round stands behind those of the round.
        let count = numbers.writers.len().min(self.writers.len());
        let rest = self.writers.split_off(count);
        for (writing, number) in std::mem::replace(&mut self.writers, rest)
            .into_iter()
            .zip(numbers.writers.clone())
        {
            if round.is_ready(number) {
                self.finish(writing, now);
            } else {
                self.writers.push_back(writing);
            }
        }
        let mut number = numbers.lingerers.clone();
        self.lingerers.retain_mut(|lingering| {
            let is_ready = number.next().is_some_and(|number| round.is_ready(number));
            !(is_ready && lingering.is_over())
        });
    }

    /// Ends what has had its time.
    fn expire(&mut self, now: Instant) -> io::Result<()> {
        while let Some(reading) = self.heads.pop_front_if(|reading| reading.deadline <= now) {
            self.send_away(reading, head::TOO_SLOW, now);
        }
        while let Some(reading) = self.silent.pop_front_if(|reading| reading.deadline <= now) {
            self.send_away(reading, head::TOO_SLOW, now);
        }
        self.writers.retain(|writing| writing.deadline > now);
        self.lingerers.retain(|lingering| lingering.deadline > now);
        let mut late = Vec::new();
        let mut waiting: Vec<Asking> = std::mem::take(&mut self.waiting).into();
        self.take_late(&mut waiting, &mut late, now);
        self.waiting = waiting.into();
        for at in 0..self.streams.len() {
            let Some(mut trip) = self.streams[at].trip.take() else {
                continue;
            };
            self.take_late(&mut trip.clients, &mut late, now);
            let ticks = trip.tick(now);
            self.streams[at].trip = Some(trip);
            if ticks > OVERDUE_TICKS {
                return Err(io::Error::other(
                    "requests are not answered behind the door",
                ));
            }
        }
        for (client, canned) in late {
            let bytes = if client.is_head {
                &canned.head
            } else {
                &canned.whole
            };
            self.answer(client, canned.status, bytes, now);
        }
        Ok(())
    }

    /// Takes out the clients that must be answered now, each with its answer.
    fn take_late(&self, clients: &mut Vec<Asking>, late: &mut Vec<(Asking, Canned)>, now: Instant) {
        let mut answers = VecDeque::new();
        let taken = clients.extract_if(.., |client| {
            if client.deadline() > now {
                return false;
            }
            let must = client.is_last_deadline();
            let answer = (self.late)(client.route, client.arrived, must);
            let is_answered = answer.is_some();
            answers.extend(answer.map(|(status, body)| Canned::new(status, &body)));
            is_answered
        });
        let taken: Vec<Asking> = taken.collect();
        late.extend(taken.into_iter().zip(answers));
    }

    /// Ends a connection without a complete head. Its last byte may have come
    /// since it was looked at; one that has sent nothing is owed no answer.
    fn send_away(&mut self, mut reading: Reading, refusal: Refusal, now: Instant) {
        match reading.read() {
            Read::Partial if reading.has_begun() => {
                self.refuse(reading.socket, refusal, true, now);
            }
            Read::Partial | Read::Gone => {}
            Read::Complete(request) => self.let_in(reading, request, now),
            Read::Refused(refusal) => self.refuse(reading.socket, refusal, true, now),
        }
    }

    /// Accepts a few connections. kubelet's request comes with its connection,
    /// so each is read at once, and waits only if it is not complete.
    fn accept(&mut self, entrance: usize, now: Instant) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let just_full = self.full_since.is_none() && self.is_without_room();
            if just_full || self.closed_until(now).is_some() {
                break;
            }
            match self.entrances[entrance].listener.accept() {
                Ok((socket, _)) => {
                    if socket.set_nonblocking(true).is_ok() {
                        self.read_head(Reading::new(socket, entrance, now), now);
                        self.make_room(now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_shortage(&error) => {
                    self.back_off(&error, now);
                    break;
                }
                Err(error) if is_broken(&error) => return Err(error),
                // The connection's own error, or the network's (accept(2)): the
                // next one may be as good as any.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Descriptors or memory have run out: leaves the newcomers in the kernel's
    /// queue for a moment, and gives up what is worth least.
    fn back_off(&mut self, error: &io::Error, now: Instant) {
        self.paused_until = Some(now + ACCEPT_PAUSE);
        self.lingerers.clear();
        self.writers.pop_front();
        if let Some(oldest) = self.heads.pop_front().or_else(|| self.silent.pop_front()) {
            self.send_away(oldest, head::GIVES_WAY, now);
        }
        let error = error.to_string();
        if self.accept_log.is_worth_a_line(Some(&error), now).is_some() {
            log::error!(err = error; "Cannot accept a connection, will go on trying");
        }
    }

    /// Sends those who wait on their way, as far as there are streams: all who
    /// want the same together, the one who has waited longest first.
    fn depart(&mut self) -> io::Result<()> {
        while let Some(at) = self.streams.iter().position(|stream| stream.trip.is_none()) {
            let next = self.waiting.iter().find(|client| {
                let trips = self
                    .streams
                    .iter()
                    .filter_map(|stream| stream.trip.as_ref());
                trips.filter(|trip| trip.route == client.route).count() < STREAMS_PER_ROUTE
            });
            let Some(route) = next.map(|client| client.route) else {
                break;
            };
            let clients = self.take_waiting(route);
            self.streams[at].depart(clients, route, self.origin);
            if let Some((trip, reply)) = self.streams[at].advance()? {
                self.hand_out(trip, &reply, Instant::now());
            }
        }
        Ok(())
    }

    fn take_waiting(&mut self, route: Route) -> Vec<Asking> {
        let (clients, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|client| client.route == route);
        self.waiting = rest.into();
        clients
    }
}

/// Adds to a list whose oldest gives way.
fn push_bounded<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    list.push_back(item);
    while list.len() > most {
        list.pop_front();
    }
}

/// What passes when others give something back.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)
    )
}

/// What a listener does not recover from.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT)
    )
}
