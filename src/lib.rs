//! A liveness sidecar for Kubernetes CSI drivers: the parts that `main` joins.
//!
//! Data flows one way: flags -> listener -> request -> probe -> outcome ->
//! answer. [`flags`] makes the options, [`socket`] opens the listener,
//! [`admission`] lets a request in, [`server`] gives it a thread, [`probe`] asks
//! the driver, [`health`] turns the outcome into a status and a body.

pub mod address;
pub mod admission;
pub mod clock;
mod descriptors;
pub mod driver;
pub mod driver_name;
pub mod duration;
pub mod environment;
pub mod exit;
pub mod flags;
pub mod grpc_health;
pub mod health;
mod health_file;
pub mod identity;
pub mod install;
pub mod localhost;
pub mod logging;
mod messages;
pub mod metrics;
pub mod monitor;
pub mod once;
pub mod panics;
pub mod poll;
pub mod probe;
pub mod report_log;
pub mod server;
pub mod sidecar;
pub mod signal;
pub mod socket;
pub mod stderr;
pub mod text;
pub mod version;
