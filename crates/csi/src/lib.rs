//! The driver's side of every sidecar: a driver's address, a connection to it, and a gRPC call with
//! a deadline and limits. Each call has a connection of its own.
//!
//! The replacements for functions of gRPC's C-core are in `crates/csi/linked/` and not in this
//! library: docs/c-core.md has the reason.

mod address;
mod call;
mod code;
mod connect;
mod deadline;
mod error;
pub mod flags;
pub mod grpc_health;
pub mod identity;
mod messages;
mod read_limit;
mod socket;

pub use address::{CsiAddress, UNIX_PATH_MAX};
pub use call::{CallLimits, Caller, DESCRIPTORS_OF_A_CALL, redirect_c_core_log, timed_out};
pub use code::Code;
pub use connect::{connect, connect_if_there};
pub use deadline::{Deadline, READ_GRACE};
pub use error::{CallError, ConnectError, Reason};
pub use messages::without_fields;
