//! The parts that the integration tests of every program here are made of: programs
//! and drivers as processes, a fake driver that misbehaves in HTTP/2, well-behaved
//! clients, and crowds of hostile ones.
//!
//! Only tests depend on this crate. A function of it that cannot do its work panics and
//! says why, which fails the test that called it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]
#![allow(
    clippy::must_use_candidate,
    clippy::new_without_default,
    reason = "an API for tests alone"
)]

pub mod cgroup;
pub mod dir;
pub mod driver;
pub mod faulty_driver;
pub mod flood;
pub mod h2;
pub mod http;
pub mod lines;
pub mod machine;
pub mod misconduct;
pub mod podman;
pub mod process;
pub mod program;
pub mod seccomp;
pub mod sidecar;
pub mod siege;
pub mod sys;
pub mod wait;

pub use dir::Dir;
pub use driver::Driver;
pub use http::Response;
pub use process::Process;
pub use program::Program;
pub use sidecar::Sidecar;
pub use wait::{LATENESS, PATIENCE, eventually};
