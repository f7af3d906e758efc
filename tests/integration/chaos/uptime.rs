//! A monotonic clock with an unusual value.

use std::fs;

use testkit::machine::in_namespaces;
use testkit::{Dir, Driver, Sidecar};

use super::is_unharmed;
use super::wall_clock::{YEAR, says_a_sane_time};
use crate::support::livenessprobe;

/// A machine that has just started, and one that has run for ten years.
#[test]
fn a_machine_may_have_run_for_any_time() {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: i64 = uptime.split('.').next().unwrap().parse().unwrap();
    for offset in [1 - uptime, 10 * YEAR] {
        let options = [
            &format!("--monotonic={offset}"),
            &format!("--boottime={offset}"),
            "--time",
            "--fork",
            "--kill-child",
        ];
        let Some(mut command) = in_namespaces(&options) else {
            return;
        };
        let dir = Dir::new();
        let mut driver = Driver::start(&dir.socket(), &[]);
        command.arg(livenessprobe().binary()).args([
            &format!("--csi-address={}", dir.socket()),
            "--http-endpoint=127.0.0.1:0",
            "--probe-timeout=500ms",
        ]);
        let mut sidecar = Sidecar::run(&mut command);
        let what = format!("{offset} s off");
        is_unharmed(&mut sidecar, &what);
        says_a_sane_time(&sidecar, 0);
        driver.process.kill();
        assert_eq!(sidecar.healthz().status, 500);
        let _driver = Driver::start(&dir.socket(), &[]);
        is_unharmed(&mut sidecar, &what);
    }
}
