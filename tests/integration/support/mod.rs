//! What the tests of this program share, in addition to `testkit`.

pub mod siege;
pub mod source;
pub mod threads;

use std::sync::LazyLock;

use testkit::Program;

/// The log line of a request that has arrived, at `--v=5`.
pub const RECEIVED: &str = "\"Request received\"";

/// Returns the program under test.
pub fn livenessprobe() -> &'static Program {
    static PROGRAM: LazyLock<Program> =
        LazyLock::new(|| Program::new("livenessprobe", env!("CARGO_BIN_EXE_livenessprobe")));
    &PROGRAM
}
