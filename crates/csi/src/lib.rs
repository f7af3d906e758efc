//! The driver's side of every sidecar: where a driver listens, a connection to it, and a gRPC call
//! with a deadline and limits. Each call has a connection of its own.
//!
//! What replaces functions of gRPC's C-core lies in `crates/csi/linked/`, and not in here: the
//! linker takes it from the program itself.

mod address;
mod call;
mod connect;
mod deadline;
mod driver_name;
mod error;
pub mod flags;
pub mod grpc_health;
pub mod identity;
mod messages;
mod read_limit;
mod socket;

pub use address::{CsiAddress, UNIX_PATH_MAX};
pub use call::{Caller, DESCRIPTORS_OF_A_CALL, Limits, log_through_us, timed_out};
pub use connect::{connect, connect_if_there};
pub use deadline::{Deadline, READ_GRACE};
pub use driver_name::DriverName;
pub use error::{CallError, Code, ConnectError, Reason};
pub use messages::without_fields;
