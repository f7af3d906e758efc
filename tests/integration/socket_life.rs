//! What can happen to the driver's socket, and what the next probe reports.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use testkit::machine::{in_namespaces, skipped};
use testkit::seccomp::{Call, refuse, refuse_to_connect};
use testkit::sys::{is_root, shorten_queue};
use testkit::{Dir, Driver, Sidecar, h2};

use super::support::{assert_deadline_exceeded, livenessprobe};

/// A connect that fails is reported this long before the deadline.
const MARGIN: Duration = Duration::from_millis(100);

fn cannot_connect(dir: &Dir, cause: &str) -> String {
    format!("cannot connect to {}: {cause}", dir.socket())
}

#[test]
fn a_driver_that_is_not_there_is_reported_before_the_deadline() {
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
fn a_socket_that_appears_before_the_deadline_succeeds() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=5s"]);
    let client = sidecar.spawn_get("/healthz");
    // The driver starts while the probe waits.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!client.is_finished());
    let _driver = Driver::start(&dir.socket(), &[]);
    let response = client.join().unwrap();
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
fn a_driver_that_replaced_another_is_the_one_that_is_called() {
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
    let (kept, receiver) = mpsc::channel();
    let listener = h2::serve(dir.socket().as_ref(), move |mut call| {
        let reply = h2::ok(call.stream, h2::READY);
        call.send(&reply);
        // The driver never closes the connection.
        kept.send(call.socket).unwrap();
    });
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    let _connection = receiver.recv().unwrap();
    h2::close(&listener);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (500, cannot_connect(&dir, "connection refused").as_str())
    );
}

#[test]
fn a_socket_without_a_listener_is_refused() {
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
fn a_driver_that_is_frozen_is_reported_at_the_deadline_and_recovers() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    assert_eq!(sidecar.healthz().status, 200);
    driver.process.freeze();
    assert_deadline_exceeded(&sidecar.healthz(), Duration::from_secs(1));
    driver.process.thaw();
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn a_driver_that_does_not_accept_is_reported() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.socket()).unwrap();
    // The queue has room for one connection, which fills it.
    shorten_queue(&listener);
    let _waiting = std::os::unix::net::UnixStream::connect(dir.socket()).unwrap();
    // The kernel's timers are coarse at the longer one.
    for (flag, timeout) in [
        ("--probe-timeout=600ms", Duration::from_millis(600)),
        ("--probe-timeout=3s", Duration::from_secs(3)),
    ] {
        let sidecar = livenessprobe().start(&dir.socket(), &[flag]);
        let response = sidecar.healthz();
        let cause = "the driver does not accept connections, its queue is full";
        let body = cannot_connect(&dir, cause);
        assert_eq!(response.both(), (500, body.as_str()));
        // It tries for most of the time, and reports the cause before the deadline.
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
    let client = sidecar.spawn_get("/healthz");
    // Longer than connect(2) waits in the kernel once.
    std::thread::sleep(Duration::from_millis(500));
    drop(waiting);
    std::thread::spawn(move || {
        let ready = |mut call: h2::Call| {
            let reply = h2::ok(call.stream, h2::READY);
            call.send(&reply);
        };
        let count = std::sync::atomic::AtomicUsize::new(0);
        for socket in listener.incoming().map_while(Result::ok) {
            h2::converse(socket, &ready, &count);
        }
    });
    assert_eq!(client.join().unwrap().both(), (200, "ok"));
}

/// Checks that a probe does not wait until the deadline, because waiting would not help.
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
fn a_directory_fails_at_once() {
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
    // The words come from the C library, which is musl in the binary that ships.
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

/// Returns the command line of a copy of the sidecar that any user may run.
fn command_for_any_user(dir: &Dir) -> Command {
    let binary = dir.path().join("livenessprobe");
    std::fs::copy(livenessprobe().binary(), &binary).unwrap();
    let mut command = Command::new(&binary);
    command
        .arg(format!("--csi-address={}", dir.socket()))
        .arg("--http-endpoint=127.0.0.1:0");
    command
}

/// SELinux refuses both by sock_file { write }, and AppArmor by a rule without "w".
#[test]
fn a_refusal_to_open_the_socket_as_well_is_reported_as_a_security_module() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = livenessprobe().serving(&dir.socket());
    refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
    let for_writing = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // musl adds O_LARGEFILE, which has this value on x86_64. glibc does not.
    let openings = [0, 0o100_000].map(|large| {
        let flags = u64::try_from(for_writing | large).unwrap();
        Call::Is(libc::SYS_openat, 2, flags)
    });
    refuse(&mut command, &openings, libc::EACCES);
    let sidecar = Sidecar::run(&mut command);
    fails_at_once(&sidecar, &cannot_connect(&dir, ALLOWED_BY_MODE));
}

#[test]
fn a_refusal_to_another_user_is_reported_as_a_security_module_only_if_the_mode_allows_it() {
    if !is_root() {
        skipped("only root can start a sidecar as another user");
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
fn without_proc_nothing_is_said_about_the_mode() {
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
