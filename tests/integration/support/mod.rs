//! What the tests of this program share, in addition to `testkit`.

pub mod siege;
pub mod source;
pub mod threads;

use std::sync::LazyLock;
use std::time::Duration;

use testkit::{LATENESS, Program, Response};

/// The log line of a request that has arrived, at `--v=5`.
pub const RECEIVED: &str = "\"Request received\"";

/// Returns the program under test.
pub fn livenessprobe() -> &'static Program {
    static PROGRAM: LazyLock<Program> =
        LazyLock::new(|| Program::new("livenessprobe", env!("CARGO_BIN_EXE_livenessprobe")));
    &PROGRAM
}

/// Checks that a response reports that the driver did not reply by the deadline, and that it
/// came in time.
pub fn assert_deadline_exceeded(response: &Response, timeout: Duration) {
    assert_eq!(response.status, 500, "{response:?}");
    let begin = "rpc error: code = DeadlineExceeded desc = ";
    assert!(response.body.starts_with(begin), "{response:?}");
    let took = response.took;
    assert!(took >= timeout && took < timeout + LATENESS, "{response:?}");
}
