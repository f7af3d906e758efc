//! The table of environments.

use testkit::seccomp::{self, Call};

use super::{Expected, IN_A_BARE_ROOT, Needs, RUN, Row};
use crate::support::livenessprobe;

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

/// Returns all rows.
pub fn table() -> Vec<Row> {
    use Expected::{Healthy, HealthyInSilence};
    use Needs::{Mounts, Nothing, StaticAndMounts};
    let mut rows = vec![
        row("an ordinary environment", RUN, Nothing, Healthy),
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

/// All variables that C-core 1.56 reads, and those of the libraries that it uses.
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

/// System calls that a security profile may refuse or a kernel may lack, and that the sidecar
/// can do without.
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
            // glibc uses clone(2) when the kernel has no clone3, and starts no thread when it
            // is refused. musl only uses clone(2).
            if number == libc::SYS_clone3 && errno == libc::EPERM && !livenessprobe().is_shipped() {
                row.expected = Expected::Fails("gRPC cannot start its thread");
            }
            rows.push(row);
        }
    }
    rows
}

/// Profiles that refuse AF_UNIX and not TCP (containerd#12726).
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
