//! The names of the sidecar's threads that tests look for.

use testkit::{Sidecar, eventually};

/// The event loop of the HTTP front.
pub const EVENT_LOOP: &str = "front";
/// C-core's thread, by which the end of every call comes.
pub const GRPC: &str = "grpc-0";
/// The thread that probes periodically.
pub const PERIODIC: &str = "periodic";
/// The threads that wait for requests, or answer one.
pub const REQUEST: &str = "request";

/// Waits until the event loop runs, and returns the id of its thread. It is the last of the
/// threads that the sidecar starts.
pub fn event_loop(sidecar: &Sidecar) -> i32 {
    eventually("the event loop", || {
        sidecar.threads_named(EVENT_LOOP).len() == 1
    });
    sidecar.threads_named(EVENT_LOOP)[0]
}
