//! A single probe, for `livenessProbe.exec` and for people: one line and an exit
//! code.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use crate::exit::Exit;
use crate::flags::Options;
use crate::logging::VERBOSITY_MAX;
use crate::probe::{
    self, Caller, Events, Flights, Outcome, Patience, Phase, ProbeError, Readiness, Window,
};
use crate::text;

/// Makes the probe, prints `ok` or the reason, and says what to exit with.
#[must_use]
pub fn run(options: &Options) -> Exit {
    probe::log_through_us(options.verbosity == VERBOSITY_MAX);
    let (exit, line) = match ask(options) {
        Ok(outcome) => (exit_of(&outcome), probe::words(&outcome)),
        Err(reason) => (Exit::CannotRun, reason),
    };
    // Whoever has closed stdout goes by the code.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{}", text::one_line(&line));
    let _ = stdout.flush();
    exit
}

fn ask(options: &Options) -> Result<Outcome, String> {
    let window = Window::new(Instant::now(), options.probe_timeout);
    let caller = Arc::new(Caller::new()?);
    let (address, method) = (options.csi_address.clone(), options.method.clone());
    let probe = move |window, phase: &mut dyn FnMut(Phase)| {
        probe::probe(&caller, &method, &address, window, phase)
    };
    let events = Events {
        ended: Box::new(|_| {}),
        // Nobody waits for it.
        wedged: Box::new(|_| {}),
    };
    // Not the probe itself: a lookup or a wedged gRPC may outlast its deadline.
    let flights = Flights::start(
        options.csi_address.clone(),
        options.method.path(),
        Box::new(probe),
        events,
        Patience::default(),
    )?;
    Ok(flights.ask(window).outcome)
}

fn exit_of(outcome: &Outcome) -> Exit {
    match outcome {
        Ok(Readiness::Ready) => Exit::Clean,
        Ok(Readiness::NotReady | Readiness::NotServing(_)) => Exit::NotReady,
        Err(ProbeError::Connect(_)) => Exit::NoConnection,
        Err(ProbeError::Call(_)) => Exit::CallFailed,
    }
}
