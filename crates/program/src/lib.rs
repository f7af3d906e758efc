//! What every sidecar of this workspace is, whatever it does: its name and version, logs, exit
//! codes, signals, panics, durations and clocks. Nothing in here knows CSI, HTTP or Kubernetes'
//! API.

pub mod descriptors;
pub mod duration;
pub mod environment;
pub mod escape;
pub mod exit;
pub mod flags;
pub mod host_port;
mod identity;
mod log_queue;
pub mod log_throttle;
pub mod logging;
pub mod lookup;
pub mod panics;
pub mod poll;
pub mod signal;
pub mod socket_option;
pub mod utc;

pub use identity::Program;
