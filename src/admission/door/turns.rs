//! What each of the door's sockets gets in its turn.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Door, Numbers, is_shortage};
use crate::admission::client::{Asking, Read, Reading, Writing, Written};
use crate::admission::head::{self, Refusal, Request};
use crate::admission::held::Held;
use crate::admission::incomplete::Pending as _;
use crate::admission::limits::{ACCEPT_BATCH, ACCEPT_PAUSE, OVERDUE_TICKS, streams_about};
use crate::admission::peer::Peer;
use crate::admission::refusal::Canned;
use crate::admission::trip::{Reply, Trip};
use crate::health::Route;
use crate::poll::Round;
use crate::probe::{Urgency, Window};
use crate::text;

/// Go's words for a path that is not there.
const NOT_FOUND: Refusal = Refusal {
    status: 404,
    why: "404 page not found",
};

impl Door {
    /// What a round has brought. Those who hang up make room first, answers go
    /// out before anything new comes in, and heads that are complete by now are
    /// read before a newcomer could push them out.
    pub(super) fn take_turns(&mut self, round: &Round, numbers: &Numbers) -> io::Result<()> {
        let now = Instant::now();
        self.drop_the_gone(round, numbers);
        self.write_and_linger(round, numbers, now);
        self.return_trips(round, numbers, now)?;
        self.read_heads(round, numbers, now);
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

    /// Forgets the clients that have finished sending, once the process stops: nearly all of
    /// them have gone, and a stop waits for none of them.
    pub(super) fn forget_finished(&mut self) {
        self.retain_clients(|client| !client.has_finished);
    }

    /// All who have asked, in the order in which `gather` numbers them.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Asking> {
        let trips = self
            .streams
            .iter()
            .filter_map(|stream| stream.trip.as_ref());
        trips.flat_map(|trip| &trip.clients).chain(&self.waiting)
    }

    /// Keeps those that `stay`, which is asked in the same order.
    fn retain_clients(&mut self, mut stays: impl FnMut(&mut Asking) -> bool) {
        for stream in &mut self.streams {
            if let Some(trip) = &mut stream.trip {
                trip.clients.retain_mut(&mut stays);
            }
        }
        self.waiting.retain_mut(stays);
    }

    /// Forgets the clients that have closed both directions or were reset, and
    /// remembers those that have closed their own.
    fn drop_the_gone(&mut self, round: &Round, numbers: &Numbers) {
        let mut number = numbers.travelling.clone().chain(numbers.waiting.clone());
        self.retain_clients(|client| {
            let Some(number) = number.next() else {
                return true;
            };
            client.has_finished |= round.is_ready(number);
            !round.is_over(number)
        });
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
        // A probe may have ended, and if it found the driver ready, that is the
        // answer for everybody who asks for that and was there before.
        self.answer_early(now, |_| Some(Urgency::Ready));
    }

    /// Reads the heads on which something has come.
    fn read_heads(&mut self, round: &Round, numbers: &Numbers, now: Instant) {
        // Without room they stay unread for a moment. Those that have ended do not stay:
        // poll(2) would come back at once for them, again and again.
        let is_holding = self.is_holding(now);
        let mut number = numbers.silent.clone().chain(numbers.heads.clone());
        let mut is_due = |_: &Reading| {
            number.next().is_some_and(|number| {
                round.is_over(number) || (!is_holding && round.is_ready(number))
            })
        };
        let mut due = self.silent.take(&mut is_due);
        due.extend(self.heads.take(&mut is_due));
        if is_holding {
            return;
        }
        for reading in due {
            // One of those before it may have taken the last place.
            if self.is_holding(now) {
                self.keep(reading);
            } else {
                self.read_head(reading, now);
            }
        }
        self.make_room(now);
    }

    fn read_head(&mut self, mut reading: Reading, now: Instant) {
        match reading.read() {
            Read::Partial => self.keep(reading),
            Read::Gone => {}
            Read::Complete(request) => self.let_in(reading, &request, now),
            Read::Refused(refusal) => self.refuse(reading.socket, refusal, true, now),
        }
    }

    fn keep(&mut self, reading: Reading) {
        if reading.has_begun() {
            self.heads.insert(reading);
        } else {
            self.silent.insert(reading);
        }
    }

    /// Has connections give way until the rest is within its bounds.
    fn make_room(&mut self, now: Instant) {
        while self.heads.len() > self.limits.heads
            && let Some(reading) = self.heads.give_way()
        {
            self.send_away(reading, head::GIVES_WAY, now);
        }
        while self.silent.len() > self.room_for_silent()
            && let Some(reading) = self.silent.give_way()
        {
            self.send_away(reading, head::GIVES_WAY, now);
        }
    }

    /// How many connections may be silent now. Places that no request takes are theirs:
    /// each of them may become one, and a crowd that connects at once and speaks one after
    /// the other has as many places as one that speaks at once.
    fn room_for_silent(&self) -> usize {
        let requests = self.travelling() + self.waiting.len();
        self.limits.silent + self.limits.requests.saturating_sub(requests)
    }

    /// A complete request waits for a stream, if there is room.
    fn let_in(&mut self, reading: Reading, request: &Request, now: Instant) {
        let route = self.entrances[reading.entrance]
            .paths
            .route(&request.target);
        let label = log::log_enabled!(log::Level::Debug)
            .then(|| (text::capped(&request.method), text::capped(&request.target)));
        if let Some((method, target)) = &label {
            log::debug!(method = method.as_str(), target = target.as_str(); "Request received");
        }
        // Not the turn's moment: a Probe may have ended since.
        let arrived = Instant::now();
        let client = Asking {
            peer: reading.peer(),
            socket: reading.socket,
            route,
            arrived,
            deadlines: Window::new(arrived, self.timeout).overdue(),
            is_head: request.is_head,
            has_finished: false,
            lingers: request.has_more,
            label,
            guard: self.under_way.enter(),
        };
        if route == Route::Unknown {
            self.answer_here(client, &NOT_FOUND, now);
        } else if (self.is_without_room() && !self.free_a_place(&client, |_| true, now))
            || (self.have_their_share(route)
                && !self.free_a_place(&client, |other| other.is_about_the_same_as(route), now))
        {
            self.answer_here(client, &head::TOO_MANY, now);
        } else {
            self.waiting.push_back(client);
        }
        if self.is_without_room() {
            self.full_since.get_or_insert(now);
        }
    }

    /// Makes a place for a request among those that `may_go`; says whether there is one.
    fn free_a_place(
        &mut self,
        newcomer: &Asking,
        may_go: impl Fn(Route) -> bool,
        now: Instant,
    ) -> bool {
        if self.drop_one_that_has_finished(&may_go) {
            return true;
        }
        let Some(client) = self.take_one_of_the_most(newcomer.peer, may_go) else {
            return false;
        };
        self.answer_here(client, &head::TOO_MANY, now);
        true
    }

    /// Takes out the newest request of an address that has most (`held`), if the newcomer's
    /// has at least two fewer: a crowd from one address then cannot take the places of all
    /// others before a driver that is slow.
    fn take_one_of_the_most(
        &mut self,
        newcomer: Peer,
        may_go: impl Fn(Route) -> bool,
    ) -> Option<Asking> {
        let mut held = Held::default();
        for client in self.clients().filter(|client| may_go(client.route)) {
            held.add(client.peer);
        }
        if !held.makes_way_for(newcomer) {
            return None;
        }
        let gives_way = held.most();
        let goes = |client: &Asking| gives_way(client.peer) && may_go(client.route);
        if let Some(at) = self.waiting.iter().rposition(goes) {
            return self.waiting.remove(at);
        }
        let trips = self
            .streams
            .iter_mut()
            .filter_map(|stream| stream.trip.as_mut());
        let (trip, at) = trips
            .filter_map(|trip| trip.clients.iter().rposition(goes).map(|at| (trip, at)))
            .max_by_key(|(trip, at)| trip.clients[*at].arrived)?;
        Some(trip.clients.remove(at))
    }

    fn answer_here(&mut self, client: Asking, refusal: &Refusal, now: Instant) {
        let canned = Canned::new(refusal.status, refusal.why, SystemTime::now());
        let bytes = if client.is_head {
            &canned.head
        } else {
            &canned.whole
        };
        self.answer(client, refusal.status, bytes, now);
    }

    /// Without room, a client that will send no more gives way to one that may
    /// still be there: who asks and goes would else hold a place until the Probe
    /// ends, at no cost.
    fn drop_one_that_has_finished(&mut self, may_go: &impl Fn(Route) -> bool) -> bool {
        let goes = |client: &Asking| client.has_finished && may_go(client.route);
        if let Some(at) = self.waiting.iter().position(goes) {
            return self.waiting.remove(at).is_some();
        }
        let trips = self
            .streams
            .iter_mut()
            .filter_map(|stream| stream.trip.as_mut());
        for trip in trips {
            if let Some(at) = trip.clients.iter().position(goes) {
                trip.clients.remove(at);
                return true;
            }
        }
        false
    }

    /// Whether those who ask about the same have all the places that they may take.
    fn have_their_share(&self, route: Route) -> bool {
        let alike = self
            .clients()
            .filter(|client| client.route.is_about_the_same_as(route));
        matches!(route, Route::Health(_)) && alike.count() >= self.limits.requests_about_one
    }

    pub(super) fn is_without_room(&self) -> bool {
        self.travelling() + self.waiting.len() >= self.limits.requests
    }

    pub(super) fn travelling(&self) -> usize {
        let trips = self
            .streams
            .iter()
            .filter_map(|stream| stream.trip.as_ref());
        trips.map(|trip| trip.clients.len()).sum()
    }

    fn refuse(&mut self, socket: TcpStream, refusal: Refusal, lingers: bool, now: Instant) {
        log::debug!(status = refusal.status, why = refusal.why; "Request refused");
        let canned = Canned::new(refusal.status, refusal.why, SystemTime::now());
        self.finish(Writing::new(socket, canned.whole, lingers, None, now), now);
    }

    fn answer(&mut self, client: Asking, status: u16, bytes: &Arc<[u8]>, now: Instant) {
        if let Some((method, target)) = &client.label {
            log::debug!(
                method = method.as_str(), target = target.as_str(), status = status;
                "Request answered"
            );
        }
        let writing = Writing::new(
            client.socket,
            Arc::clone(bytes),
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
        let mut number = numbers.lingerers.clone();
        self.lingerers.retain_mut(|lingering| {
            let is_ready = number.next().is_some_and(|number| round.is_ready(number));
            !(is_ready && lingering.is_over())
        });
        for (writing, number) in std::mem::take(&mut self.writers)
            .into_iter()
            .zip(numbers.writers.clone())
        {
            if round.is_ready(number) {
                self.finish(writing, now);
            } else {
                self.writers.push_back(writing);
            }
        }
    }

    /// Ends what has had its time.
    fn expire(&mut self, now: Instant) -> io::Result<()> {
        let is_late = |reading: &Reading| reading.deadline <= now;
        while let Some(reading) = self.heads.pop_oldest_if(is_late) {
            self.send_away(reading, head::TOO_SLOW, now);
        }
        while let Some(reading) = self.silent.pop_oldest_if(is_late) {
            self.send_away(reading, head::TOO_SLOW, now);
        }
        self.writers.retain(|writing| writing.deadline > now);
        self.lingerers.retain(|lingering| lingering.deadline > now);
        self.answer_early(now, |client| {
            (client.deadline() <= now).then(|| {
                if client.is_last_deadline() {
                    Urgency::Now
                } else {
                    Urgency::Cause
                }
            })
        });
        for stream in &mut self.streams {
            if let Some(trip) = &mut stream.trip
                && trip.tick(now) > OVERDUE_TICKS
            {
                return Err(io::Error::other(
                    "requests are not answered behind the door",
                ));
            }
        }
        Ok(())
    }

    /// Answers clients in place of what is behind the door: those for which
    /// `urgency` has one, and there is something to tell.
    fn answer_early(&mut self, now: Instant, urgency: impl Fn(&mut Asking) -> Option<Urgency>) {
        let mut answers = VecDeque::new();
        let mut is_answered = |client: &mut Asking| {
            let answer = urgency(client)
                .and_then(|urgency| (self.late)(client.route, client.arrived, urgency));
            let is_answered = answer.is_some();
            answers
                .extend(answer.map(|(status, body)| Canned::new(status, &body, SystemTime::now())));
            is_answered
        };
        let mut clients = Vec::new();
        for stream in &mut self.streams {
            if let Some(trip) = &mut stream.trip {
                clients.extend(trip.clients.extract_if(.., &mut is_answered));
            }
        }
        let mut waiting = Vec::from(std::mem::take(&mut self.waiting));
        clients.extend(waiting.extract_if(.., &mut is_answered));
        self.waiting = waiting.into();
        for (client, canned) in clients.into_iter().zip(answers) {
            let bytes = if client.is_head {
                &canned.head
            } else {
                &canned.whole
            };
            self.answer(client, canned.status, bytes, now);
        }
    }

    /// Ends a connection without a complete head. Its last byte may have come
    /// since it was looked at; one that has sent nothing is owed no answer.
    fn send_away(&mut self, mut reading: Reading, refusal: Refusal, now: Instant) {
        match reading.read() {
            Read::Partial if reading.has_begun() => {
                self.refuse(reading.socket, refusal, true, now);
            }
            Read::Partial | Read::Gone => {}
            Read::Complete(request) => self.let_in(reading, &request, now),
            Read::Refused(refusal) => self.refuse(reading.socket, refusal, true, now),
        }
    }

    /// Accepts a few connections. kubelet's request comes with its connection,
    /// so each is read at once, and waits only if it is not complete.
    fn accept(&mut self, entrance: usize, now: Instant) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let is_closed = self.is_holding(now) || self.closed_until(now).is_some();
            if is_closed || self.under_way.is_stopping() {
                break;
            }
            match self.entrances[entrance].listener.accept() {
                Ok((socket, address)) => {
                    if socket.set_nonblocking(true).is_ok() {
                        // Each its own moment: the order of giving way hangs on it.
                        let accepted = Instant::now();
                        let reading = Reading::new(socket, address.into(), entrance, accepted);
                        self.read_head(reading, now);
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
        let gives_way = self.heads.give_way();
        if let Some(reading) = gives_way.or_else(|| self.silent.give_way()) {
            self.send_away(reading, head::GIVES_WAY, now);
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
            let is_last = self
                .streams
                .iter()
                .filter(|stream| stream.trip.is_none())
                .count()
                == 1;
            let next = self.waiting.iter().find(|client| {
                // Metrics are ready at once, and must not wait for a slow driver.
                if is_last && client.route != Route::Metrics {
                    return false;
                }
                let trips = self
                    .streams
                    .iter()
                    .filter_map(|stream| stream.trip.as_ref());
                let alike = trips.filter(|trip| trip.route.is_about_the_same_as(client.route));
                alike.count() < streams_about(client.route)
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

/// What a listener does not recover from.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT)
    )
}
