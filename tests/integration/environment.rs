//! The environment is hostile, too: what a container, its security profile or its pod
//! may lack or refuse. Each row of the table is healthy, or says clearly what is the
//! matter; none is the end by a signal.

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

/// A row of the table.
struct Row {
    name: String,
    /// A shell's, with the sidecar's command line for its arguments.
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
    /// To mount and to change its root directory.
    Mounts,
    /// The same, and a binary that loads no library: there is none in its root directory.
    /// The one that Cargo builds against glibc is left out.
    StaticAndMounts,
    /// The opposite: libfaketime is loaded by ld.so, which a static binary does without.
    FakeTime,
}

/// What becomes of it.
#[derive(Clone)]
enum Expected {
    /// Healthy, and a clean stop.
    Healthy,
    /// The same, without a word: its streams are closed.
    HealthyInSilence,
    /// 500 with these words, and a clean stop.
    Unhealthy(&'static str),
    /// Exit code 1, with these words for its last.
    Fails(&'static str),
}

/// Runs the sidecar as it is.
const RUN: &str = r#"exec "$0" "$@""#;

/// In a root directory in which there are the binary and the driver's socket alone. It is
/// the parent of the socket's directory.
const IN_A_BARE_ROOT: &str = r#"exec chroot "$ROOT" /livenessprobe "$@""#;

impl Row {
    /// Ample, as many start at once, but where it is waited for.
    fn timeout(&self) -> &'static str {
        match self.expected {
            Expected::Unhealthy(_) => "--probe-timeout=1s",
            _ => "--probe-timeout=10s",
        }
    }
}

fn row(name: &str, script: &'static str, needs: Needs, expected: Expected) -> Row {
    Row {
        name: name.to_owned(),
        script,
        needs,
        variables: Vec::new(),
        refused: (Vec::new(), 0),
        expected,
    }
}

fn table() -> Vec<Row> {
    use Expected::{Healthy, HealthyInSilence};
    use Needs::{Mounts, Nothing, StaticAndMounts};
    let mut rows = vec![
        row("nothing amiss", RUN, Nothing, Healthy),
        row(
            "an empty /dev",
            r#"mount -t tmpfs none /dev && exec "$0" "$@""#,
            Mounts,
            Healthy,
        ),
        row(
            "no /proc",
            r#"mount -t tmpfs none /proc && exec "$0" "$@""#,
            Mounts,
            Healthy,
        ),
        row(
            "an empty /etc",
            r#"mount -t tmpfs none /etc && exec "$0" "$@""#,
            Mounts,
            Healthy,
        ),
        row(
            "no /sys",
            r#"mount -t tmpfs none /sys && exec "$0" "$@""#,
            Mounts,
            Healthy,
        ),
        row(
            "closed streams",
            r#"exec "$0" "$@" <&- >&- 2>&-"#,
            Nothing,
            HealthyInSilence,
        ),
        row(
            "closed streams and an empty /dev",
            r#"mount -t tmpfs none /dev && exec "$0" "$@" <&- >&- 2>&-"#,
            Mounts,
            HealthyInSilence,
        ),
        row(
            "stdin closed and an empty /dev",
            r#"mount -t tmpfs none /dev && exec "$0" "$@" <&-"#,
            Mounts,
            Healthy,
        ),
        row(
            "a root directory with nothing in it",
            IN_A_BARE_ROOT,
            StaticAndMounts,
            Healthy,
        ),
        row(
            "closed streams in a root directory with nothing in it",
            r#"exec chroot "$ROOT" /livenessprobe "$@" <&- >&- 2>&-"#,
            StaticAndMounts,
            HealthyInSilence,
        ),
        row(
            "a read-only root directory",
            r#"mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT" &&
            exec chroot "$ROOT" /livenessprobe "$@""#,
            StaticAndMounts,
            Healthy,
        ),
        row(
            "64 descriptors",
            r#"ulimit -n 64 && exec "$0" "$@""#,
            Nothing,
            Healthy,
        ),
        row(
            "64 descriptors and no /proc",
            r#"mount -t tmpfs none /proc && ulimit -n 64 && exec "$0" "$@""#,
            Mounts,
            Healthy,
        ),
    ];
    rows.extend(variables());
    rows.extend(clocks());
    rows.extend(refusals());
    rows.extend(refused_unix_sockets());
    rows
}

/// All variables that C-core 1.56 looks at, and those of the libraries under it.
const VARIABLES: [&str; 35] = [
    "GRPC_ABORT_ON_LEAKS",
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GRPC_DNS_RESOLVER",
    "GRPC_ENABLE_FORK_SUPPORT",
    "GRPC_EXPERIMENTAL_XDS_ENABLE_OVERRIDE_HOST",
    "GRPC_EXPERIMENTAL_XDS_FEDERATION",
    "GRPC_EXPERIMENTAL_XDS_RBAC_AUDIT_LOGGING",
    "GRPC_EXPERIMENTAL_XDS_RLS_LB",
    "GRPC_EXPERIMENTS",
    "GRPC_NOT_USE_SYSTEM_SSL_ROOTS",
    "GRPC_POLL_STRATEGY",
    "GRPC_SSL_CIPHER_SUITES",
    "GRPC_STACKTRACE_MINLOGLEVEL",
    "GRPC_SYSTEM_SSL_ROOTS_DIR",
    "GRPC_TEST_ONLY_GOOGLE_C2P_RESOLVER_TRAFFIC_DIRECTOR_URI",
    "GRPC_TRACE",
    "GRPC_VERBOSITY",
    "GRPC_XDS_BOOTSTRAP",
    "GRPC_XDS_BOOTSTRAP_CONFIG",
    "CARES_HOSTS",
    "HOSTALIASES",
    "LANG",
    "LC_ALL",
    "LOCALDOMAIN",
    "MALLOC_ARENA_MAX",
    "RES_OPTIONS",
    "RUST_BACKTRACE",
    "RUST_MIN_STACK",
    "TZ",
    "grpc_proxy",
    "http_proxy",
    "https_proxy",
    "no_grpc_proxy",
    "no_proxy",
];

fn variables() -> Vec<Row> {
    let long = "x".repeat(1_000);
    [
        "nonsense",
        "",
        "-1",
        "99999999999999999999",
        "all",
        "none",
        &long,
    ]
    .into_iter()
    .map(|value| {
        let shown = &value[..value.len().min(20)];
        let name = format!("every variable is {shown:?}");
        let mut row = row(&name, RUN, Needs::Nothing, Expected::Healthy);
        row.variables = VARIABLES
            .map(|variable| (variable, value.to_owned()))
            .into();
        row
    })
    .collect()
}

fn clocks() -> Vec<Row> {
    [
        "1969-12-31 12:00:00",
        "1975-01-01 00:00:00",
        "2200-01-01 00:00:00",
    ]
    .into_iter()
    .map(|date| {
        let name = format!("the clock says {date}");
        let mut row = row(&name, RUN, Needs::FakeTime, Expected::Healthy);
        row.variables = vec![
            ("FAKETIME", date.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        row
    })
    .collect()
}

/// What a profile refuses, or a kernel lacks, that a program can do without.
fn refusals() -> Vec<Row> {
    let calls = [
        ("clone3", libc::SYS_clone3),
        ("close_range", libc::SYS_close_range),
        ("epoll_pwait2", libc::SYS_epoll_pwait2),
        ("getrandom", libc::SYS_getrandom),
        ("membarrier", libc::SYS_membarrier),
        ("rseq", libc::SYS_rseq),
        ("setsockopt", libc::SYS_setsockopt),
        ("statx", libc::SYS_statx),
        ("prlimit64", libc::SYS_prlimit64),
        ("sched_getaffinity", libc::SYS_sched_getaffinity),
        ("socketpair", libc::SYS_socketpair),
    ];
    let errors = [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS)];
    let mut rows = Vec::new();
    for (call, number) in calls {
        for (error, errno) in errors {
            let name = format!("{call}: {error}");
            let mut row = row(&name, RUN, Needs::Nothing, Expected::Healthy);
            row.refused = (vec![Call::All(number)], errno);
            // glibc makes a thread with clone(2) where there is no clone3, and does without a
            // thread where it is refused; musl knows clone(2) alone.
            if number == libc::SYS_clone3 && errno == libc::EPERM && !livenessprobe().is_shipped() {
                row.expected = Expected::Fails("gRPC cannot start its thread");
            }
            rows.push(row);
        }
    }
    rows
}

/// AF_UNIX is refused, and TCP is not (containerd#12726).
fn refused_unix_sockets() -> Vec<Row> {
    let family = u64::try_from(libc::AF_UNIX).unwrap();
    let made = [
        Call::Is(libc::SYS_socket, 0, family),
        Call::Is(libc::SYS_socketpair, 0, family),
    ];
    let bound = [seccomp::BINDS_UNIX];
    let connected = [seccomp::CONNECTS_UNIX];
    let refused = |words| Expected::Unhealthy(words);
    [
        (
            "no Unix socket: EACCES",
            &made[..],
            libc::EACCES,
            refused("permission denied"),
        ),
        (
            "no Unix socket: EPERM",
            &made,
            libc::EPERM,
            refused("operation not permitted"),
        ),
        (
            "no Unix socket: EAFNOSUPPORT",
            &made,
            libc::EAFNOSUPPORT,
            refused("address family not supported by protocol"),
        ),
        (
            "no Unix socket is bound: EACCES",
            &bound,
            libc::EACCES,
            Expected::Healthy,
        ),
        (
            "no Unix socket is bound: EPERM",
            &bound,
            libc::EPERM,
            Expected::Healthy,
        ),
        (
            "no Unix socket is connected: EACCES",
            &connected,
            libc::EACCES,
            refused("permission denied"),
        ),
    ]
    .into_iter()
    .map(|(name, calls, errno, expected)| {
        let mut row = row(name, RUN, Needs::Nothing, expected);
        row.refused = (calls.to_vec(), errno);
        row
    })
    .collect()
}

/// All that a row is tried on.
struct Stage {
    dir: Dir,
    _driver: Driver,
}

impl Stage {
    fn new() -> Stage {
        let dir = Dir::new();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("csi")).unwrap();
        fs::copy(livenessprobe().binary(), root.join("livenessprobe")).unwrap();
        let driver = Driver::start(root.join("csi/csi.sock").to_str().unwrap(), &[]);
        Stage {
            dir,
            _driver: driver,
        }
    }

    /// The command line of a row, with the flags that are its last; `None` where this
    /// machine cannot have it.
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
            _ => ask(row, process, address),
        }
        self.ask_once(row);
    }

    /// `--once` in the same environment.
    fn ask_once(&self, row: &Row) {
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

/// Asks this process, and has it stop.
fn ask(row: &Row, process: Process, address: SocketAddr) {
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
        let answer = sidecar.healthz();
        match row.expected {
            Expected::Unhealthy(words) => {
                assert_eq!(answer.status, 500, "{answer:?}");
                assert!(answer.body.contains(words), "{answer:?}");
            }
            _ => assert_eq!(answer.both(), (200, "ok")),
        }
    }
    assert_eq!(sidecar.get("/metrics").status, 200);
    if row.needs == Needs::FakeTime {
        // The first of January in each of them: before 1970 the log says 1970.
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

/// A loopback address of a row's own: those that are silent tell no port.
fn address() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let run = std::process::id();
    let numbers = [run / 250 % 250, run % 250].map(|number| u8::try_from(number + 1).unwrap());
    let row = COUNT.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, numbers[0], numbers[1], row), 19_808).into()
}

/// Tries these rows, two at a time, and names those that are not as expected.
fn try_those(wanted: impl Fn(&Row) -> bool + Send) {
    let stage = Stage::new();
    let rows = Mutex::new(table().into_iter().filter(wanted));
    let failed = Mutex::new(Vec::new());
    let try_all = || {
        loop {
            let next = rows.lock().unwrap().next();
            let Some(row) = next else {
                return;
            };
            let trial = AssertUnwindSafe(|| stage.try_on(&row));
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
    try_those(|row| row.needs != Needs::FakeTime);
}

/// Where libfaketime is: `make chaos`.
#[test]
fn a_wall_clock_that_is_wrong_changes_nothing() {
    assert!(
        !livenessprobe().is_shipped(),
        "a static binary loads no library"
    );
    try_those(|row| row.needs == Needs::FakeTime);
}
