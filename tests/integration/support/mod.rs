//! What the tests of this program share, on top of `testkit`.

pub mod siege;

use std::sync::LazyLock;

use testkit::{Program, Sidecar, eventually};

/// Returns the program under test.
pub fn livenessprobe() -> &'static Program {
    static PROGRAM: LazyLock<Program> =
        LazyLock::new(|| Program::new("livenessprobe", env!("CARGO_BIN_EXE_livenessprobe")));
    &PROGRAM
}

/// How many threads wait for requests when there are none yet.
pub fn requests_at_rest(sidecar: &Sidecar) -> usize {
    // It is opened when all of them are there.
    eventually("a door", || sidecar.threads_named("door").len() == 1);
    sidecar.threads_named("request").len()
}
