//! The parts that every sidecar of this workspace shares: its name and version, flags, logs, exit
//! codes, signals, panics, durations and clocks. No code in this crate knows CSI, HTTP or the API
//! of Kubernetes, but for two filters on the log lines of grpcio and tiny_http (`logging`).

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
pub mod start;
pub mod threads;
pub mod utc;

pub use identity::Program;
