//! The chaos suite: things that happen to a machine or a process while the driver is
//! healthy. The first probe afterwards says 200, and the process is still the same.
//! `make chaos` runs it.

mod frozen;
mod full_disk;
mod starved;
mod stderr;
mod uptime;
mod wall_clock;

use std::time::Duration;

use testkit::Sidecar;

/// Checks that the sidecar runs and answers 200 at once.
fn is_unharmed(sidecar: &mut Sidecar, what: &str) {
    let took = is_healthy(sidecar, what);
    assert!(took < Duration::from_secs(1), "{what}: {took:?}");
}

/// Checks that the sidecar runs and answers 200, and returns how long that took.
fn is_healthy(sidecar: &mut Sidecar, what: &str) -> Duration {
    let response = sidecar.healthz();
    assert_eq!(response.both(), (200, "ok"), "{what}: {response:?}");
    is_still_running(sidecar, what);
    response.took
}

/// Checks that the sidecar runs. The watchdog and all else that ends the process say
/// "Exiting" first.
fn is_still_running(sidecar: &mut Sidecar, what: &str) {
    let log = sidecar.log();
    assert!(sidecar.process.is_running(), "{what}: {log}");
    assert!(!log.contains("Exiting"), "{what}: {log}");
}
