//! What is known of the probes of one driver, and which of them answers a request. Pure: the clock
//! is the caller's.

use std::time::{Duration, Instant};

use csi::ConnectError;

use super::Answer;
use crate::moments::Moments;
use crate::outcome::{Readiness, Report};
use crate::probe::Phase;

/// The probes so far.
#[derive(Default)]
pub(super) struct State {
    /// How many probes have begun, which is the number of the running one.
    pub(super) begun: u64,
    /// The probe that is running.
    pub(super) running: Option<Running>,
    /// The moments that the next probe goes by: the latest of all requests that may need it,
    /// including those that joined the running one.
    wanted: Option<Moments>,
    /// The last probe that ended.
    pub(super) last: Option<Finished>,
    /// The last probe that found the driver ready: when it ended, and how long it took. It
    /// answers all requests that came before that, also if another probe has ended since.
    last_ready: Option<(Instant, Duration)>,
    /// The probe that a waiter found overdue.
    pub(super) overdue: Option<u64>,
}

pub(super) struct Running {
    moments: Moments,
    phase: Phase,
    pub(super) since: Instant,
}

pub(super) struct Finished {
    number: u64,
    pub(super) ended_at: Instant,
    moments: Moments,
    pub(super) report: Report,
}

impl State {
    /// Records that a request wants a probe, and gives the number from which on probes begin
    /// after it. It is recorded at once, so that a probe which begins the moment another one
    /// fails has time for every request that waits.
    pub(super) fn join(&mut self, moments: Moments) -> u64 {
        self.wanted = self.wanted.max(Some(moments));
        self.begun + 1
    }

    #[cfg(test)]
    pub(super) fn wanted(&self) -> Option<Moments> {
        self.wanted
    }

    /// Begins the next probe, if a request still waits for one, and gives its moments.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Moments> {
        let wanted = self.wanted.take();
        let moments = wanted.filter(|moments| moments.deadline().at() > now)?;
        self.begun += 1;
        self.running = Some(Running {
            moments,
            phase: Phase::Connecting(None),
            since: now,
        });
        Some(moments)
    }

    /// Records the phase of the running probe. Says whether its cause is now known and was not
    /// before: the requests that wait then give up earlier.
    pub(super) fn enter(&mut self, phase: Phase) -> bool {
        let was_known = self.known_cause().is_some();
        if let Some(running) = &mut self.running {
            running.phase = phase;
        }
        !was_known && self.known_cause().is_some()
    }

    /// Records the end of the running probe.
    pub(super) fn finish(&mut self, moments: Moments, report: Report, ended_at: Instant) {
        if report.outcome == Ok(Readiness::Ready) {
            self.last_ready = Some((ended_at, report.took));
            // It answers every request that waits, except those that came after its end.
            self.wanted = self.wanted.filter(|wanted| wanted.arrived() > ended_at);
        }
        self.running = None;
        self.last = Some(Finished {
            number: self.begun,
            ended_at,
            moments,
            report,
        });
    }

    pub(super) fn last_success(&self) -> Option<Instant> {
        self.last_ready.map(|(ended, _)| ended)
    }

    /// Why there is no connection yet, if an attempt has failed.
    pub(super) fn known_cause(&self) -> Option<&ConnectError> {
        match &self.running.as_ref()?.phase {
            Phase::Connecting(cause) => cause.as_ref(),
            Phase::Calling => None,
        }
    }

    /// The answer to a request for which probes from `fresh` on begin late enough.
    pub(super) fn answer_for(&self, fresh: u64, moments: Moments) -> Option<Answer> {
        self.ready_answer(moments).or_else(|| {
            // A failure counts only if this request's own time was used up.
            let finished = self.last.as_ref()?;
            (finished.number >= fresh && finished.moments >= moments).then(|| Answer {
                outcome: finished.report.outcome.clone(),
                took: finished.report.took,
                last_success: self.last_success(),
            })
        })
    }

    /// The answer if the driver was found ready after the request arrived.
    pub(super) fn ready_answer(&self, moments: Moments) -> Option<Answer> {
        let (ended, took) = self.last_ready?;
        (ended >= moments.arrived()).then_some(Answer {
            outcome: Ok(Readiness::Ready),
            took,
            last_success: self.last_success(),
        })
    }

    /// Whether the running probe has not ended although its time is over.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| now >= running.moments.give_up(running.is_connecting()))
    }
}

impl Finished {
    /// Whether it says anything of the driver: not if this process was stopped until its time was
    /// over.
    pub(super) fn is_about_the_driver(&self) -> bool {
        self.report.outcome.is_ok() || !self.moments.is_stale(self.ended_at)
    }
}

impl Running {
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }
}
