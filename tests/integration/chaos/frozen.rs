//! A sidecar that is stopped by SIGSTOP, as a frozen cgroup, a paused machine or a debugger
//! stops it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Dir, Driver, Sidecar, eventually};

use super::{is_still_running, is_unharmed};
use crate::support::livenessprobe;

/// A short deadline, so that a sidecar is frozen for much longer.
const SHORT: &str = "--probe-timeout=2s";

/// Longer than a probe's deadline and the ten seconds of the watchdog together.
pub const FROZEN: Duration = Duration::from_secs(13);

fn freeze(sidecar: &Sidecar, meanwhile: impl FnOnce()) {
    freeze_for(FROZEN, sidecar, meanwhile);
}

fn freeze_for(time: Duration, sidecar: &Sidecar, meanwhile: impl FnOnce()) {
    let until = Instant::now() + time;
    sidecar.process.freeze();
    meanwhile();
    thread::sleep(until.saturating_duration_since(Instant::now()));
    sidecar.process.thaw();
}

fn frozen_when_idle() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    assert_eq!(sidecar.healthz().status, 200);
    freeze(&sidecar, || {});
    is_unharmed(&mut sidecar, "idle");
}

fn requests_arrive_while_frozen() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    assert_eq!(sidecar.healthz().status, 200);
    let mut clients = Vec::new();
    freeze(&sidecar, || {
        // The kernel accepts their connections, and their deadline counts from the moment
        // when the sidecar reads them.
        clients.extend((0..3).map(|_| sidecar.spawn_get("/healthz")));
    });
    for client in clients {
        let response = client.join().unwrap();
        assert_eq!(response.both(), (200, "ok"), "sent meanwhile");
    }
    is_unharmed(&mut sidecar, "requests meanwhile");
}

fn frozen_in_mid_probe() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    let client = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    freeze(&sidecar, || {});
    is_unharmed(&mut sidecar, "in mid-probe");
    let response = client.join().unwrap();
    // The driver had answered by the deadline.
    assert_eq!(response.both(), (200, "ok"));
}

fn frozen_at_a_driver_that_hangs() {
    let dir = Dir::new();
    let mut hanging = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    let client = sidecar.spawn_get("/healthz");
    hanging.process.out.wait_for(0, "probe begin");
    let mut healthy = None;
    freeze(&sidecar, || {
        // The sockets of the driver that hangs stay open, so only a deadline ends the call.
        fs::remove_file(dir.socket()).unwrap();
        healthy = Some(Driver::start(&dir.socket(), &[]));
    });
    is_unharmed(&mut sidecar, "at a driver that hangs");
    assert_eq!(client.join().unwrap().status, 500);
    hanging.process.kill();
}

/// A single failure would end the process.
fn frozen_in_mid_round() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let file = dir.path().join("healthy");
    let health_file = format!("--health-file={}", file.display());
    let flags = [SHORT, "--interval=1s", "--retries=1", &health_file];
    let mut sidecar = livenessprobe().start(&dir.socket(), &flags);
    eventually("a health file", || file.exists());
    let begun = driver.process.out.count("probe begin");
    driver.process.out.wait_for_count("probe begin", begun + 1);
    let rounds_before = begun + 1;
    freeze(&sidecar, || {});
    let thawed = Instant::now();
    is_unharmed(&mut sidecar, "in mid-round");
    assert!(file.exists());
    // Missed rounds are not made up: there is one probe for the request, and then one a
    // second.
    let out = &driver.process.out;
    out.wait_for_count("probe end", rounds_before + 3);
    let (rounds, took) = (out.count("probe begin") - rounds_before, thawed.elapsed());
    let most = 3 + usize::try_from(took.as_secs()).unwrap();
    assert!(rounds <= most, "{rounds} rounds in {took:?}");
    is_still_running(&mut sidecar, "in mid-round");
}

/// The outcome of a round would be served for an hour.
fn frozen_in_the_round_of_an_hour() {
    frozen_in_a_round_for(FROZEN);
}

/// The driver replies before the deadline, but the sidecar cannot read that in time.
fn frozen_until_just_after_the_deadline() {
    for milliseconds in [2_010, 2_060, 2_110, 2_300, 2_900] {
        frozen_in_a_round_for(Duration::from_millis(milliseconds));
    }
}

fn frozen_in_a_round_for(time: Duration) {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let flags = [SHORT, "--interval=1h", "--retries=1", "--v=5"];
    let mut sidecar = livenessprobe().start(&dir.socket(), &flags);
    driver.process.out.wait_for(0, "probe begin");
    freeze_for(time, &sidecar, || {});
    sidecar.process.err.wait_for(0, "\"Probe ended\"");
    for _ in 0..3 {
        is_unharmed(
            &mut sidecar,
            &format!("in the round of an hour, for {time:?}"),
        );
    }
}

#[test]
fn a_frozen_sidecar_answers_at_once_when_thawed() {
    thread::scope(|scope| {
        for scenario in [
            frozen_when_idle,
            requests_arrive_while_frozen,
            frozen_in_mid_probe,
            frozen_at_a_driver_that_hangs,
            frozen_in_mid_round,
            frozen_in_the_round_of_an_hour,
            frozen_until_just_after_the_deadline,
        ] {
            scope.spawn(scenario);
        }
    });
}
