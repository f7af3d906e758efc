//! The bounds of this program during a siege.

use std::time::Duration;

use testkit::Sidecar;
pub use testkit::siege::*;

/// Resident memory during a siege, in KiB.
pub const MEMORY: u64 = 8 * 1024;
/// Threads during a siege.
pub const THREADS: u64 = 32;

/// Lays siege to a sidecar, as `testkit::siege` does, within these bounds.
pub fn lay(sidecar: &Sidecar, within: Duration, attack: impl FnOnce()) {
    let bounds = Bounds {
        memory: MEMORY,
        threads: THREADS,
    };
    testkit::siege::lay(sidecar, bounds, within, attack);
}
