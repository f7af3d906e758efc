//! Sharing: those who ask at the same time are answered by one probe, so that
//! no crowd of clients ever becomes a crowd at the driver.
//!
//! The rule that keeps it honest: **the answer to a request comes from a probe
//! that ended after the request arrived.** A success that a joiner waited for
//! is its answer even if that flight began earlier. A failure of a flight that
//! began earlier is not, nor is "not ready": the driver may have recovered in
//! between, so that request shares one fresh flight with what is left of its
//! own window. Each waiter keeps its own window, whatever gRPC does.
//!
//! Flights are made by one thread that lives as long as the process: no probe
//! depends on a thread that could not be started. A second one is the watchdog.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::call::no_answer;
use super::{
    CallError, ConnectError, Outcome, Phase, ProbeError, Readiness, Reason, Report, Window,
};
use crate::address::CsiAddress;
use crate::panics;

/// The watchdog's patience with a call that does not end, from the moment a
/// waiter found it overdue: ticks of its own, each counted once however long it
/// took. Time on the wall jumps over a SIGSTOP, a frozen cgroup and heavy
/// throttling, and none of these may look like a wedge.
///
/// A call is cancelled at its deadline, and ends then or never. Connecting is never counted:
/// connect(2) ends in time, and a lookup of the host's name ends when the resolver gives up,
/// which an administrator may have set to minutes (resolv.conf(5), `timeout` and `attempts`).
/// A new process would look the name up again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The length of a tick.
    pub tick: Duration,
    /// How many of them.
    pub ticks: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            tick: Duration::from_secs(1),
            ticks: 10,
        }
    }
}

/// Stack of the threads here. They run gRPC's calls and format text; a page
/// that is never touched costs nothing.
const STACK: usize = 256 * 1024;

/// Makes one probe within a window, telling how far it has come.
pub type Probe = dyn Fn(Window, &mut dyn FnMut(Phase)) -> Report + Send;

/// Who hears of what happens here.
pub struct Events {
    /// A probe has ended; called before anybody is answered from it, so it must
    /// not block.
    pub ended: Box<dyn Fn(&Report) + Send>,
    /// A probe has not ended long after its deadline, and will not. There is no
    /// cure inside the process.
    pub wedged: Box<dyn Fn(&str) + Send>,
}

/// What a request is answered from.
pub struct Answer {
    /// The probe's outcome, or what its waiter knew when the window closed.
    pub outcome: Outcome,
    /// How long that probe took, or has taken so far.
    pub took: Duration,
    /// When a probe last found the driver ready.
    pub last_success: Option<Instant>,
}

/// How much somebody wants to know who does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Only whether the driver was found ready.
    Ready,
    /// Why there is no connection too, if that is known: the cause is to come
    /// before the deadline.
    Cause,
    /// Whatever there is to tell: the deadline is over.
    Now,
}

/// The probes of one driver.
pub struct Flights {
    shared: Arc<Shared>,
}

/// What somebody waits with.
pub struct Ticket {
    /// Flights from this number on count for it, whatever they come to.
    fresh: u64,
    window: Window,
}

struct Shared {
    address: CsiAddress,
    method: &'static str,
    patience: Patience,
    state: Mutex<State>,
    /// A flight is wanted: wakes the flights' thread.
    wanted: Condvar,
    /// A flight has ended, or has a cause to tell of: wakes those who wait for it.
    changed: Condvar,
    /// A flight is overdue: wakes the watchdog.
    overdue: Condvar,
}

#[derive(Default)]
struct State {
    /// How many flights have begun; the number of the one in the air.
    begun: u64,
    /// The flight in the air.
    flying: Option<Flying>,
    /// The window that the next flight gets: the longest among those who may
    /// need it, joiners of the one in the air included.
    wanted: Option<Window>,
    /// The last flight that ended.
    last: Option<Landed>,
    /// The last flight that found the driver ready: when it ended, and how long
    /// it took. An answer for all who came before that, whatever has ended since.
    last_ready: Option<(Instant, Duration)>,
    /// The flight that a waiter found overdue.
    overdue: Option<u64>,
}

struct Flying {
    window: Window,
    phase: Phase,
    since: Instant,
}

struct Landed {
    number: u64,
    ended_at: Instant,
    window: Window,
    report: Report,
}

impl Flights {
    /// Starts the two threads. `method` is what the driver is asked, for words.
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
    ) -> Result<Flights, String> {
        let shared = Arc::new(Shared {
            address,
            method,
            patience,
            state: Mutex::default(),
            wanted: Condvar::new(),
            changed: Condvar::new(),
            overdue: Condvar::new(),
        });
        let Events { ended, wedged } = events;
        spawn("prober", {
            let shared = Arc::clone(&shared);
            move || shared.fly(&probe, &ended)
        })?;
        spawn("watchdog", {
            let shared = Arc::clone(&shared);
            move || shared.watch(&wedged)
        })?;
        Ok(Flights { shared })
    }

    /// Asks for the driver's health; answers when a probe that counts for this
    /// request has ended, or else when the window closes.
    #[must_use]
    pub fn ask(&self, window: Window) -> Answer {
        self.wait(&self.board(window))
    }

    /// Has a probe made that counts for this request; [`Flights::wait`] waits for it.
    #[must_use]
    pub fn board(&self, window: Window) -> Ticket {
        self.shared.board(window)
    }

    /// Waits as [`Flights::ask`] does.
    #[must_use]
    pub fn wait(&self, ticket: &Ticket) -> Answer {
        self.shared.wait(ticket)
    }

    /// What the last probe came to, if it ended within this time and says something
    /// of the driver.
    #[must_use]
    pub fn latest(&self, within: Duration) -> Option<Answer> {
        let state = self.shared.lock();
        let landed = state.last.as_ref()?;
        (landed.ended_at.elapsed() <= within && landed.is_telling()).then(|| Answer {
            outcome: landed.report.outcome.clone(),
            took: landed.report.took,
            last_success: state.last_success(),
        })
    }

    /// What there is to tell without waiting: that the driver was found ready
    /// after the request arrived, or else as `urgency` says.
    #[must_use]
    pub fn so_far(&self, window: Window, urgency: Urgency) -> Option<Answer> {
        let mut state = self.shared.lock();
        let is_told = match urgency {
            Urgency::Ready => false,
            Urgency::Cause => state.known_cause().is_some(),
            Urgency::Now => true,
        };
        let ready = state.ready_answer(window);
        ready.or_else(|| is_told.then(|| self.shared.give_up(&mut state, window)))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start the thread {name:?}: {error}"))
}

/// Whoever wakes so much later than it wanted was stopped or starved, and so was the
/// prober: what it has found is on its way.
const OVERSLEPT: Duration = Duration::from_millis(10);
/// And is waited for this long.
const LAST_CHANCE: Duration = Duration::from_millis(50);

impl Shared {
    /// A panic of a thread that held the lock is passed over: every change
    /// under it is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self, window: Window) -> Ticket {
        let mut state = self.lock();
        // Told at once, so that a flight which begins the moment another one
        // fails has room for everybody who waits.
        state.wanted = state.wanted.max(Some(window));
        // From this number on, flights begin after the request was made.
        let fresh = state.begun + 1;
        let is_idle = state.flying.is_none();
        // First, or whoever is woken waits for it.
        drop(state);
        if is_idle {
            self.wanted.notify_one();
        }
        Ticket { fresh, window }
    }

    fn wait(&self, &Ticket { fresh, window }: &Ticket) -> Answer {
        let mut state = self.lock();
        let mut last_chance = None;
        loop {
            if let Some(answer) = state.answer_for(fresh, window) {
                return answer;
            }
            if state.flying.is_none() {
                state.wanted = state.wanted.max(Some(window));
                self.wanted.notify_one();
            }
            // A cause that is known is told before the deadline.
            let until = if state.known_cause().is_some() {
                window.wait_for_connect()
            } else {
                window.wait_for_call()
            };
            let until = last_chance.unwrap_or(until);
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                state = wait(&self.changed, state, left);
            } else if last_chance.is_none() && now > until + OVERSLEPT {
                last_chance = Some(now + LAST_CHANCE);
            } else {
                return self.give_up(&mut state, window);
            }
        }
    }

    /// The window has closed: answers with what is known of the flight so far.
    fn give_up(&self, state: &mut State, window: Window) -> Answer {
        if state.flying.as_ref().is_some_and(Flying::is_overdue) {
            state.overdue = Some(state.begun);
            self.overdue.notify_one();
        }
        let since = state.flying.as_ref().map(|flying| flying.since);
        Answer {
            outcome: Err(self.error_so_far(state, window)),
            took: since.map_or(window.timeout(), |since| since.elapsed()),
            last_success: state.last_success(),
        }
    }

    /// What there is to tell of a probe that has not ended.
    fn error_so_far(&self, state: &State, window: Window) -> ProbeError {
        if let Some(error) = state.known_cause() {
            return ProbeError::Connect(error.clone());
        }
        let last = state.last.as_ref().map(|landed| &landed.report.outcome);
        match (&state.flying, last) {
            (Some(flying), _) if !flying.is_connecting() => {
                ProbeError::Call(no_answer(self.method, &self.address, window))
            }
            // This flight has nothing to tell yet, or there was too little time
            // for one: the failure before it is the best explanation there is.
            (_, Some(Err(error))) => error.clone(),
            _ => ProbeError::Connect(ConnectError {
                address: self.address.to_string(),
                cause: "timed out".to_owned(),
                reason: Reason::TimedOut,
                passing: true,
            }),
        }
    }

    /// The flights' thread: makes each flight that is wanted, for ever.
    fn fly(&self, probe: &Probe, ended: &dyn Fn(&Report)) {
        loop {
            let window = self.take_off();
            let probed = panics::caught(|| probe(window, &mut |phase| self.enter(phase)));
            // Now, and not when it has been recorded: who comes between the two
            // is not answered from it.
            let ended_at = Instant::now();
            let report = probed.unwrap_or_else(|panic| Report {
                outcome: Err(ProbeError::Call(CallError::of_a_bug(&panic))),
                rpc: None,
                took: Duration::ZERO,
            });
            if let Err(panic) = panics::caught(|| ended(&report)) {
                log::error!(err = panic.to_string(); "Cannot record a probe, this is a bug");
            }
            self.land(window, report, ended_at);
        }
    }

    /// Waits until a flight is wanted and begins it.
    fn take_off(&self) -> Window {
        let mut state = self.lock();
        let window = loop {
            match state.wanted.take() {
                Some(window) if window.answer_by() > Instant::now() => break window,
                // Whoever wanted it has given up.
                Some(_) => {}
                // No deadline: without a request there is nothing to do.
                None => {
                    state = self
                        .wanted
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        state.begun += 1;
        state.flying = Some(Flying {
            window,
            phase: Phase::Connecting(None),
            since: Instant::now(),
        });
        window
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        let was_known = state.known_cause().is_some();
        if let Some(flying) = &mut state.flying {
            flying.phase = phase;
        }
        // Those who wait then do so for a shorter time; of the rest they need not know.
        let is_news = !was_known && state.known_cause().is_some();
        drop(state);
        if is_news {
            self.changed.notify_all();
        }
    }

    fn land(&self, window: Window, report: Report, ended_at: Instant) {
        let mut state = self.lock();
        let number = state.begun;
        if report.outcome == Ok(Readiness::Ready) {
            state.last_ready = Some((ended_at, report.took));
            // It is the answer of all who wait, but of who came after its end.
            state.wanted = state.wanted.filter(|window| window.arrived() > ended_at);
        }
        state.flying = None;
        state.last = Some(Landed {
            number,
            ended_at,
            window,
            report,
        });
        drop(state);
        self.changed.notify_all();
    }

    /// The watchdog's thread: sleeps until a waiter finds a flight overdue.
    fn watch(&self, wedged: &dyn Fn(&str)) {
        loop {
            let mut state = self.lock();
            let flight = loop {
                match state.overdue.take() {
                    Some(flight) => break flight,
                    // No deadline: only a waiter can find a flight overdue.
                    None => {
                        state = self
                            .overdue
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            if let Some(reason) = self.outlasts_the_watchdog(flight) {
                wedged(&reason);
            }
        }
    }

    /// Watches a flight to its end, or to that of the watchdog's patience.
    fn outlasts_the_watchdog(&self, flight: u64) -> Option<String> {
        let mut ticks = 0;
        loop {
            let tick_ends = Instant::now() + self.patience.tick;
            let mut state = self.lock();
            let connecting = loop {
                let flying = match &state.flying {
                    Some(flying) if state.begun == flight => flying,
                    _ => return None,
                };
                let left = tick_ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break flying.is_connecting();
                }
                state = wait(&self.changed, state, left);
            };
            drop(state);
            if connecting {
                continue;
            }
            ticks += 1;
            if ticks >= self.patience.ticks {
                return Some(format!(
                    "a gRPC call to {} has not ended {ticks} s after its deadline, and never will",
                    self.address
                ));
            }
        }
    }
}

impl State {
    fn last_success(&self) -> Option<Instant> {
        self.last_ready.map(|(ended, _)| ended)
    }

    /// Why there is no connection yet, if an attempt has failed.
    fn known_cause(&self) -> Option<&ConnectError> {
        match &self.flying.as_ref()?.phase {
            Phase::Connecting(cause) => cause.as_ref(),
            Phase::Calling => None,
        }
    }

    /// The answer to a request for which flights from `fresh` on begin late
    /// enough.
    fn answer_for(&self, fresh: u64, window: Window) -> Option<Answer> {
        self.ready_answer(window).or_else(|| {
            // A failure counts only if this request's own time was used up.
            let landed = self.last.as_ref()?;
            (landed.number >= fresh && landed.window >= window).then(|| Answer {
                outcome: landed.report.outcome.clone(),
                took: landed.report.took,
                last_success: self.last_success(),
            })
        })
    }

    /// The answer if the driver was found ready after the request arrived.
    fn ready_answer(&self, window: Window) -> Option<Answer> {
        let (ended, took) = self.last_ready?;
        (ended >= window.arrived()).then_some(Answer {
            outcome: Ok(Readiness::Ready),
            took,
            last_success: self.last_success(),
        })
    }
}

impl Landed {
    /// Whether it says anything of the driver: not if this process was stopped until
    /// its time was over.
    fn is_telling(&self) -> bool {
        self.report.outcome.is_ok() || !self.window.is_long_over(self.ended_at)
    }
}

impl Flying {
    fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }

    fn is_overdue(&self) -> bool {
        let due = if self.is_connecting() {
            self.window.wait_for_connect()
        } else {
            self.window.wait_for_call()
        };
        Instant::now() >= due
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
