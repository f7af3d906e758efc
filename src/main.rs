//! livenessprobe: answers kubelet's GET /healthz by a CSI driver's Probe.

// In the program and not in a library, for the linker: see docs/c-core.md.
#[path = "../crates/csi/linked/mod.rs"]
mod linked;
#[path = "../crates/program/linked/streams.rs"]
mod streams;

use csi_livenessprobe::{PROGRAM, flags, run};

#[allow(unsafe_code, reason = "see SAFETY")]
fn main() {
    let own: Vec<&str> = flags::variables().collect();
    // SAFETY: this is the first thread, and it has started no other one.
    unsafe { program::start::run(&PROGRAM, &own, run::run) }
}
