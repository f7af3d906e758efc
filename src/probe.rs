//! One liveness probe: connect to the driver and call a method, most often `Identity/Probe`, both
//! under one deadline.
//!
//! Each probe makes a new connection, on purpose: over a kept one, a driver whose socket file was
//! deleted or replaced would stay healthy (upstream's issue 68).

use std::time::Instant;

use csi::{Caller, Code, ConnectError, CsiAddress, connect};

use crate::method::Method;
use crate::moments::Moments;
use crate::outcome::{ProbeError, Report};

/// How far a probe has come, which a request that gives up before its end can report.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Connecting; the last attempt's error, if one was made.
    Connecting(Option<ConnectError>),
    /// Connected, and waiting for the driver's reply.
    Calling,
}

/// Makes one probe. `phase` is called with each phase, from the first attempt to connect that
/// failed.
pub fn probe(
    caller: &Caller,
    method: &Method,
    address: &CsiAddress,
    moments: Moments,
    phase: &mut dyn FnMut(Phase),
) -> Report {
    let started = Instant::now();
    let connected = connect(address, moments.connect_by(), |error| {
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
    let answer = method.call(caller, socket, address, moments.deadline());
    let code = answer
        .as_ref()
        .map_or_else(|error| error.code, |_| Code::OK);
    Report {
        outcome: answer.map_err(ProbeError::Call),
        rpc: Some((code, calling.elapsed())),
        took: started.elapsed(),
    }
}
