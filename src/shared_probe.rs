//! One probe for all requests that come at the same time, which is known as single flight, so that
//! a crowd of clients never becomes a crowd at the driver.
//!
//! One rule keeps it honest: **the answer to a request comes from a probe that ended after the
//! request arrived.** A success is the answer of every request that waited for it, even if that
//! probe began earlier. A failure of a probe that began earlier is not, nor is "not ready": the
//! driver may have recovered in between, so such a request shares a fresh probe with the time that
//! is left of its own. Each request keeps its own deadline, also if gRPC does not.
//!
//! One thread makes the probes and lives as long as the process, so that no probe depends on a
//! thread that could not be started. A second one is the watchdog.

mod state;
mod watchdog;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use csi::{CallError, ConnectError, CsiAddress, Reason, timed_out};
use front::Immediate;
use program::{panics, threads};

use crate::moments::Moments;
use crate::outcome::{Outcome, ProbeError, Report};
use crate::probe::Phase;
use state::State;
pub use watchdog::Patience;

/// Stack of the threads here. They run gRPC's calls and format text; a page that is never touched
/// costs nothing.
const STACK: usize = 256 * 1024;

/// Makes one probe by the moments of a request, and reports each phase that it enters.
pub type Probe = dyn Fn(Moments, &mut dyn FnMut(Phase)) -> Report + Send;

/// What is called when something happens here.
pub struct Events {
    /// A probe has ended. This is called before any request is answered from it, so it must not
    /// block.
    pub ended: Box<dyn Fn(&Report) + Send>,
    /// A probe has not ended long after its deadline, and will not. Only a new process is a cure.
    pub stuck: Box<dyn Fn(&str) + Send>,
}

/// What a request is answered from.
pub struct Answer {
    /// The probe's outcome, or what was known of it when the request gave up.
    pub outcome: Outcome,
    /// How long that probe took, or has taken so far.
    pub took: Duration,
    /// When a probe last found the driver ready.
    pub last_success: Option<Instant>,
}

/// The probes of one driver.
pub struct SharedProbe {
    shared: Arc<Shared>,
}

/// A request that waits.
pub struct Waiter {
    /// Probes from this number on begin after the request, so that it takes any outcome of them.
    fresh: u64,
    moments: Moments,
}

struct Shared {
    address: CsiAddress,
    method: &'static str,
    patience: Patience,
    state: Mutex<State>,
    /// A probe is wanted: wakes the prober.
    wanted: Condvar,
    /// A probe has ended, or has a cause to report: wakes the requests that wait for it.
    changed: Condvar,
    /// A probe is overdue: wakes the watchdog.
    overdue: Condvar,
}

impl SharedProbe {
    /// Starts the two threads. `method` is the path of the gRPC method, for messages.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(
        address: CsiAddress,
        method: &'static str,
        probe: Box<Probe>,
        events: Events,
        patience: Patience,
    ) -> Result<SharedProbe, String> {
        let shared = Arc::new(Shared {
            address,
            method,
            patience,
            state: Mutex::default(),
            wanted: Condvar::new(),
            changed: Condvar::new(),
            overdue: Condvar::new(),
        });
        let Events { ended, stuck } = events;
        threads::spawn("prober", STACK, {
            let shared = Arc::clone(&shared);
            move || shared.run(&probe, &ended)
        })?;
        threads::spawn("watchdog", STACK, {
            let shared = Arc::clone(&shared);
            move || shared.watch(&stuck)
        })?;
        Ok(SharedProbe { shared })
    }

    /// Asks for the driver's health. The answer comes when a probe that counts for this request
    /// has ended, or when the request gives up.
    #[must_use]
    pub fn ask(&self, moments: Moments) -> Answer {
        self.wait(&self.join(moments))
    }

    /// Has a probe made that counts for this request; [`SharedProbe::wait`] waits for it.
    #[must_use]
    pub fn join(&self, moments: Moments) -> Waiter {
        let shared = &self.shared;
        let mut state = shared.lock();
        let fresh = state.join(moments);
        let is_idle = state.running.is_none();
        // Unlocked before it wakes the prober, which would wait for the lock.
        drop(state);
        if is_idle {
            shared.wanted.notify_one();
        }
        Waiter { fresh, moments }
    }

    /// Waits as [`SharedProbe::ask`] does.
    #[must_use]
    pub fn wait(&self, waiter: &Waiter) -> Answer {
        self.shared.wait(waiter)
    }

    /// The result of the last probe, if it ended within this time and says something of the
    /// driver.
    #[must_use]
    pub fn latest(&self, within: Duration) -> Option<Answer> {
        let state = self.shared.lock();
        let finished = state.last.as_ref()?;
        (finished.ended_at.elapsed() <= within && finished.is_about_the_driver()).then(|| Answer {
            outcome: finished.report.outcome.clone(),
            took: finished.report.took,
            last_success: state.last_success(),
        })
    }

    /// The answer without waiting: that the driver was found ready after the request arrived, or
    /// else what `immediate` permits.
    #[must_use]
    pub fn answer_now(&self, moments: Moments, immediate: Immediate) -> Option<Answer> {
        let mut state = self.shared.lock();
        let gives_up = match immediate {
            Immediate::IfReady => false,
            Immediate::IfCauseKnown => state.known_cause().is_some(),
            Immediate::Always => true,
        };
        let ready = state.ready_answer(moments);
        ready.or_else(|| gives_up.then(|| self.shared.give_up(&mut state, moments)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        threads::lock(&self.state)
    }

    fn wait(&self, &Waiter { fresh, moments }: &Waiter) -> Answer {
        let mut state = self.lock();
        let mut last_chance = None;
        loop {
            if let Some(answer) = state.answer_for(fresh, moments) {
                return answer;
            }
            if state.running.is_none() {
                state.join(moments);
                self.wanted.notify_one();
            }
            let gives_up = moments.give_up(state.known_cause().is_some());
            let until = last_chance.unwrap_or(gives_up);
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                state = wait(&self.changed, state, left);
            } else if last_chance.is_none()
                && let Some(chance) = Moments::last_chance(until, now)
            {
                last_chance = Some(chance);
            } else {
                return self.give_up(&mut state, moments);
            }
        }
    }

    /// The answer of a request that gives up: what is known of the probe so far.
    fn give_up(&self, state: &mut State, moments: Moments) -> Answer {
        if state.is_overdue(Instant::now()) {
            state.overdue = Some(state.begun);
            self.overdue.notify_one();
        }
        let since = state.running.as_ref().map(|running| running.since);
        let timeout = moments.deadline().timeout();
        Answer {
            outcome: Err(self.error_so_far(state, moments)),
            took: since.map_or(timeout, |since| since.elapsed()),
            last_success: state.last_success(),
        }
    }

    /// The error of a probe that has not ended.
    fn error_so_far(&self, state: &State, moments: Moments) -> ProbeError {
        if let Some(error) = state.known_cause() {
            return ProbeError::Connect(error.clone());
        }
        let last = state.last.as_ref().map(|finished| &finished.report.outcome);
        match (&state.running, last) {
            (Some(running), _) if !running.is_connecting() => {
                let error = timed_out(self.method, &self.address, moments.deadline());
                ProbeError::Call(error)
            }
            // This probe knows no cause yet, or there was too little time for one: the failure
            // before it is the best explanation there is.
            (_, Some(Err(error))) => error.clone(),
            _ => ProbeError::Connect(ConnectError {
                address: self.address.to_string(),
                cause: "timed out".to_owned(),
                reason: Reason::TimedOut,
                is_transient: true,
            }),
        }
    }

    /// The prober: makes each probe that is wanted.
    fn run(&self, probe: &Probe, ended: &dyn Fn(&Report)) {
        loop {
            let moments = self.next();
            let probed = panics::catch(|| probe(moments, &mut |phase| self.enter(phase)));
            // Taken before the report is recorded: a request that comes meanwhile is not answered
            // from this probe.
            let ended_at = Instant::now();
            let report = probed.unwrap_or_else(|panic| Report {
                outcome: Err(ProbeError::Call(CallError::of_a_bug(&panic))),
                rpc: None,
                took: Duration::ZERO,
            });
            if let Err(panic) = panics::catch(|| ended(&report)) {
                log::error!(err = panic.to_string(); "Cannot record a probe, this is a bug");
            }
            self.lock().finish(moments, report, ended_at);
            self.changed.notify_all();
        }
    }

    /// Waits until a probe is wanted, and begins it.
    fn next(&self) -> Moments {
        let mut state = self.lock();
        loop {
            if let Some(moments) = state.begin(Instant::now()) {
                return moments;
            }
            // Without a deadline: there is nothing to do until a request comes.
            state = self
                .wanted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn enter(&self, phase: Phase) {
        if self.lock().enter(phase) {
            self.changed.notify_all();
        }
    }
}

fn wait<'a>(
    condition: &Condvar,
    state: MutexGuard<'a, State>,
    at_most: Duration,
) -> MutexGuard<'a, State> {
    condition
        .wait_timeout(state, at_most)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

#[cfg(test)]
mod tests;
