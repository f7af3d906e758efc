//! csi-livenessprobe: a liveness sidecar for Kubernetes CSI drivers.
//!
//! Data flows one way: [`flags`] makes the options, the crate `front` takes a request in and asks
//! the site what it means ([`routes`]), a [`probe`] that all requests share
//! ([`shared_probe`]) calls the driver through the crate `csi`, and [`verdict`] turns its
//! [`outcome`] into a status and a body.

pub mod driver;
pub mod driver_name;
pub mod flags;
mod health_file;
pub mod install;
pub mod method;
pub mod metrics;
pub mod moments;
pub mod once;
pub mod outcome;
pub mod periodic;
pub mod probe;
pub mod routes;
pub mod run;
pub mod shared_probe;
pub mod sidecar;
mod site;
pub mod verdict;

use program::Program;

/// This program.
pub static PROGRAM: Program = Program {
    name: "livenessprobe",
    package: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("REVISION"),
};
