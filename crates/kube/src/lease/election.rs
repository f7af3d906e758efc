//! The state machine of one candidate.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::{Action, Answer, Event, LeaseRecord, Loss, Request, Timing};
use crate::term::{Tenure, Term};
use crate::time::{Jitter, Moment, micro_time};

/// The shortest time for a request of a leader, while so much of the term is left.
const REQUEST_MIN: Duration = Duration::from_secs(1);

/// The API's `leaseTransitions` is a signed number of 32 bits.
const TRANSITIONS_MAX: u32 = i32::MAX.unsigned_abs();

/// The most writes that are remembered while no answer says which of them was carried out. At
/// least a retry period lies between two of them, so that the oldest cannot be carried out any more.
const SENT_MAX: usize = 32;

enum Role {
    Candidate,
    Leader {
        term: Term,
        /// Until then a foreign write under our identity means that we are the younger. `None` when
        /// that time has passed, and for a lease that we did not find under our identity.
        young_until: Option<Moment>,
    },
    Releasing {
        until: Moment,
    },
    Resting,
}

/// What comes next, and not before which moment.
#[derive(Clone, Copy)]
enum Step {
    Get(Moment),
    /// A write without a GET before it: a renewal or a release.
    Write(Moment),
    /// The write that follows a GET.
    WriteAfterGet,
}

enum InFlight {
    Get,
    Write { at: Moment, after_get: bool },
}

/// The record as it was last seen.
struct Seen {
    record: LeaseRecord,
    /// When this record was first seen: the time of an answer, never that of its request, because
    /// a holder counts from the earlier moment.
    since: Moment,
    /// No other record was seen before. If our identity stands in it, the holder was this
    /// container before its restart.
    is_first: bool,
    /// Another process wrote it, be it under our identity.
    is_foreign: bool,
}

/// The part of one process in an election. Call [`Election::next`], do what it says, and so on.
pub struct Election {
    identity: String,
    timing: Timing,
    jitter: Jitter,
    role: Role,
    step: Step,
    in_flight: Option<InFlight>,
    seen: Option<Seen>,
    /// The resourceVersion of the lease, or `None` if there is no lease.
    version: Option<String>,
    /// The renewTime of each of our writes that stands in the lease or may still come to.
    sent: VecDeque<String>,
    /// The time in our last write.
    last_wall: Option<SystemTime>,
    /// Our tenure goes on with a record that was there before this process, and a lease duration
    /// of leadership has not passed since. That stays so if the first write has no answer.
    after_restart: bool,
    events: Vec<Event>,
}

impl Election {
    /// A candidate that has seen no lease yet. `timing` has passed [`Timing::check`].
    #[must_use]
    pub fn new(identity: String, timing: Timing, jitter: Jitter) -> Election {
        Election {
            identity,
            timing,
            jitter,
            role: Role::Candidate,
            step: Step::Get(Moment::default()),
            in_flight: None,
            seen: None,
            version: None,
            sent: VecDeque::new(),
            last_wall: None,
            after_restart: false,
            events: Vec::new(),
        }
    }

    /// The term, while this process leads.
    #[must_use]
    pub fn term(&self) -> Option<&Term> {
        match &self.role {
            Role::Leader { term, .. } => Some(term),
            _ => None,
        }
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Decides what to do at `now`. `wall` goes into the record, or one microsecond after the time
    /// in the last write if `wall` is not later. A request that has no answer yet
    /// counts as failed.
    pub fn next(&mut self, now: Moment, wall: SystemTime) -> Action {
        self.expire(now);
        if self.in_flight.is_some() {
            self.answer(Answer::Failed, now);
        }
        if matches!(self.role, Role::Resting) {
            return Action::Rest;
        }
        let (request, in_flight) = match self.step {
            Step::Get(at) | Step::Write(at) if now < at => {
                // A term ends on time even if the next attempt comes later.
                let end = self.term().and_then(|term| term.permits(now).ok());
                return Action::Sleep(end.map_or(at, |left| at.min(now + left)));
            }
            Step::Get(_) => (Request::Get, InFlight::Get),
            Step::Write(_) | Step::WriteAfterGet => {
                let after_get = matches!(self.step, Step::WriteAfterGet);
                let record = self.record(wall);
                let request = match &self.version {
                    Some(version) => Request::Update(record, version.clone()),
                    None => Request::Create(record),
                };
                (request, InFlight::Write { at: now, after_get })
            }
        };
        self.in_flight = Some(in_flight);
        let limit = self.limit(now);
        Action::Send { request, limit }
    }

    /// Takes the outcome of the request at `now`.
    pub fn answer(&mut self, answer: Answer, now: Moment) {
        self.expire(now);
        match (self.in_flight.take(), answer) {
            (None, _) => {}
            (Some(InFlight::Get), Answer::Stored(record, version)) => {
                self.see(record, version, now);
                self.decide(now);
            }
            (Some(InFlight::Get), Answer::NotFound) => {
                // The record may have changed before the deletion, unseen, so that its holder
                // has to be waited for from now on.
                if let (Some(_), Some(seen)) = (self.version.take(), &mut self.seen) {
                    seen.since = now;
                }
                self.decide(now);
            }
            (Some(InFlight::Write { at, .. }), Answer::Stored(record, version)) => {
                self.see(record, version, now);
                self.written(at, now);
            }
            // A leader reads the lease at once and tries again, but only once without a pause.
            (
                Some(InFlight::Write {
                    after_get: false, ..
                }),
                _,
            ) => self.step = Step::Get(now),
            (Some(InFlight::Get | InFlight::Write { .. }), _) => self.pause(now),
        }
    }

    /// Ends the term and gives the lease back, so that another candidate need not wait. Call this
    /// when no worker writes any more, then go on with [`Election::next`] until it says
    /// [`Action::Rest`]. The whole takes no longer than the renew deadline.
    pub fn release(&mut self, now: Moment) {
        self.in_flight = None;
        let until = now + self.timing.renew_deadline;
        match &self.role {
            Role::Leader { term, .. } => {
                term.end();
                self.step = Step::Write(now);
                self.role = Role::Releasing { until };
            }
            // The lease may still be ours, by a write without an answer or after a lost term.
            Role::Candidate if !self.sent.is_empty() => {
                self.step = Step::Get(now);
                self.role = Role::Releasing { until };
            }
            Role::Candidate => self.role = Role::Resting,
            Role::Releasing { .. } | Role::Resting => {}
        }
    }

    /// Becomes a candidate again after a release.
    pub fn campaign(&mut self, now: Moment) {
        if matches!(self.role, Role::Releasing { .. } | Role::Resting) {
            self.in_flight = None;
            self.role = Role::Candidate;
            self.step = Step::Get(now);
        }
    }

    /// Ends what has lasted too long.
    fn expire(&mut self, now: Moment) {
        match &mut self.role {
            Role::Leader { term, .. } if term.permits(now).is_err() => {
                self.lose(Loss::Deadline);
                self.step = Step::Get(now);
            }
            Role::Leader { young_until, .. } if young_until.is_some_and(|until| until <= now) => {
                *young_until = None;
                // A later term of this process is not young again.
                self.after_restart = false;
            }
            Role::Releasing { until } if *until <= now => self.role = Role::Resting,
            _ => {}
        }
    }

    fn lose(&mut self, loss: Loss) {
        if let Role::Leader { term, .. } = &self.role {
            term.end();
            self.role = Role::Candidate;
            self.events.push(Event::Lost(loss));
        }
    }

    /// Waits after an attempt that failed or came too early.
    fn pause(&mut self, now: Moment) {
        self.step = Step::Get(match self.role {
            Role::Candidate | Role::Resting => {
                let jitter = self.jitter.below(self.timing.longest_jitter());
                now + self.timing.retry_period + jitter
            }
            Role::Leader { .. } | Role::Releasing { .. } => now + self.timing.pause(),
        });
    }

    /// The time for a request at `now`. A leader needs three if the first one fails, so no request
    /// takes more than half of what is left of the term.
    fn limit(&self, now: Moment) -> Duration {
        let limit = self.timing.request_limit();
        match &self.role {
            Role::Leader { term, .. } => {
                let left = term.permits(now).unwrap_or_default();
                limit.min(left.min(REQUEST_MIN.max(left / 2)))
            }
            Role::Releasing { until } => limit.min(until.since(now)),
            Role::Candidate | Role::Resting => limit,
        }
    }

    fn see(&mut self, record: LeaseRecord, version: String, now: Moment) {
        // A write with an older resourceVersion than this one is not carried out any more.
        if self.version.as_ref() != Some(&version) {
            let ours = record.holder_identity == self.identity;
            self.sent.retain(|sent| ours && *sent == record.renew_time);
            self.version = Some(version);
        }
        let before = self.seen.as_ref();
        if before.is_some_and(|seen| seen.record == record) {
            return;
        }
        let holder = &record.holder_identity;
        let is_first = before.is_none();
        let is_identity = *holder == self.identity;
        let is_own = is_identity && (is_first || self.sent.contains(&record.renew_time));
        let is_foreign = !holder.is_empty() && !is_own;
        let is_known =
            before.is_some_and(|seen| seen.is_foreign && seen.record.holder_identity == *holder);
        // A leader decides which of two processes of one identity goes on, and that is an event.
        let is_reported = is_identity && matches!(self.role, Role::Leader { .. });
        if is_foreign && !is_known && !is_reported {
            self.events.push(Event::Holder(holder.clone()));
        }
        self.seen = Some(Seen {
            record,
            since: now,
            is_first,
            is_foreign,
        });
    }

    /// Decides after a GET.
    fn decide(&mut self, now: Moment) {
        let holder = self.seen.as_ref().map(|seen| &seen.record.holder_identity);
        let is_identity = holder == Some(&self.identity);
        let go_on = match &self.role {
            Role::Candidate | Role::Resting => self.may_take(now),
            // A lease that was deleted is written anew.
            Role::Leader { .. } if self.version.is_none() || self.is_own_write() => true,
            Role::Leader { young_until, .. } if is_identity => {
                let is_younger = young_until.is_some();
                if is_younger {
                    self.lose(Loss::SameIdentity);
                } else {
                    self.events.push(Event::SameIdentity);
                }
                !is_younger
            }
            Role::Leader { .. } => {
                let holder = holder.cloned().unwrap_or_default();
                self.lose(Loss::Taken(holder));
                self.may_take(now)
            }
            Role::Releasing { .. } if self.version.is_some() && self.is_own_write() => true,
            Role::Releasing { .. } => {
                self.role = Role::Resting;
                false
            }
        };
        if go_on {
            self.step = Step::WriteAfterGet;
        } else {
            self.pause(now);
        }
    }

    /// Whether a candidate may take the lease. Our own identity alone is no reason: it may be that
    /// of another process.
    fn may_take(&self, now: Moment) -> bool {
        let Some(seen) = &self.seen else {
            return true;
        };
        let seconds = match seen.record.lease_duration_seconds {
            // The API server accepts a lease without a duration, and refuses zero.
            0 => self.timing.lease_seconds(),
            seconds => seconds,
        };
        let stood_still = now.since(seen.since) >= Duration::from_secs(seconds.into());
        // The holder of a lease that was deleted leads on until it notices.
        seen.record.holder_identity.is_empty() || self.keeps_tenure() || stood_still
    }

    /// Whether the record is one of our writes.
    fn is_own_write(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| {
            seen.record.holder_identity == self.identity
                && self.sent.contains(&seen.record.renew_time)
        })
    }

    /// Whether the record was written by this container before its restart, as far as that can be
    /// known.
    fn is_restart(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| {
            seen.is_first
                && seen.record.holder_identity == self.identity
                && !self.sent.contains(&seen.record.renew_time)
        })
    }

    /// Whether a candidate's write now goes on with the record's tenure. Of a lease that was deleted
    /// it cannot know whether another process led meanwhile.
    fn keeps_tenure(&self) -> bool {
        self.version.is_some() && (self.is_own_write() || self.is_restart())
    }

    /// The record of the next write.
    fn record(&mut self, wall: SystemTime) -> LeaseRecord {
        // A clock that stands or was set back must not repeat a time. Others would see the record
        // unchanged, and a write of ours could not be known from another one by its time.
        let after_last = self
            .last_wall
            .and_then(|last| last.checked_add(Duration::from_micros(1)));
        let wall = after_last.map_or(wall, |after_last| after_last.max(wall));
        self.last_wall = Some(wall);
        let time = micro_time(wall);
        let seen = self.seen.as_ref().map(|seen| &seen.record);
        let transitions = seen.map_or(0, |record| record.lease_transitions.min(TRANSITIONS_MAX));
        if let Role::Releasing { .. } = self.role {
            return LeaseRecord {
                holder_identity: String::new(),
                // The API server refuses zero.
                lease_duration_seconds: 1,
                acquire_time: time.clone(),
                renew_time: time,
                lease_transitions: transitions,
            };
        }
        let goes_on = self.term().is_some() || self.keeps_tenure();
        let kept = seen.filter(|_| goes_on).map(|record| match self.term() {
            // Every field of a lease is optional, and the API server refuses an empty time.
            Some(term) if record.acquire_time.is_empty() => term.tenure().clone(),
            _ if record.acquire_time.is_empty() => Tenure {
                acquire_time: time.clone(),
                transitions,
            },
            _ => Tenure {
                acquire_time: record.acquire_time.clone(),
                transitions,
            },
        });
        let has_kept = kept.is_some();
        let tenure = kept.unwrap_or_else(|| Tenure {
            acquire_time: time.clone(),
            transitions: match &self.version {
                Some(_) => (transitions + 1).min(TRANSITIONS_MAX),
                None => 0,
            },
        });
        let record = LeaseRecord {
            holder_identity: self.identity.clone(),
            lease_duration_seconds: self.timing.lease_seconds(),
            acquire_time: tenure.acquire_time,
            renew_time: time.clone(),
            lease_transitions: tenure.transitions,
        };
        self.after_restart = self.after_restart && has_kept || self.is_restart();
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(time);
        record
    }

    /// A write that was sent at `at` succeeded.
    fn written(&mut self, at: Moment, now: Moment) {
        match &self.role {
            Role::Leader { term, .. } => {
                term.renew(at);
                self.step = Step::Write(at + self.timing.retry_period);
            }
            Role::Candidate if self.is_own_write() && at + self.timing.renew_deadline > now => {
                self.lead(at, now);
            }
            // The answer came so late that the term is over before it has begun.
            Role::Candidate if self.is_own_write() => self.decide(now),
            // The API server has stored another record than ours. Without a pause, a rule that
            // permits the next write would let it follow at once, again and again.
            Role::Candidate => self.pause(now),
            Role::Releasing { .. } | Role::Resting => self.role = Role::Resting,
        }
    }

    fn lead(&mut self, at: Moment, now: Moment) {
        let Some(Seen { record, .. }) = &self.seen else {
            return;
        };
        let tenure = Tenure {
            acquire_time: record.acquire_time.clone(),
            transitions: record.lease_transitions,
        };
        let term = Term::new(at, self.timing.renew_deadline, tenure);
        self.events.push(Event::Leading(term.clone()));
        let young_until = self.after_restart.then(|| now + self.timing.lease_duration);
        self.role = Role::Leader { term, young_until };
        self.step = Step::Write(at + self.timing.retry_period);
    }
}
