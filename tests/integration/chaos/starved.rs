//! A container with little processor time or memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::cgroup::{Cgroup, Limit};
use testkit::{Dir, Driver, Sidecar, eventually};

use super::frozen::FROZEN;
use super::{is_healthy, is_still_running, is_unharmed};
use crate::support::livenessprobe;
use crate::support::siege::{crowd, hold};

/// Sends requests from a crowd of clients without a pause, and checks the status of each
/// response.
fn get_by_a_crowd(sidecar: &Sidecar, time: Duration, is_expected: impl Fn(u16) -> bool + Sync) {
    const CROWD: usize = 40;
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                while Instant::now() < until {
                    let response = sidecar.healthz();
                    assert!(is_expected(response.status), "{response:?}");
                }
            });
        }
    });
}

/// Five milliseconds of each hundred.
const A_TWENTIETH: Limit = Limit::Processor(5_000);

fn start_in(group: &Cgroup, binary: &Path, dir: &Dir, flags: &[&str]) -> Sidecar {
    Sidecar::run(
        group
            .command(binary)
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0")
            .args(flags),
    )
}

#[test]
fn with_a_twentieth_of_a_processor_it_is_slow_and_never_wrong() {
    let Some(group) = Cgroup::limited(A_TWENTIETH) else {
        return;
    };
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = start_in(&group, livenessprobe().binary().as_ref(), &dir, &[]);
    for _ in 0..10 {
        is_healthy(&mut sidecar, "starved");
        thread::sleep(Duration::from_millis(300));
    }
    let throttled = || group.number("cpu.stat", "nr_throttled");
    let before = throttled();
    get_by_a_crowd(&sidecar, Duration::from_secs(5), |status| status == 200);
    // In most tenths of a second the sidecar had to wait for the next one.
    let times = throttled() - before;
    assert!(times >= 25, "throttled {times} times in 5 s");
    is_healthy(&mut sidecar, "after the crowd");
}

#[test]
fn with_a_twentieth_of_a_processor_a_driver_that_hangs_does_not_end_the_process() {
    let Some(group) = Cgroup::limited(A_TWENTIETH) else {
        return;
    };
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    // The deadline is the default one: the start needs a tenth of a second of processor
    // time, and with the first probe that is more than a second here.
    let mut sidecar = start_in(&group, livenessprobe().binary().as_ref(), &dir, &[]);
    is_healthy(&mut sidecar, "starved");
    driver.process.freeze();
    // Longer than the watchdog waits for the first of these calls.
    let time = FROZEN + Duration::from_secs(3);
    get_by_a_crowd(&sidecar, time, |status| matches!(status, 500 | 503));
    is_still_running(&mut sidecar, "at a driver that hangs");
    driver.process.thaw();
    is_healthy(&mut sidecar, "once the driver goes on");
}

/// A single failure would end the process, and requests need the processor, too.
#[test]
fn with_a_twentieth_of_a_processor_periodic_probes_go_on() {
    let Some(group) = Cgroup::limited(A_TWENTIETH) else {
        return;
    };
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let file = dir.path().join("healthy");
    let health_file = format!("--health-file={}", file.display());
    let flags = ["--interval=200ms", "--retries=1", &health_file];
    let mut sidecar = start_in(&group, livenessprobe().binary().as_ref(), &dir, &flags);
    eventually("a health file", || file.exists());
    get_by_a_crowd(&sidecar, Duration::from_secs(5), |status| status == 200);
    let out = &driver.process.out;
    out.wait_for_count("probe begin", out.count("probe begin") + 10);
    assert!(file.exists());
    is_healthy(&mut sidecar, "with periodic probes");
}

/// Copies the binary so that none of its pages is in memory. The kernel counts a page of a
/// file for the group that reads it first, which has to be the one under test.
fn unread_copy(dir: &Dir) -> PathBuf {
    let copy = dir.path().join("livenessprobe");
    fs::copy(livenessprobe().binary(), &copy).unwrap();
    let forgotten = Command::new("dd")
        .arg(format!("of={}", copy.display()))
        .args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
        .output()
        .unwrap();
    assert!(forgotten.status.success(), "{forgotten:?}");
    copy
}

/// The pages of the binary included. The binary that `cargo build` links against glibc needs
/// more.
#[test]
#[ignore = "about the static binary alone; run: make try-static"]
fn four_megabytes_are_enough() {
    const PROBES: usize = 1_000;
    let Some(group) = Cgroup::limited(Limit::Memory(4 << 20)) else {
        return;
    };
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = start_in(&group, &unread_copy(&dir), &dir, &[]);
    for _ in 0..PROBES {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
    let idle = crowd(sidecar.address, 200, b"");
    let half_open = crowd(sidecar.address, 200, b"GET /healthz HTTP/1.1\r\n");
    for _ in 0..10 {
        is_unharmed(&mut sidecar, "in a crowd");
        assert_eq!(sidecar.get("/metrics").status, 200);
    }
    thread::sleep(hold());
    drop((idle, half_open));
    driver.process.kill();
    assert_eq!(sidecar.healthz().status, 500);
    let _driver = Driver::start(&dir.socket(), &[]);
    get_by_a_crowd(&sidecar, Duration::from_secs(2), |status| status == 200);
    is_unharmed(&mut sidecar, "after the crowd");
    println!("{} bytes in the group at most", group.most_memory());
    assert_eq!(group.killed(), 0);
}
