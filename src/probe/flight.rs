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
use std::time::{Duration, Instant, SystemTime};

use super::call::no_answer;
use super::{
    CallError, Caller, Code, ConnectError, Outcome, Phase, ProbeError, Readiness, Report, Window,
    probe,
};
use crate::address::CsiAddress;
use crate::identity::PROBE;
use crate::panics;

/// The watchdog's patience with a call that gRPC does not end, from the moment
/// a waiter found it overdue: ticks of its own, each counted once however long
/// it took. Time on the wall jumps over a SIGSTOP, a frozen cgroup and heavy
/// throttling, and none of these may look like a wedge.
const WEDGED_AFTER_TICKS: u32 = 10;
const TICK: Duration = Duration::from_secs(1);

/// Stack of the threads here. They run gRPC's calls and format text; a page
/// that is never touched costs nothing.
const STACK: usize = 256 * 1024;

/// Who hears of what happens here.
pub struct Events {
    /// A probe has ended. Called before anybody is answered from it.
    pub ended: Box<dyn Fn(&Report) + Send>,
    /// gRPC has not ended a call long after its deadline, and will not. There
    /// is no cure inside the process.
    pub wedged: Box<dyn Fn(&str) + Send>,
}

/// What a request is answered from.
pub struct Answer {
    /// The probe's outcome, or what its waiter knew when the window closed.
    pub outcome: Outcome,
    /// How long that probe took, or has taken so far.
    pub took: Duration,
    /// When a probe last found the driver ready.
    pub last_success: Option<SystemTime>,
}

/// The probes of one driver.
pub struct Flights {
    shared: Arc<Shared>,
}

struct Shared {
    address: CsiAddress,
    state: Mutex<State>,
    /// A flight is wanted: wakes the flights' thread.
    wanted: Condvar,
    /// A flight has changed its phase or ended: wakes those who wait for it.
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
    /// The window that the next flight gets: the longest among those who want it.
    wanted: Option<Window>,
    /// The last flight that ended, and its number.
    last: Option<(u64, Report)>,
    /// The flight that a waiter found overdue.
    overdue: Option<u64>,
    last_success: Option<SystemTime>,
}

struct Flying {
    window: Window,
    phase: Phase,
    since: Instant,
}

impl Flights {
    /// Starts the two threads.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(
        address: CsiAddress,
        caller: Arc<Caller>,
        events: Events,
    ) -> Result<Flights, String> {
        let shared = Arc::new(Shared {
            address,
            state: Mutex::default(),
            wanted: Condvar::new(),
            changed: Condvar::new(),
            overdue: Condvar::new(),
        });
        let Events { ended, wedged } = events;
        spawn("prober", {
            let shared = Arc::clone(&shared);
            move || shared.fly(&caller, &ended)
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
        self.shared.ask(window)
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

impl Shared {
    /// A panic of a thread that held the lock is passed over: every change
    /// under it is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, window: Window) -> Answer {
        let mut state = self.lock();
        // From this number on, flights begin after the request arrived.
        let fresh = state.begun + 1;
        let joined = state.flying.is_some().then_some(state.begun);
        loop {
            if let Some((number, report)) = &state.last {
                let ready = report.outcome == Ok(Readiness::Ready);
                if *number >= fresh || (Some(*number) == joined && ready) {
                    return Answer {
                        outcome: report.outcome.clone(),
                        took: report.took,
                        last_success: state.last_success,
                    };
                }
            }
            if state.flying.is_none() {
                state.wanted = state.wanted.max(Some(window));
                self.wanted.notify_one();
            }
            let until = match &state.flying {
                Some(flying) if flying.is_connecting() => window.wait_for_connect(),
                _ => window.wait_for_call(),
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.give_up(&mut state, window);
            }
            state = wait(&self.changed, state, left);
        }
    }

    /// The window has closed: answers with what is known of the flight so far.
    fn give_up(&self, state: &mut State, window: Window) -> Answer {
        let connect_error = |cause: &str| {
            ProbeError::Connect(ConnectError {
                address: self.address.to_string(),
                cause: cause.to_owned(),
                passing: true,
            })
        };
        let error = match &state.flying {
            Some(flying) => match &flying.phase {
                Phase::Connecting(Some(error)) => ProbeError::Connect(error.clone()),
                Phase::Connecting(None) => connect_error("timed out"),
                Phase::Calling => {
                    if Instant::now() >= flying.window.wait_for_call() {
                        state.overdue = Some(state.begun);
                        self.overdue.notify_one();
                    }
                    ProbeError::Call(no_answer(PROBE.name, &self.address, window))
                }
            },
            None => connect_error("this process got no CPU time to probe in"),
        };
        let since = state.flying.as_ref().map(|flying| flying.since);
        Answer {
            outcome: Err(error),
            took: since.map_or(window.timeout(), |since| since.elapsed()),
            last_success: state.last_success,
        }
    }

    /// The flights' thread: makes each flight that is wanted, for ever.
    fn fly(&self, caller: &Caller, ended: &dyn Fn(&Report)) {
        loop {
            let window = self.take_off();
            let report =
                panics::caught(|| probe(caller, &self.address, window, |phase| self.enter(phase)))
                    .unwrap_or_else(|panic| Report {
                        outcome: Err(ProbeError::Call(CallError::new(
                            Code::INTERNAL,
                            &format!("the probe panicked: {panic}"),
                        ))),
                        rpc: None,
                        took: Duration::ZERO,
                    });
            if let Err(panic) = panics::caught(|| ended(&report)) {
                log::error!(err = panic.as_str(); "Cannot record a probe, this is a bug");
            }
            self.land(report);
        }
    }

    /// Waits until a flight is wanted and begins it.
    fn take_off(&self) -> Window {
        let mut state = self.lock();
        let window = loop {
            match state.wanted.take() {
                Some(window) => break window,
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
        // Those who wait now see a flight that is connecting.
        self.changed.notify_all();
        window
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        if let Some(flying) = &mut state.flying {
            let was_connecting = flying.is_connecting();
            flying.phase = phase;
            if was_connecting != flying.is_connecting() {
                self.changed.notify_all();
            }
        }
    }

    fn land(&self, report: Report) {
        let mut state = self.lock();
        if report.outcome == Ok(Readiness::Ready) {
            state.last_success = Some(SystemTime::now());
        }
        state.flying = None;
        state.last = Some((state.begun, report));
        self.changed.notify_all();
    }

    /// The watchdog's thread: sleeps until a waiter finds a call overdue.
    fn watch(&self, wedged: &dyn Fn(&str)) {
        loop {
            let mut state = self.lock();
            let flight = loop {
                match state.overdue.take() {
                    Some(flight) => break flight,
                    // No deadline: only a waiter can find a call overdue.
                    None => {
                        state = self
                            .overdue
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            if self.outlasts_the_watchdog(flight) {
                wedged(&format!(
                    "gRPC has not ended a call to {} {WEDGED_AFTER_TICKS} s after its deadline",
                    self.address
                ));
            }
        }
    }

    fn outlasts_the_watchdog(&self, flight: u64) -> bool {
        for _ in 0..WEDGED_AFTER_TICKS {
            let tick_ends = Instant::now() + TICK;
            let mut state = self.lock();
            loop {
                if state.begun != flight || state.flying.is_none() {
                    return false;
                }
                let left = tick_ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = wait(&self.changed, state, left);
            }
        }
        true
    }
}

impl Flying {
    fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
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
