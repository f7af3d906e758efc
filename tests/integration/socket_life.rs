//! What happens to the driver's socket, and what the next probe says of it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use testkit::machine::{in_namespaces, skipped};
use testkit::seccomp::{Call, refuse, refuse_to_connect};
use testkit::sys::{is_root, shorten_queue};
use testkit::{Dir, Driver, LATENESS, Sidecar, h2};

use super::support::livenessprobe;

/// A failing connect answers this long before the deadline.
const MARGIN: Duration = Duration::from_millis(100);

fn cannot_connect(dir: &Dir, cause: &str) -> String {
    format!("cannot connect to {}: {cause}", dir.socket())
}

#[test]
fn a_driver_that_is_not_there_is_told_of_before_the_deadline() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (
            500,
            cannot_connect(&dir, "no such file or directory").as_str()
        )
    );
    assert!(
        response.took + MARGIN >= Duration::from_secs(1),
        "{response:?}"
    );
    assert!(response.took < Duration::from_secs(1), "{response:?}");
}

#[test]
fn a_socket_that_appears_within_the_window_succeeds() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=5s"]);
    let waiting = sidecar.spawn_get("/healthz");
    // Half-way: a driver is started once the probe has begun to wait.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!waiting.is_finished());
    let _driver = Driver::start(&dir.socket(), &[]);
    let response = waiting.join().unwrap();
    assert_eq!(response.both(), (200, "ok"));
    assert!(response.took < Duration::from_secs(4), "{response:?}");
}

#[test]
fn a_socket_file_deleted_under_a_living_driver_fails() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    assert_eq!(sidecar.healthz().status, 200);
    std::fs::remove_file(dir.socket()).unwrap();
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (
            500,
            cannot_connect(&dir, "no such file or directory").as_str()
        )
    );
    assert!(driver.process.is_running());
}

#[test]
fn a_driver_that_replaced_another_is_the_one_that_answers() {
    let dir = Dir::new();
    let first = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    std::fs::remove_file(dir.socket()).unwrap();
    let second = Driver::start(&dir.socket(), &["--error=9", "--message=I am the second"]);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (
            500,
            "rpc error: code = FailedPrecondition desc = I am the second"
        )
    );
    first.has_had_probes(1);
    second.has_had_probes(1);
}

#[test]
fn a_closed_listener_fails_while_old_connections_live_on() {
    let dir = Dir::new();
    let (kept, keeper) = mpsc::channel();
    let listener = h2::serve(dir.socket().as_ref(), move |mut call| {
        let answer = h2::ok(call.stream, h2::READY);
        call.send(&answer);
        // Never closed from here.
        kept.send(call.socket).unwrap();
    });
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    let _connection = keeper.recv().unwrap();
    h2::close(&listener);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (500, cannot_connect(&dir, "connection refused").as_str())
    );
}

#[test]
fn a_socket_nobody_listens_on_is_refused() {
    let dir = Dir::new();
    drop(UnixListener::bind(dir.socket()).unwrap());
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (500, cannot_connect(&dir, "connection refused").as_str())
    );
}

#[test]
fn a_driver_that_is_frozen_runs_into_the_deadline_and_recovers() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    assert_eq!(sidecar.healthz().status, 200);
    driver.process.freeze();
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    assert!(
        response
            .body
            .starts_with("rpc error: code = DeadlineExceeded desc = "),
        "{response:?}"
    );
    assert!(
        response.took < Duration::from_secs(1) + LATENESS,
        "{response:?}"
    );
    driver.process.thaw();
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn a_driver_that_does_not_accept_is_told_of() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.socket()).unwrap();
    // Room for one connection that waits; it is taken.
    shorten_queue(&listener);
    let _waiting = std::os::unix::net::UnixStream::connect(dir.socket()).unwrap();
    // Long enough for the kernel's timers to be coarse.
    for (flag, timeout) in [
        ("--probe-timeout=600ms", Duration::from_millis(600)),
        ("--probe-timeout=3s", Duration::from_secs(3)),
    ] {
        let sidecar = livenessprobe().start(&dir.socket(), &[flag]);
        let response = sidecar.healthz();
        let cause = "the driver does not accept connections, its queue is full";
        let body = cannot_connect(&dir, cause);
        assert_eq!(response.both(), (500, body.as_str()));
        // Tried for most of the time, and told before its end.
        assert!(response.took >= timeout * 2 / 3, "{response:?}");
        assert!(response.took < timeout, "{response:?}");
    }
}

#[test]
fn a_driver_that_accepts_again_in_time_is_healthy() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.socket()).unwrap();
    shorten_queue(&listener);
    let waiting = std::os::unix::net::UnixStream::connect(dir.socket()).unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=3s"]);
    let asked = sidecar.spawn_get("/healthz");
    // For longer than one of the kernel's waits.
    std::thread::sleep(Duration::from_millis(500));
    drop(waiting);
    std::thread::spawn(move || {
        let ready = |mut call: h2::Call| {
            let answer = h2::ok(call.stream, h2::READY);
            call.send(&answer);
        };
        let count = std::sync::atomic::AtomicUsize::new(0);
        for socket in listener.incoming().map_while(Result::ok) {
            h2::converse(socket, &ready, &count);
        }
    });
    assert_eq!(asked.join().unwrap().both(), (200, "ok"));
}

/// Each of these no waiting cures, so the answer comes at once.
fn fails_at_once(sidecar: &Sidecar, body: &str) {
    let response = sidecar.healthz();
    assert_eq!(response.both(), (500, body));
    assert!(response.took < Duration::from_secs(1), "{response:?}");
}

#[test]
fn a_file_that_is_no_socket_fails_at_once() {
    let dir = Dir::new();
    std::fs::write(dir.socket(), "x").unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    fails_at_once(&sidecar, &cannot_connect(&dir, "not a socket"));
}

#[test]
fn a_directory_is_no_socket_either() {
    let dir = Dir::new();
    std::fs::create_dir(dir.socket()).unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    fails_at_once(&sidecar, &cannot_connect(&dir, "not a socket"));
}

#[test]
fn a_datagram_socket_fails_at_once() {
    let dir = Dir::new();
    let _socket = UnixDatagram::bind(dir.socket()).unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    fails_at_once(
        &sidecar,
        &cannot_connect(&dir, "protocol wrong type for socket"),
    );
}

#[test]
fn a_component_that_is_no_directory_fails_at_once() {
    let dir = Dir::new();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let path = dir.path().join("file/csi.sock").display().to_string();
    let sidecar = livenessprobe().start(&path, &[]);
    fails_at_once(
        &sidecar,
        &format!("cannot connect to {path}: not a directory"),
    );
}

#[test]
fn a_loop_of_links_fails_at_once() {
    let dir = Dir::new();
    std::os::unix::fs::symlink(dir.socket(), dir.socket()).unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    // The words are the C library's: glibc's, or musl's in what ships.
    let words = if livenessprobe().is_shipped() {
        "symbolic link loop"
    } else {
        "too many levels of symbolic links"
    };
    fails_at_once(&sidecar, &cannot_connect(&dir, words));
}

#[test]
fn a_socket_without_permission_fails_at_once() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start_without_permission(&dir);
    fails_at_once(&sidecar, &cannot_connect(&dir, "permission denied"));
}

const ALLOWED_BY_MODE: &str = "permission denied, though the socket's mode allows it: \
                               look for SELinux or AppArmor denials";

/// A sidecar's command line, of a copy that any user may run.
fn command_for_any_user(dir: &Dir) -> Command {
    let binary = dir.path().join("livenessprobe");
    std::fs::copy(livenessprobe().binary(), &binary).unwrap();
    let mut command = Command::new(&binary);
    command
        .arg(format!("--csi-address={}", dir.socket()))
        .arg("--http-endpoint=127.0.0.1:0");
    command
}

/// As SELinux's sock_file { write } does it, and AppArmor's rules without a "w".
#[test]
fn what_refuses_to_open_the_socket_as_well_is_taken_for_a_security_module() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = livenessprobe().serving(&dir.socket());
    refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
    let for_writing = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // musl adds O_LARGEFILE, which is this on x86_64, and nothing for glibc.
    let openings = [0, 0o100_000].map(|large| {
        let flags = u64::try_from(for_writing | large).unwrap();
        Call::Is(libc::SYS_openat, 2, flags)
    });
    refuse(&mut command, &openings, libc::EACCES);
    let sidecar = Sidecar::run(&mut command);
    fails_at_once(&sidecar, &cannot_connect(&dir, ALLOWED_BY_MODE));
}

#[test]
fn another_user_s_refusal_is_the_security_module_s_only_if_the_mode_allows() {
    if !is_root() {
        skipped("not root, which alone can be another user");
        return;
    }
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for (mode, cause) in [
        (0o755, "permission denied"),
        (0o770, "permission denied"),
        (0o777, ALLOWED_BY_MODE),
        (0o702, ALLOWED_BY_MODE),
    ] {
        std::fs::set_permissions(dir.socket(), PermissionsExt::from_mode(mode)).unwrap();
        let mut command = command_for_any_user(&dir);
        command.uid(65534).gid(65534);
        refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
        let sidecar = Sidecar::run(&mut command);
        fails_at_once(&sidecar, &cannot_connect(&dir, cause));
    }
}

#[test]
fn without_proc_nothing_is_claimed_of_the_mode() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let Some(mut command) = in_namespaces(&["--mount"]) else {
        return;
    };
    command
        .args(["sh", "-c", r#"mount -t tmpfs none /proc && exec "$0" "$@""#])
        .arg(livenessprobe().binary())
        .arg(format!("--csi-address={}", dir.socket()))
        .arg("--http-endpoint=127.0.0.1:0");
    refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
    let sidecar = Sidecar::run(&mut command);
    fails_at_once(&sidecar, &cannot_connect(&dir, "permission denied"));
}
