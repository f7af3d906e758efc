//! What the event loop does with the events of a round.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Instant, SystemTime};

use program::panics::{self, Panic};
use program::poll::Round;

use crate::client::{Client, Read, Reading, Writing, Written};
use crate::exchange::Ended;
use crate::front::{Front, Indices};
use crate::head::{self, RequestError};
use crate::in_flight::Guard;
use crate::limits::{ACCEPT_BATCH, ACCEPT_PAUSE, OVERDUE_TICKS};
use crate::response::Response;
use crate::site::{Immediate, Reply, Site};

impl<S: Site> Front<S> {
    /// Handles the events of a round. Clients that hang up make room first, answers go out before
    /// anything new comes in, and heads that are complete by now are read before a new connection
    /// could push them out.
    pub(crate) fn handle_events(&mut self, round: &Round, indices: &Indices) -> io::Result<()> {
        let now = Instant::now();
        self.drop_closed(round, indices);
        self.write_and_linger(round, indices, now);
        self.receive(round, indices, now)?;
        self.read_heads(round, indices, now);
        self.expire(now)?;
        for listener in 0..indices.listeners.len() {
            if round.is_ready(indices.listeners.start + listener) {
                self.accept(listener, now)?;
            }
        }
        self.dispatch()?;
        self.full_since = if self.is_without_room() {
            self.full_since.or(Some(now))
        } else {
            None
        };
        Ok(())
    }

    /// Forgets the clients that have finished sending, once the process stops: nearly all of
    /// them have gone, and a stop waits for none of them.
    pub(crate) fn forget_finished(&mut self) {
        self.retain_clients(|client| !client.has_finished);
    }

    /// Forgets the clients that have closed both directions or were reset, and remembers those
    /// that have closed their sending side.
    fn drop_closed(&mut self, round: &Round, indices: &Indices) {
        let mut index = indices.clients.clone();
        self.retain_clients(|client| {
            let Some(index) = index.next() else {
                return true;
            };
            client.has_finished |= round.is_ready(index);
            !round.is_over(index)
        });
    }

    /// Takes what the workers have prepared.
    fn receive(&mut self, round: &Round, indices: &Indices, now: Instant) -> io::Result<()> {
        for at in 0..indices.exchanges.len() {
            if round.is_ready(indices.exchanges.start + at)
                && let Some(ended) = self.exchanges[at].advance()?
            {
                self.deliver(ended, now);
            }
        }
        Ok(())
    }

    /// Answers the clients of an exchange. Those with the same route have the same answer, which
    /// is rendered once.
    fn deliver(&mut self, ended: Ended<S>, now: Instant) {
        let mut rendered: Vec<(S::Route, Response)> = Vec::new();
        for client in ended.clients {
            let known = rendered.iter().find(|(route, _)| *route == client.route);
            let response = if let Some((_, response)) = known {
                response.clone()
            } else {
                let reply = match &ended.prepared {
                    Some(prepared) => panics::catch(|| self.site.reply(client.route, prepared))
                        .unwrap_or_else(|panic| report(&panic)),
                    // The worker has logged its panic.
                    None => bug(),
                };
                let response = self.render(&reply);
                rendered.push((client.route, response.clone()));
                response
            };
            self.answer(client, &response, now);
        }
        // A success answers all requests that arrived before it, also those of other groups.
        self.answer_now(now, |_| Some(Immediate::IfReady));
    }

    pub(crate) fn render(&self, reply: &Reply) -> Response {
        Response::new(self.program, reply, SystemTime::now())
    }

    /// Reads from the connections without a complete head on which bytes have come.
    fn read_heads(&mut self, round: &Round, indices: &Indices, now: Instant) {
        // Without room they stay unread for a moment. Those that have ended are dropped, because
        // poll(2) would return at once for them, again and again.
        let is_holding = self.is_holding(now);
        let mut index = indices.incomplete.clone();
        let mut is_due = |_: &Reading| {
            index
                .next()
                .is_some_and(|index| round.is_over(index) || (!is_holding && round.is_ready(index)))
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
            Read::Refused(error) => self.refuse(reading.socket, error, now),
        }
    }

    fn keep(&mut self, reading: Reading) {
        if reading.has_begun() {
            self.heads.insert(reading);
        } else {
            self.silent.insert(reading);
        }
    }

    pub(crate) fn refuse(&mut self, socket: TcpStream, error: RequestError, now: Instant) {
        log::debug!(status = error.status, why = error.why; "Request refused");
        let response = self.render(&Reply::plain(error.status, error.why));
        self.send(socket, &response, false, true, None, now);
    }

    /// Answers a request that has no worker.
    pub(crate) fn answer_with(&mut self, client: Client<S>, error: &RequestError, now: Instant) {
        let response = self.render(&Reply::plain(error.status, error.why));
        self.answer(client, &response, now);
    }

    fn answer(&mut self, client: Client<S>, response: &Response, now: Instant) {
        client.label.log(response.status);
        let (is_head, lingers) = (client.is_head, client.lingers);
        self.send(
            client.socket,
            response,
            is_head,
            lingers,
            Some(client.guard),
            now,
        );
    }

    pub(crate) fn send(
        &mut self,
        socket: TcpStream,
        response: &Response,
        is_head: bool,
        lingers: bool,
        guard: Option<Guard>,
        now: Instant,
    ) {
        let bytes = response.bytes(is_head).clone();
        self.finish(Writing::new(socket, bytes, lingers, guard, now), now);
    }

    /// Writes, and keeps the connection only until all is written.
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

    fn write_and_linger(&mut self, round: &Round, indices: &Indices, now: Instant) {
        let mut index = indices.lingerers.clone();
        self.lingerers.retain_mut(|lingering| {
            let is_ready = index.next().is_some_and(|index| round.is_ready(index));
            !(is_ready && lingering.is_over())
        });
        for (writing, index) in std::mem::take(&mut self.writers)
            .into_iter()
            .zip(indices.writers.clone())
        {
            if round.is_ready(index) {
                self.finish(writing, now);
            } else {
                self.writers.push_back(writing);
            }
        }
    }

    /// Ends connections whose time is over, and answers requests whose moment has come.
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
        self.answer_now(now, |client| client.progress.due(now));
        for exchange in &mut self.exchanges {
            if let Some(pending) = &mut exchange.pending
                && pending.tick(now) > OVERDUE_TICKS
            {
                return Err(io::Error::other("the workers do not answer"));
            }
        }
        Ok(())
    }

    /// Answers clients without their worker: those for which `immediate` names a condition, and
    /// there is something to report under it.
    fn answer_now(
        &mut self,
        now: Instant,
        immediate: impl Fn(&mut Client<S>) -> Option<Immediate>,
    ) {
        let site = &self.site;
        let mut replies = VecDeque::new();
        let mut is_answered = |client: &mut Client<S>| {
            let Some(immediate) = immediate(client) else {
                return false;
            };
            let reply = panics::catch(|| site.immediate(client.route, client.arrived, immediate))
                .unwrap_or_else(|panic| Some(report(&panic)))
                .or_else(|| (immediate == Immediate::Always).then(too_late));
            let is_answered = reply.is_some();
            replies.extend(reply);
            is_answered
        };
        let mut clients = Vec::new();
        for exchange in &mut self.exchanges {
            if let Some(pending) = &mut exchange.pending {
                clients.extend(pending.clients.extract_if(.., &mut is_answered));
            }
        }
        let mut waiting = Vec::from(std::mem::take(&mut self.waiting));
        clients.extend(waiting.extract_if(.., &mut is_answered));
        self.waiting = waiting.into();
        for (client, reply) in clients.into_iter().zip(replies) {
            let response = self.render(&reply);
            self.answer(client, &response, now);
        }
    }

    /// Ends a connection without a complete head. Its last byte may have come since it was looked
    /// at; a connection that has sent nothing is owed no answer.
    pub(crate) fn send_away(&mut self, mut reading: Reading, error: RequestError, now: Instant) {
        match reading.read() {
            Read::Partial if reading.has_begun() => self.refuse(reading.socket, error, now),
            Read::Partial | Read::Gone => {}
            Read::Complete(request) => self.let_in(reading, &request, now),
            Read::Refused(error) => self.refuse(reading.socket, error, now),
        }
    }

    /// Accepts a few connections. kubelet's request comes with its connection, so each is read at
    /// once, and waits only if it is not complete.
    fn accept(&mut self, listener: usize, now: Instant) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let is_closed = self.is_holding(now) || self.closed_until(now).is_some();
            if is_closed || self.in_flight.is_stopping() {
                break;
            }
            match self.listeners[listener].accept() {
                Ok((socket, address)) => {
                    if socket.set_nonblocking(true).is_ok() {
                        // Each has its own moment: the order of giving way depends on it.
                        let accepted = Instant::now();
                        let reading = Reading::new(socket, address.into(), listener, accepted);
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
                // The connection's own error, or the network's (accept(2)): the next one may be
                // as good as any.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Descriptors or memory have run out: leaves new connections in the kernel's queue for a
    /// moment, and closes the connections that matter least.
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

    /// Begins an exchange for each group that has requests waiting and none in flight. All of
    /// its requests share it.
    fn dispatch(&mut self) -> io::Result<()> {
        for group in 0..self.exchanges.len() {
            while self.exchanges[group].pending.is_none() {
                let clients = self.take_waiting(group);
                if clients.is_empty() {
                    break;
                }
                self.exchanges[group].begin(clients);
                if let Some(ended) = self.exchanges[group].advance()? {
                    self.deliver(ended, Instant::now());
                }
            }
        }
        Ok(())
    }

    fn take_waiting(&mut self, group: usize) -> Vec<Client<S>> {
        let is_of_group = |client: &Client<S>| client.group == group;
        if !self.waiting.iter().any(is_of_group) {
            return Vec::new();
        }
        let (clients, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(is_of_group);
        self.waiting = rest.into();
        clients
    }
}

/// The answer to a request for which the site has none when its time is over.
fn too_late() -> Reply {
    Reply::plain(head::TOO_MANY.status, head::TOO_MANY.why)
}

/// Logs a panic in the site, and gives the answer to the request that caused it.
pub(crate) fn report(panic: &Panic) -> Reply {
    log::error!(err = panic.to_string(); "Cannot answer a request, this is a bug");
    bug()
}

fn bug() -> Reply {
    Reply::plain(500, "this sidecar has a bug; see its log")
}

/// Adds to a list whose oldest gives way.
fn push_bounded<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    list.push_back(item);
    while list.len() > most {
        list.pop_front();
    }
}

/// An error that a listener does not recover from.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT)
    )
}

/// An error that passes when others give something back.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)
    )
}
