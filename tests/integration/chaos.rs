//! The chaos suite: whatever befalls the machine while the driver is healthy, the
//! first probe after it says 200, and the process is still the same. `make chaos`
//! runs it.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testkit::cgroup::{Cgroup, Limit};
use testkit::machine::{faketime, in_namespaces};
use testkit::sys::send_signal;
use testkit::{Dir, Driver, Sidecar, eventually, http};

use super::support::livenessprobe;
use super::support::siege::{crowd, hold};

/// The claim of this suite.
fn is_unharmed(sidecar: &mut Sidecar, what: &str) {
    let took = is_right(sidecar, what);
    assert!(took < Duration::from_secs(1), "{what}: {took:?}");
}

/// The same, in its own time; says what that was.
fn is_right(sidecar: &mut Sidecar, what: &str) -> Duration {
    let response = sidecar.healthz();
    assert_eq!(response.both(), (200, "ok"), "{what}: {response:?}");
    is_still_running(sidecar, what);
    response.took
}

/// The watchdog exits with such words, as does what else gives up.
fn is_still_running(sidecar: &mut Sidecar, what: &str) {
    let log = sidecar.log();
    assert!(sidecar.process.is_running(), "{what}: {log}");
    assert!(!log.contains("Exiting"), "{what}: {log}");
}

// SIGSTOP, as a frozen cgroup, a paused machine or a debugger does it.

/// For those who are to be frozen.
const SHORT: &str = "--probe-timeout=2s";

/// Longer than a probe's deadline and the watchdog's ten seconds after it.
const FROZEN: Duration = Duration::from_secs(13);

fn freeze(sidecar: &Sidecar, meanwhile: impl FnOnce()) {
    freeze_for(FROZEN, sidecar, meanwhile);
}

fn freeze_for(time: Duration, sidecar: &Sidecar, meanwhile: impl FnOnce()) {
    let until = Instant::now() + time;
    sidecar.process.freeze();
    eventually("a process that is stopped", || {
        sidecar.status_words("State").starts_with('T')
    });
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

fn asked_while_frozen() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    assert_eq!(sidecar.healthz().status, 200);
    let mut asked = Vec::new();
    freeze(&sidecar, || {
        // The kernel takes them in, and their time begins when they are read.
        asked.extend((0..3).map(|_| sidecar.spawn_get("/healthz")));
    });
    for asked in asked {
        assert_eq!(asked.join().unwrap().both(), (200, "ok"), "asked meanwhile");
    }
    is_unharmed(&mut sidecar, "asked meanwhile");
}

fn frozen_in_mid_probe() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    let asked = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    freeze(&sidecar, || {});
    is_unharmed(&mut sidecar, "in mid-probe");
    // Its time was over, and kubelet's with it.
    let response = asked.join().unwrap();
    let is_late = response.status == 500 && response.body.contains("DeadlineExceeded");
    assert!(is_late || response.status == 200, "{response:?}");
}

fn frozen_at_a_driver_that_hangs() {
    let dir = Dir::new();
    let mut hanging = Driver::start(&dir.socket(), &["--hang"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[SHORT]);
    let asked = sidecar.spawn_get("/healthz");
    hanging.process.out.wait_for(0, "probe begin");
    let mut healthy = None;
    freeze(&sidecar, || {
        // The old one's sockets stay open, so only a deadline ends that call.
        fs::remove_file(dir.socket()).unwrap();
        healthy = Some(Driver::start(&dir.socket(), &[]));
    });
    is_unharmed(&mut sidecar, "at a driver that hangs");
    assert_eq!(asked.join().unwrap().status, 500);
    hanging.process.kill();
}

/// With the least patience there is.
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
    // What was missed is not made up for: one that was asked for anew, and then
    // one a second.
    let out = &driver.process.out;
    out.wait_for_count("probe end", rounds_before + 3);
    let (rounds, took) = (out.count("probe begin") - rounds_before, thawed.elapsed());
    let most = 3 + usize::try_from(took.as_secs()).unwrap();
    assert!(rounds <= most, "{rounds} rounds in {took:?}");
    is_still_running(&mut sidecar, "in mid-round");
}

/// What a round of an hour comes to is told for an hour.
fn frozen_in_the_round_of_an_hour() {
    frozen_in_a_round_for(FROZEN);
}

/// The driver's answer is there before the deadline, and nobody could read it.
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
            asked_while_frozen,
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

// The clocks.

/// libfaketime: the wall clock of one process, which can be set while it runs. The
/// monotonic clock is left alone: std and gRPC wait for it in the kernel, which the
/// library does not deceive.
struct WallClock {
    setting: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// `None` where the library is not installed.
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

    /// Sets it so many seconds off.
    fn set(&self, off: i64) {
        let new = self.setting.with_extension("new");
        fs::write(&new, format!("{off:+}\n")).unwrap();
        // At once, or a process could read half of it.
        fs::rename(&new, &self.setting).unwrap();
    }

    /// In a mount namespace: the sidecar forgets variables that are not its own, the one that
    /// names the setting among them, and libfaketime then looks in /etc.
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
const YEAR: i64 = 365 * DAY;

/// By a day, by years, to before 1970, to beyond the year 9999, and back.
const OFFS: [i64; 7] = [
    -DAY,
    DAY,
    -10 * YEAR,
    10 * YEAR,
    -100 * YEAR,
    9_000 * YEAR,
    0,
];

/// The seconds since 1970 of a wall clock that is so far off.
fn now_by_a_clock(off: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() + off
}

/// The line of the verbose answer that begins with this.
fn detail<'a>(body: &'a str, name: &str) -> &'a str {
    body.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name:?} in {body:?}"))
}

/// The value of a metric without labels, or with any.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A duration that is seconds at the most, in Go's form.
fn is_short(text: &str) -> bool {
    ["h", "m0", "m1", "m2", "m3", "m4", "m5"]
        .iter()
        .all(|unit| !text.contains(unit))
}

fn tells_a_sane_time(sidecar: &Sidecar, off: i64) {
    let body = sidecar.get("/healthz?verbose").body;
    let (at, ago) = detail(&body, "last success")
        .split_once(" (")
        .unwrap_or_else(|| panic!("{body}"));
    assert!(is_short(ago.trim_end_matches(" ago)")), "{off}: {body}");
    // Of a minute ago, too: the hour may have changed since the answer.
    let is_now = [0, 60].iter().any(|ago| {
        let hour = hour_of(now_by_a_clock(off) - ago);
        at.starts_with(&hour)
    });
    assert!(is_now, "{off} s off: {at}");
}

/// As the verbose answer begins it. Before 1970 it says 1970.
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
fn a_wall_clock_that_is_set_changes_no_answer() {
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
        tells_a_sane_time(&sidecar, off);
        let text = sidecar.get("/metrics").body;
        assert!((metric(&text, "process_start_time_seconds") - started).abs() < 1e-3);
        assert!(metric(&text, "csi_sidecar_probe_last_success").is_finite());
        // Failures are told, once, and forgotten.
        driver.process.kill();
        assert_eq!(sidecar.healthz().status, 500);
        tells_a_sane_time(&sidecar, off);
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
        // Answered from a round that may have been before.
        tells_a_sane_time(&sidecar, off);
        let (before, began) = (out.count("probe begin"), Instant::now());
        out.wait_for_count("probe begin", before + usize::try_from(ROUNDS).unwrap());
        let took = began.elapsed();
        // A round may have been about to begin, and a busy machine may miss some.
        let least = PACE * (2 * ROUNDS - 3) / 2;
        assert!(took >= least, "{off} s off: {took:?}");
        assert!(took < PACE * ROUNDS * 2, "{off} s off: {took:?}");
    }
    is_unharmed(&mut sidecar, "at its pace");
}

/// gRPC's own timers wait for a moment on the wall clock. One that is set back
/// meanwhile makes that moment late by as much; with this library, which deceives
/// the program and not the kernel, one that is ahead does the same. A call that
/// nothing else ends outlasts the watchdog then.
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
        // It does not even see the deadline that it is told.
        driver.process.freeze();
        let response = sidecar.healthz();
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        let ended = sidecar.process.err.wait_for(before, "\"Probe ended\"");
        assert!(ended.contains("context deadline exceeded"), "{ended}");
        driver.process.thaw();
        is_unharmed(&mut sidecar, &format!("{off} s off"));
    }
}

/// Like a machine that has just been started, and one that has run for ten years.
#[test]
fn any_time_since_the_start_of_the_machine_will_do() {
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
        tells_a_sane_time(&sidecar, 0);
        driver.process.kill();
        assert_eq!(sidecar.healthz().status, 500);
        let _driver = Driver::start(&dir.socket(), &[]);
        is_unharmed(&mut sidecar, &what);
    }
}

// The limits of a container.

/// So many clients ask again and again, and each answer must be as expected.
fn asked_by_a_crowd(sidecar: &Sidecar, time: Duration, is_expected: impl Fn(u16) -> bool + Sync) {
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

/// Five of each hundred milliseconds.
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
        is_right(&mut sidecar, "starved");
        thread::sleep(Duration::from_millis(300));
    }
    let throttled = || group.number("cpu.stat", "nr_throttled");
    let before = throttled();
    asked_by_a_crowd(&sidecar, Duration::from_secs(5), |status| status == 200);
    // Most of those tenths of a second were over before they had their turn.
    let times = throttled() - before;
    assert!(times >= 25, "throttled {times} times in 5 s");
    is_right(&mut sidecar, "after the crowd");
}

#[test]
fn with_a_twentieth_of_a_processor_a_driver_that_hangs_is_no_wedge() {
    let Some(group) = Cgroup::limited(A_TWENTIETH) else {
        return;
    };
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    // With the deadline that there is by default: to start takes a tenth of a second of
    // the processor, and with the first probe that is more than a second here.
    let mut sidecar = start_in(&group, livenessprobe().binary().as_ref(), &dir, &[]);
    is_right(&mut sidecar, "starved");
    driver.process.freeze();
    // Longer than the watchdog's patience with the first of these.
    let time = FROZEN + Duration::from_secs(3);
    asked_by_a_crowd(&sidecar, time, |status| matches!(status, 500 | 503));
    is_still_running(&mut sidecar, "at a driver that hangs");
    driver.process.thaw();
    is_right(&mut sidecar, "once the driver goes on");
}

/// With the least patience there is, and others who want the processor, too.
#[test]
fn with_a_twentieth_of_a_processor_its_own_pace_goes_on() {
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
    asked_by_a_crowd(&sidecar, Duration::from_secs(5), |status| status == 200);
    let out = &driver.process.out;
    out.wait_for_count("probe begin", out.count("probe begin") + 10);
    assert!(file.exists());
    is_right(&mut sidecar, "at its own pace");
}

/// The binary, without a page of it in memory: those of a file are counted where they
/// are read for the first time, which is to be in the group.
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

/// With its program and all: what `cargo build` links against glibc takes more.
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
        is_unharmed(&mut sidecar, "among strangers");
        assert_eq!(sidecar.get("/metrics").status, 200);
    }
    thread::sleep(hold());
    drop((idle, half_open));
    driver.process.kill();
    assert_eq!(sidecar.healthz().status, 500);
    let _driver = Driver::start(&dir.socket(), &[]);
    asked_by_a_crowd(&sidecar, Duration::from_secs(2), |status| status == 200);
    is_unharmed(&mut sidecar, "after the crowd");
    println!("{} bytes in the group at most", group.most_memory());
    assert_eq!(group.killed(), 0);
}

// A full disk.

/// A file system of a few pages, mounted for one sidecar.
struct Disk {
    /// Where that sidecar sees it, seen from here.
    path: PathBuf,
}

impl Disk {
    /// `None` where nothing may be mounted.
    fn mounted_for(dir: &Dir, flags: &[&str]) -> Option<(Disk, Sidecar)> {
        let mut command = in_namespaces(&["--mount"])?;
        let at = dir.path().join("disk");
        fs::create_dir(&at).unwrap();
        command
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o size=16k tmpfs \"$0\" && exec \"$@\"")
            .arg(&at)
            .arg(livenessprobe().binary())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0")
            .arg(format!("--health-file={}", at.join("healthy").display()))
            .args(flags);
        let sidecar = Sidecar::run(&mut command);
        let path = PathBuf::from(format!("/proc/{}/root{}", sidecar.pid, at.display()));
        Some((Disk { path }, sidecar))
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.path.join("ballast")).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn has_room_again(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.path.join("healthy")
    }

    /// What is there besides the ballast.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "ballast").collect()
    }
}

/// Looks at the health file all the while: it is there as a whole or not at all.
fn while_it_is_whole(file: &Path, scenes: impl FnOnce()) {
    /// Set also when a scene fails, or its failure would be waited for for ever.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Ok(text) = fs::read_to_string(file) {
                    assert_eq!(text, "ok\n");
                }
                thread::yield_now();
            }
        });
        let _over = Over(&is_over);
        scenes();
    });
}

#[test]
fn a_full_disk_behind_the_health_file_stops_nothing_and_is_waited_out() {
    const COMPLAINT: &str = "cannot write the health file";
    let dir = Dir::new();
    let flags = ["--interval=20ms", "--retries=1000000"];
    let Some((disk, mut sidecar)) = Disk::mounted_for(&dir, &flags) else {
        return;
    };
    disk.fill();
    let file = disk.file();
    let mut driver = Driver::start(&dir.socket(), &[]);
    while_it_is_whole(&file, || {
        let line = sidecar.process.err.wait_for(0, COMPLAINT);
        assert!(line.contains("No space left on device"), "{line}");
        let rounds = driver.process.out.count("probe end");
        driver.process.out.wait_for_count("probe end", rounds + 50);
        is_unharmed(&mut sidecar, "with a full disk");
        assert_eq!(sidecar.process.err.count(COMPLAINT), 1);
        assert!(!file.exists());

        disk.has_room_again();
        eventually("a health file", || file.exists());
        assert_eq!(disk.files(), ["healthy"]);
    });
    // A full disk is no reason to leave it behind.
    disk.fill();
    driver.process.kill();
    sidecar.process.signal(libc::SIGTERM);
    eventually("no health file", || !file.exists());
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

// stderr, of which nobody reads anything.

/// A sidecar that cannot tell its address, and logs each probe and request.
struct Mute {
    child: Child,
    address: SocketAddr,
}

impl Mute {
    /// What the shell does to its streams, and what it has for stderr before that.
    fn start(dir: &Dir, redirections: &str, stderr: Stdio) -> Mute {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirections}")])
            .arg(livenessprobe().binary())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg(format!("--http-endpoint={address}"))
            .args(["--probe-timeout=500ms", "--v=5"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mute = Mute { child, address };
        eventually("the listener", || TcpStream::connect(address).is_ok());
        mute
    }

    fn stream(&self, number: u32) -> String {
        let link = format!("/proc/{}/fd/{number}", self.child.id());
        fs::read_link(link).unwrap().display().to_string()
    }

    /// Goes through what is logged in health and illness, and stops.
    fn goes_on_and_stops(mut self, dir: &Dir, what: &str) {
        let ask = || http::get(self.address, "/healthz");
        let mut driver = Driver::start(&dir.socket(), &[]);
        for _ in 0..100 {
            // A log line that went astray would be in here.
            assert_eq!(ask().both(), (200, "ok"), "{what}");
        }
        driver.process.kill();
        assert_eq!(ask().status, 500, "{what}");
        driver = Driver::start(&dir.socket(), &[]);
        assert_eq!(ask().both(), (200, "ok"), "{what}");
        assert!(self.child.try_wait().unwrap().is_none(), "{what}");
        let asked = Instant::now();
        send_signal(self.child.id().try_into().unwrap(), libc::SIGTERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{what}");
        let took = asked.elapsed();
        assert!(took < Duration::from_millis(1_500), "{what}: {took:?}");
        driver.process.kill();
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Else the next three sockets would have their numbers, and log lines would be
/// written to one of them. They are pipes from which nothing comes (src/streams.rs).
#[test]
fn streams_that_are_closed_are_nobody_else_s() {
    for redirections in ["2>&-", "0<&- 1>&- 2>&-"] {
        let dir = Dir::new();
        let mute = Mute::start(&dir, redirections, Stdio::null());
        // The first of them is the test's own where it is not closed.
        let closed = redirections.matches(">&-").count() + redirections.matches("<&-").count();
        for number in (0..3).skip(3 - closed) {
            let stream = mute.stream(number);
            assert!(stream.starts_with("pipe:["), "{redirections}: {stream}");
        }
        mute.goes_on_and_stops(&dir, redirections);
    }
}

#[test]
fn a_stderr_that_takes_nothing_stops_nothing() {
    /// What a pipe holds (pipe(7)).
    const PIPE: usize = 64 * 1024;
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        (None, OwnedFd::from(writer))
    };
    let full = || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&vec![b'x'; PIPE]).unwrap();
        (Some(reader), OwnedFd::from(writer))
    };
    let disk = || {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        (None, OwnedFd::from(full))
    };
    for (what, (_kept, stderr)) in [
        ("its reader has gone", gone()),
        ("it is full and nobody reads", full()),
        ("its disk is full", disk()),
    ] {
        let dir = Dir::new();
        let mute = Mute::start(&dir, "", Stdio::from(stderr));
        mute.goes_on_and_stops(&dir, what);
    }
}
