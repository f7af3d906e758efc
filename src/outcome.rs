//! What a probe can end in.

use std::fmt;
use std::time::Duration;

use csi::{CallError, Code, ConnectError};

/// The result of one probe.
pub type Outcome = Result<Readiness, ProbeError>;

/// An outcome as a sentence: "ok", or the reason.
#[must_use]
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Ok(readiness) => readiness.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What a driver says of itself in its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// `ready` is true or absent.
    Ready,
    /// `ready` is false: initialising, "otherwise perfectly healthy" (CSI).
    NotReady,
    /// gRPC's health service replies with this status, which is not SERVING.
    NotServing(i32),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // https://github.com/grpc/grpc/blob/master/doc/health-checking.md
        match self {
            Readiness::Ready => f.write_str("ok"),
            Readiness::NotReady => f.write_str("driver responded but is not ready"),
            Readiness::NotServing(0) => f.write_str("driver responded but its health is UNKNOWN"),
            Readiness::NotServing(2) => {
                f.write_str("driver responded but its health is NOT_SERVING")
            }
            Readiness::NotServing(3) => {
                f.write_str("driver responded but its health is SERVICE_UNKNOWN")
            }
            Readiness::NotServing(number) => {
                write!(f, "driver responded but its health is {number}")
            }
        }
    }
}

/// Why a probe failed. Displayed, it names the address and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// There was no connection to the driver.
    Connect(ConnectError),
    /// The call over the connection failed.
    Call(CallError),
}

impl ProbeError {
    /// The phase in which it failed, for logs.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self {
            ProbeError::Connect(_) => "connect",
            ProbeError::Call(_) => "call",
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Connect(error) => error.fmt(f),
            ProbeError::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProbeError {}

/// One probe that has ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its outcome.
    pub outcome: Outcome,
    /// The code and duration of the call, if one was made.
    pub rpc: Option<(Code, Duration)>,
    /// How long connect and call took together.
    pub took: Duration,
}
