//! Which requests and connections have a place, and which give way to others.

use std::time::Instant;

use program::panics;

use crate::client::{Client, Label, Reading};
use crate::event_loop::report;
use crate::front::Front;
use crate::head::{self, Request, RequestError};
use crate::held::Held;
use crate::incomplete::Accepted as _;
use crate::peer::Peer;
use crate::site::{Progress, Reply, Site};

/// The text of Go's http.NotFound.
const NOT_FOUND: RequestError = RequestError {
    status: 404,
    why: "404 page not found",
};

impl<S: Site> Front<S> {
    /// Has connections give way until the others are within the bounds.
    pub(crate) fn make_room(&mut self, now: Instant) {
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

    /// How many connections may be silent now. They may use the places that no request takes,
    /// because each of them may become a request. So a crowd that connects at once and sends its
    /// requests one after the other has as many places as one that sends them at once.
    fn room_for_silent(&self) -> usize {
        self.limits.silent + self.limits.requests.saturating_sub(self.requests())
    }

    /// Has a complete request wait for its worker, if there is room.
    pub(crate) fn let_in(&mut self, reading: Reading, request: &Request, now: Instant) {
        let label = Label::new(request);
        let arrived = Instant::now();
        let asked = panics::catch(|| {
            let (path, query) = head::path_and_query(&request.target);
            let route = self.site.route(reading.listener, path, query)?;
            let (group, schedule) = (self.site.group(route), self.site.schedule(route, arrived));
            Some((route, group, schedule))
        });
        let (route, group, schedule) = match asked {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                let reply = Reply::plain(NOT_FOUND.status, NOT_FOUND.why);
                return self.answer_without_route(reading, request, &label, &reply, now);
            }
            Err(panic) => {
                let reply = report(&panic);
                return self.answer_without_route(reading, request, &label, &reply, now);
            }
        };
        let client = Client {
            peer: reading.peer(),
            socket: reading.socket,
            route,
            group,
            arrived,
            progress: Progress::new(schedule),
            is_head: request.is_head,
            has_finished: false,
            lingers: request.has_more,
            label,
            guard: self.in_flight.enter(),
        };
        // A place of its own group is also one of all.
        let has_place = if self.has_its_share(group) {
            self.free_a_place(&client, Some(group), now)
        } else {
            !self.is_without_room() || self.free_a_place(&client, None, now)
        };
        if has_place {
            self.waiting.push_back(client);
        } else {
            self.answer_with(client, &head::TOO_MANY, now);
        }
        if self.is_without_room() {
            self.full_since.get_or_insert(now);
        }
    }

    fn answer_without_route(
        &mut self,
        reading: Reading,
        request: &Request,
        label: &Label,
        reply: &Reply,
        now: Instant,
    ) {
        label.log(reply.status);
        let response = self.render(reply);
        let (is_head, lingers) = (request.is_head, request.has_more);
        self.send(reading.socket, &response, is_head, lingers, None, now);
    }

    /// Makes a place for a request by taking one of this group, or of all; says whether there is
    /// one.
    fn free_a_place(&mut self, newcomer: &Client<S>, group: Option<usize>, now: Instant) -> bool {
        if self.drop_one_that_has_finished(group) {
            return true;
        }
        let Some(client) = self.take_one_of_the_most(newcomer.peer, group) else {
            return false;
        };
        self.answer_with(client, &head::TOO_MANY, now);
        true
    }

    /// Takes out the newest request of an address that has most (`held`), if the newcomer's
    /// has at least two fewer: a crowd from one address then cannot take the places of all
    /// others before a driver that is slow.
    fn take_one_of_the_most(&mut self, newcomer: Peer, group: Option<usize>) -> Option<Client<S>> {
        let mut held = Held::default();
        for client in self.clients().filter(|client| client.is_in(group)) {
            held.add(client.peer);
        }
        if !held.should_evict_for(newcomer) {
            return None;
        }
        let gives_way = held.most();
        let newest = self
            .clients()
            .enumerate()
            .filter(|(_, client)| gives_way(client.peer) && client.is_in(group))
            .max_by_key(|(_, client)| client.arrived)
            .map(|(at, _)| at)?;
        self.take_client(newest)
    }

    /// Without room, a client that will send no more gives way to one that may still be there.
    /// Otherwise clients that ask and leave would hold places until their worker is done, at no cost.
    fn drop_one_that_has_finished(&mut self, group: Option<usize>) -> bool {
        let finished = self
            .clients()
            .position(|client| client.has_finished && client.is_in(group));
        finished.and_then(|at| self.take_client(at)).is_some()
    }

    /// Takes out the request of this index in the order of [`Front::clients`].
    fn take_client(&mut self, mut at: usize) -> Option<Client<S>> {
        for exchange in &mut self.exchanges {
            if let Some(pending) = &mut exchange.pending {
                if at < pending.clients.len() {
                    return Some(pending.clients.remove(at));
                }
                at -= pending.clients.len();
            }
        }
        self.waiting.remove(at)
    }

    /// Whether a group has all the places that it may take.
    fn has_its_share(&self, group: usize) -> bool {
        let of_group = self.clients().filter(|client| client.is_in(Some(group)));
        of_group.count() >= self.limits.share(self.site.shares(group))
    }
}
