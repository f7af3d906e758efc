//! A wall clock that is set while the sidecar runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testkit::machine::{faketime, in_namespaces};
use testkit::{Dir, Driver, Sidecar};

use super::is_unharmed;
use crate::support::livenessprobe;

/// The wall clock of one process, which libfaketime sets while the process runs. The
/// monotonic clock stays as it is: std and gRPC wait by it in the kernel, which the library
/// cannot change.
struct WallClock {
    setting: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// Returns `None` if the library is not installed.
    fn new(dir: &Dir) -> Option<WallClock> {
        assert!(
            !livenessprobe().is_shipped(),
            "a static binary loads no library"
        );
        let clock = WallClock {
            setting: dir.path().join("wall-clock"),
            library: faketime()?,
        };
        clock.set(0);
        Some(clock)
    }

    /// Sets the clock so many seconds off.
    fn set(&self, off: i64) {
        let new = self.setting.with_extension("new");
        fs::write(&new, format!("{off:+}\n")).unwrap();
        // In one step, because the process could read half of a file.
        fs::rename(&new, &self.setting).unwrap();
    }

    /// Starts a sidecar with this clock. It runs in a mount namespace, because it removes
    /// variables that are not its own, among them the one that names the setting; libfaketime
    /// then looks in /etc.
    fn start(&self, dir: &Dir, flags: &[&str]) -> Option<Sidecar> {
        let mut command = in_namespaces(&["--mount"])?;
        let product = livenessprobe().command();
        command
            .args([
                "sh",
                "-c",
                "mount -t tmpfs none /etc && ln -s \"$SETTING\" /etc/faketimerc &&
                 exec env LD_PRELOAD=\"$LIBRARY\" \"$@\"",
                "sh",
            ])
            .arg(product.get_program())
            .args(product.get_args())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0")
            .args(flags)
            .env("SETTING", &self.setting)
            .env("LIBRARY", &self.library)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Some(Sidecar::run(&mut command))
    }
}

const DAY: i64 = 24 * 60 * 60;
pub const YEAR: i64 = 365 * DAY;

/// A day, some years, to before 1970, to after the year 9999, and back.
const OFFS: [i64; 7] = [
    -DAY,
    DAY,
    -10 * YEAR,
    10 * YEAR,
    -100 * YEAR,
    9_000 * YEAR,
    0,
];

/// Returns the seconds since 1970 by a wall clock that is so far off.
fn now_by_a_clock(off: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() + off
}

/// Returns the value of the line with this name in a verbose response.
fn detail<'a>(body: &'a str, name: &str) -> &'a str {
    body.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name:?} in {body:?}"))
}

/// Returns the value of the first series of a metric.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Returns whether a duration, in Go's form, is less than some seconds.
fn is_short(text: &str) -> bool {
    ["h", "m0", "m1", "m2", "m3", "m4", "m5"]
        .iter()
        .all(|unit| !text.contains(unit))
}

/// Checks that the time of the last success is now, by a wall clock that is so far off.
pub fn says_a_sane_time(sidecar: &Sidecar, off: i64) {
    let body = sidecar.get("/healthz?verbose").body;
    let (at, ago) = detail(&body, "last success")
        .split_once(" (")
        .unwrap_or_else(|| panic!("{body}"));
    assert!(is_short(ago.trim_end_matches(" ago)")), "{off}: {body}");
    // The hour may have changed since the response.
    let is_now = [0, 60].iter().any(|ago| {
        let hour = hour_of(now_by_a_clock(off) - ago);
        at.starts_with(&hour)
    });
    assert!(is_now, "{off} s off: {at}");
}

/// Returns a time up to its hour, as a verbose response has it. Before 1970 it says 1970.
fn hour_of(second: i64) -> String {
    let date = Command::new("date")
        .args(["--utc", "+%Y-%m-%dT%H:", "--date"])
        .arg(format!("@{}", second.max(0)))
        .output()
        .unwrap();
    String::from_utf8(date.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn a_wall_clock_that_is_set_changes_no_response() {
    let dir = Dir::new();
    let Some(clock) = WallClock::new(&dir) else {
        return;
    };
    let mut driver = Driver::start(&dir.socket(), &[]);
    let Some(mut sidecar) = clock.start(&dir, &["--v=5", "--probe-timeout=1s"]) else {
        return;
    };
    is_unharmed(&mut sidecar, "before");
    let started = metric(&sidecar.get("/metrics").body, "process_start_time_seconds");
    for off in OFFS {
        clock.set(off);
        is_unharmed(&mut sidecar, &format!("{off} s off"));
        says_a_sane_time(&sidecar, off);
        let text = sidecar.get("/metrics").body;
        assert!((metric(&text, "process_start_time_seconds") - started).abs() < 1e-3);
        assert!(metric(&text, "csi_sidecar_probe_last_success").is_finite());
        // A failure is reported, and the next success is, too.
        driver.process.kill();
        assert_eq!(sidecar.healthz().status, 500);
        says_a_sane_time(&sidecar, off);
        driver = Driver::start(&dir.socket(), &[]);
        is_unharmed(&mut sidecar, &format!("{off} s off, again"));
    }
    for line in sidecar.process.err.all() {
        let is_a_line = line.starts_with(['I', 'W', 'E']) && line.contains("] \"");
        assert!(is_a_line, "{line}");
    }
}

#[test]
fn a_wall_clock_that_is_set_changes_no_pace_and_no_age() {
    const ROUNDS: u32 = 20;
    const PACE: Duration = Duration::from_millis(100);
    let dir = Dir::new();
    let Some(clock) = WallClock::new(&dir) else {
        return;
    };
    let driver = Driver::start(&dir.socket(), &[]);
    let Some(mut sidecar) = clock.start(&dir, &["--interval=100ms", "--retries=1"]) else {
        return;
    };
    let out = &driver.process.out;
    out.wait_for(0, "probe end");
    for off in OFFS {
        clock.set(off);
        // The response may come from a round before the clock was set.
        says_a_sane_time(&sidecar, off);
        let (before, began) = (out.count("probe begin"), Instant::now());
        out.wait_for_count("probe begin", before + usize::try_from(ROUNDS).unwrap());
        let took = began.elapsed();
        // A round may begin at once, and a busy machine may miss some.
        let least = PACE * (2 * ROUNDS - 3) / 2;
        assert!(took >= least, "{off} s off: {took:?}");
        assert!(took < PACE * ROUNDS * 2, "{off} s off: {took:?}");
    }
    is_unharmed(&mut sidecar, "at its pace");
}

/// gRPC's own timers wait until a time on the wall clock. When the clock is set back, that
/// time comes later by as much. With libfaketime, which changes what the process sees and not
/// the kernel, a clock that is ahead does the same. A call that only such a timer ends would
/// last until the watchdog ends the process.
#[test]
fn a_call_that_hangs_ends_in_time_by_any_wall_clock() {
    let dir = Dir::new();
    let Some(clock) = WallClock::new(&dir) else {
        return;
    };
    let driver = Driver::start(&dir.socket(), &[]);
    let Some(mut sidecar) = clock.start(&dir, &["--probe-timeout=1s", "--v=5"]) else {
        return;
    };
    sidecar.process.err.wait_for(0, "CSI driver name");
    for off in OFFS {
        clock.set(off);
        let before = sidecar.process.err.all().len();
        // A driver that is stopped cannot end the call at the deadline itself.
        driver.process.freeze();
        let response = sidecar.healthz();
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        let ended = sidecar.process.err.wait_for(before, "\"Probe ended\"");
        assert!(ended.contains("context deadline exceeded"), "{ended}");
        driver.process.thaw();
        is_unharmed(&mut sidecar, &format!("{off} s off"));
    }
}
