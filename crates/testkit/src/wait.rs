//! How long a test waits, and how it waits for a state that sends no event.

use std::time::{Duration, Instant};

/// How long a test waits for an event that must come, on a busy machine. Only a test
/// that would hang depends on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How much later than its deadline a response may come.
pub const LATENESS: Duration = Duration::from_millis(200);

/// Waits until `holds` returns true, and calls it often. It is for states that send no
/// event.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
