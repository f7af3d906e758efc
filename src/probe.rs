//! One liveness probe: connect to the driver and call a method, most often `Identity/Probe`, both
//! under one deadline, and the sharing of a probe among those who ask at once.
//!
//! Each probe makes a new connection, on purpose: over a kept one a deleted or
//! replaced socket file would stay healthy for ever (upstream's issue 68).

mod call;
mod connect;
mod flight;
mod method;
mod outcome;
mod ration;
mod window;

pub use call::{Caller, log_through_us};
pub use connect::{connect, connect_if_there};
pub use flight::{Answer, Events, Flights, Patience, Probe, Ticket, Urgency};
pub use method::{HEALTH_CHECK_PATH, Method};
pub use outcome::{
    CallError, Code, ConnectError, Outcome, ProbeError, Readiness, Reason, Report, words,
};
pub use window::Window;

use std::time::Instant;

use crate::address::CsiAddress;

/// How far a probe has come; what someone who must answer before it ends can
/// still tell.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Connecting; the last attempt's error, if one was made.
    Connecting(Option<ConnectError>),
    /// Connected, and waiting for the driver's reply.
    Calling,
}

/// Makes one probe. `phase` is told how far it has come, from the first attempt
/// to connect that failed.
pub fn probe(
    caller: &Caller,
    method: &Method,
    address: &CsiAddress,
    window: Window,
    phase: &mut dyn FnMut(Phase),
) -> Report {
    let started = Instant::now();
    let connected = connect(address, window.connect_by(), |error| {
        phase(Phase::Connecting(Some(error.clone())));
    });
    let socket = match connected {
        Ok(socket) => socket,
        Err(error) => {
            return Report {
                outcome: Err(ProbeError::Connect(error)),
                rpc: None,
                took: started.elapsed(),
            };
        }
    };
    phase(Phase::Calling);
    let calling = Instant::now();
    let answer = method.ask(caller, socket, address, window);
    let code = answer
        .as_ref()
        .map_or_else(|error| error.code, |_| Code::OK);
    Report {
        outcome: answer.map_err(ProbeError::Call),
        rpc: Some((code, calling.elapsed())),
        took: started.elapsed(),
    }
}
