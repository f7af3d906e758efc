//! `--once`: a single probe, which prints one line and gives an exit code, for `livenessProbe.exec`
//! and for people.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use csi::Caller;
use program::escape;
use program::exit::Exit;
use program::logging::VERBOSITY_MAX;

use crate::flags::Options;
use crate::moments::Moments;
use crate::outcome::{self, Outcome, ProbeError, Readiness};
use crate::probe::{self, Phase};
use crate::shared_probe::{Events, Patience, SharedProbe};

/// There was no connection to the driver.
pub const NO_CONNECTION: Exit = Exit::of_program(3);
/// The call failed or timed out.
pub const CALL_FAILED: Exit = Exit::of_program(4);
/// The driver answered, and is not ready.
pub const NOT_READY: Exit = Exit::of_program(5);

/// Makes the probe, prints `ok` or the reason, and gives the exit code.
#[must_use]
pub fn run(options: &Options) -> Exit {
    csi::redirect_c_core_log(options.verbosity == VERBOSITY_MAX);
    let (exit, line) = match ask(options) {
        Ok(outcome) => (exit_of(&outcome), outcome::describe(&outcome)),
        Err(reason) => (Exit::CANNOT_RUN, reason),
    };
    // If stdout is closed, the exit code is enough.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{}", escape::one_line(&line));
    let _ = stdout.flush();
    exit
}

fn ask(options: &Options) -> Result<Outcome, String> {
    let moments = Moments::new(Instant::now(), options.probe_timeout);
    let caller = Arc::new(Caller::new()?);
    let (address, method) = (options.csi_address.clone(), options.method.clone());
    let probe = move |moments, phase: &mut dyn FnMut(Phase)| {
        probe::probe(&caller, &method, &address, moments, phase)
    };
    let events = Events {
        ended: Box::new(|_| {}),
        // The process ends when the request gives up.
        stuck: Box::new(|_| {}),
    };
    // Through a shared probe, whose request gives up at its deadline: a lookup or a call that never
    // ends would outlast it.
    let shared = SharedProbe::start(
        options.csi_address.clone(),
        options.method.path(),
        Box::new(probe),
        events,
        Patience::default(),
    )?;
    Ok(shared.ask(moments).outcome)
}

fn exit_of(outcome: &Outcome) -> Exit {
    match outcome {
        Ok(Readiness::Ready) => Exit::CLEAN,
        Ok(Readiness::NotReady | Readiness::NotServing(_)) => NOT_READY,
        Err(ProbeError::Connect(_)) => NO_CONNECTION,
        Err(ProbeError::Call(_)) => CALL_FAILED,
    }
}
