//! One liveness probe: connect to the driver and call `Identity/Probe`, both
//! under one deadline, and the sharing of a probe among those who ask at once.
//!
//! Each probe makes a new connection, on purpose: over a kept one a deleted or
//! replaced socket file would stay healthy for ever (upstream's issue 68).

mod call;
mod connect;
mod flight;
mod outcome;
mod window;

pub use call::{Caller, MESSAGE_MAX};
pub use connect::connect;
pub use flight::{Answer, Events, Flights};
pub use outcome::{CallError, Code, ConnectError, Outcome, ProbeError, Readiness, Report};
pub use window::Window;

use std::time::Instant;

use crate::address::CsiAddress;
use crate::identity::{PROBE, ProbeRequest};

/// How far a probe has come; what someone who must answer before it ends can
/// still tell.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Connecting; the last attempt's error, if one was made.
    Connecting(Option<ConnectError>),
    /// Connected, and waiting for the driver's reply.
    Calling,
}

/// Makes one probe. `phase` is told how far it has come.
pub fn probe(
    caller: &Caller,
    address: &CsiAddress,
    window: Window,
    mut phase: impl FnMut(Phase),
) -> Report {
    let started = Instant::now();
    phase(Phase::Connecting(None));
    let connected = connect(address, window.connect_by(), |error| {
        phase(Phase::Connecting(Some(error.clone())));
    });
    let mut rpc = None;
    let outcome = connected.map_err(ProbeError::Connect).and_then(|socket| {
        phase(Phase::Calling);
        let calling = Instant::now();
        let reply = caller.call(&PROBE, &ProbeRequest::new(), socket, address, window);
        rpc = Some(calling.elapsed());
        match reply {
            // Absent means ready: the specification's SHALL. Present but empty
            // is protobuf's way to write false.
            Ok(reply) if reply.ready.as_ref().is_none_or(|ready| ready.value) => {
                Ok(Readiness::Ready)
            }
            Ok(_) => Ok(Readiness::NotReady),
            Err(error) => Err(ProbeError::Call(error)),
        }
    });
    Report {
        outcome,
        rpc,
        took: started.elapsed(),
    }
}
