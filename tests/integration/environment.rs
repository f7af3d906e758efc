//! Environments that lack something or refuse it: containers, their security profiles and
//! pods. In each of them the sidecar is healthy, or reports a clear cause; a signal ends it in
//! none.

mod table;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use testkit::machine::{faketime, in_namespaces};
use testkit::seccomp::{self, Call};
use testkit::{Dir, Driver, Process, Sidecar, eventually};

use super::support::livenessprobe;
use table::table;

/// A row of the table.
struct Row {
    name: String,
    /// A script of a shell, which gets the sidecar's command line as its arguments.
    script: &'static str,
    needs: Needs,
    variables: Vec<(&'static str, String)>,
    refused: (Vec<Call>, i32),
    expected: Expected,
}

/// What a script needs in order to do its work.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    /// It mounts file systems and changes its root directory.
    Mounts,
    /// The same, and a static binary, because its root directory has no library. The binary
    /// that Cargo builds against glibc is not tried.
    StaticAndMounts,
    /// A dynamic binary, because ld.so loads libfaketime.
    FakeTime,
}

/// How the sidecar behaves in an environment.
#[derive(Clone)]
enum Expected {
    /// It is healthy and stops cleanly.
    Healthy,
    /// The same, but it prints nothing, because its streams are closed.
    HealthyInSilence,
    /// It answers 500 with these words, and stops cleanly.
    Unhealthy(&'static str),
    /// It exits with code 1 and these last words.
    Fails(&'static str),
}

/// Runs the sidecar as it is.
const RUN: &str = r#"exec "$0" "$@""#;

/// Runs it in a root directory that has only the binary and the directory of the driver's
/// socket.
const IN_A_BARE_ROOT: &str = r#"exec chroot "$ROOT" /livenessprobe "$@""#;

impl Row {
    /// Returns a long timeout, because the machine is busy, and a short one for a row whose
    /// timeout passes.
    fn timeout(&self) -> &'static str {
        match self.expected {
            Expected::Unhealthy(_) => "--probe-timeout=1s",
            _ => "--probe-timeout=10s",
        }
    }
}

/// A driver, and the root directory of the rows that change it.
struct Rig {
    dir: Dir,
    _driver: Driver,
}

impl Rig {
    fn new() -> Rig {
        let dir = Dir::new();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("csi")).unwrap();
        fs::copy(livenessprobe().binary(), root.join("livenessprobe")).unwrap();
        let driver = Driver::start(root.join("csi/csi.sock").to_str().unwrap(), &[]);
        Rig {
            dir,
            _driver: driver,
        }
    }

    /// Returns the command line of a row with these flags at its end. `None` means that this
    /// machine cannot provide the environment.
    fn command(&self, row: &Row, flags: &[&str]) -> Option<Command> {
        let root = self.dir.path().join("root");
        let mut command = match row.needs {
            Needs::Nothing => Command::new("sh"),
            Needs::FakeTime => {
                let library = faketime()?;
                let mut command = Command::new("sh");
                command.env("LD_PRELOAD", library);
                command
            }
            Needs::StaticAndMounts if !livenessprobe().is_shipped() => return None,
            Needs::Mounts | Needs::StaticAndMounts => {
                let mut command = in_namespaces(&["--mount"])?;
                command.arg("sh");
                command
            }
        };
        let socket = if row.needs == Needs::StaticAndMounts {
            Path::new("/csi/csi.sock").to_owned()
        } else {
            root.join("csi/csi.sock")
        };
        command
            .args(["-c", row.script])
            .arg(livenessprobe().binary())
            .arg(format!("--csi-address={}", socket.display()))
            .args(flags)
            .env("ROOT", &root)
            .envs(row.variables.iter().map(|(name, value)| (name, value)));
        if !row.refused.0.is_empty() {
            seccomp::refuse(&mut command, &row.refused.0, row.refused.1);
        }
        Some(command)
    }

    /// Checks a row.
    fn try_on(&self, row: &Row) {
        let address = address();
        let endpoint = format!("--http-endpoint={address}");
        let flags = ["--v=5", row.timeout(), &endpoint];
        let Some(mut command) = self.command(row, &flags) else {
            return;
        };
        let mut process = Process::start(&mut command);
        match row.expected {
            Expected::Fails(words) => {
                let status = process.wait();
                assert_eq!(status.code(), Some(1), "{status}");
                process.err.wait_for(0, words);
            }
            _ => check_responses(row, process, address),
        }
        self.check_once(row);
    }

    /// Checks `--once` in the same environment.
    fn check_once(&self, row: &Row) {
        let flags = ["--once", row.timeout()];
        let Some(mut command) = self.command(row, &flags) else {
            return;
        };
        let output = command.stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        let (code, expected) = match row.expected {
            Expected::Healthy => (0, "ok"),
            Expected::HealthyInSilence => (0, ""),
            Expected::Unhealthy(words) => (3, words),
            Expected::Fails(words) => (1, words),
        };
        assert_eq!(output.status.signal(), None, "{output:?}");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(words.contains(expected), "{output:?}");
    }
}

/// Checks the responses of a sidecar, and stops it.
fn check_responses(row: &Row, process: Process, address: SocketAddr) {
    let mut sidecar = Sidecar {
        pid: process.pid(),
        process,
        address,
    };
    eventually("a sidecar that listens, or its end", || {
        TcpStream::connect(address).is_ok() || !sidecar.process.is_running()
    });
    if !sidecar.process.is_running() {
        let status = sidecar.process.wait();
        panic!("{status}: {}", sidecar.log());
    }
    for _ in 0..5 {
        let response = sidecar.healthz();
        match row.expected {
            Expected::Unhealthy(words) => {
                assert_eq!(response.status, 500, "{response:?}");
                assert!(response.body.contains(words), "{response:?}");
            }
            _ => assert_eq!(response.both(), (200, "ok")),
        }
    }
    assert_eq!(sidecar.get("/metrics").status, 200);
    if row.needs == Needs::FakeTime {
        // Each row has a first of January. Before 1970 the log says 1970.
        sidecar.process.err.wait_for(0, "I0101 00:0");
    }
    for stream in 0..3 {
        let stream = format!("/proc/{}/fd/{stream}", sidecar.pid);
        let target = fs::read_link(stream).unwrap();
        assert!(!target.starts_with("socket:"), "{}", target.display());
    }
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

/// Returns a loopback address that no other row has. A sidecar whose streams are closed
/// cannot log a port that the kernel has chosen.
fn address() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let run = std::process::id();
    let numbers = [run / 250 % 250, run % 250].map(|number| u8::try_from(number + 1).unwrap());
    let row = COUNT.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, numbers[0], numbers[1], row), 19_808).into()
}

/// Checks these rows, two at a time, and panics with the names of those that fail.
fn check_rows(wanted: impl Fn(&Row) -> bool + Send) {
    let rig = Rig::new();
    let rows = Mutex::new(table().into_iter().filter(wanted));
    let failed = Mutex::new(Vec::new());
    let try_all = || {
        loop {
            let next = rows.lock().unwrap().next();
            let Some(row) = next else {
                return;
            };
            let trial = AssertUnwindSafe(|| rig.try_on(&row));
            if catch_unwind(trial).is_err() {
                failed.lock().unwrap().push(row.name);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(try_all);
        scope.spawn(try_all);
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn in_each_environment_it_is_healthy_or_says_why() {
    check_rows(|row| row.needs != Needs::FakeTime);
}

/// `make chaos` runs it, because it needs libfaketime.
#[test]
fn a_wall_clock_that_is_wrong_changes_nothing() {
    assert!(
        !livenessprobe().is_shipped(),
        "a static binary loads no library"
    );
    check_rows(|row| row.needs == Needs::FakeTime);
}
