//! A machine without a source of random bytes: no /dev/urandom, no getrandom(2), neither.

use std::process::Command;

use testkit::machine::in_namespaces;
use testkit::seccomp::refuse;
use testkit::{Dir, Driver, Sidecar, h2};

use super::support::livenessprobe;

const NEITHER: &str =
    "no source of random bytes: getrandom(2) is refused and /dev/urandom cannot be read";

const SERVE: &str = "--http-endpoint=127.0.0.1:0";

/// Keeps the sidecar's exit code, and prints what is in the file of last words behind its output.
const AND_ITS_LAST_WORDS: &str = "{ \"$@\"; code=$?; cat /dev/termination-log; exit $code; }";

/// A script that runs the sidecar, with this flag for its last, in a mount namespace in which
/// /dev is empty but for the file of last words.
fn in_an_empty_dev(dir: &Dir, flag: &str, and_then: &str) -> Option<Command> {
    let mut command = in_namespaces(&["--mount"])?;
    let product = livenessprobe().command();
    let empty = "mount -t tmpfs none /dev && : > /dev/termination-log";
    command
        .args(["sh", "-c", &format!("{empty} && {and_then}"), "sh"])
        .arg(product.get_program())
        .args(product.get_args())
        .arg(format!("--csi-address={}", dir.socket()))
        .arg(flag);
    Some(command)
}

#[test]
fn no_dev_urandom_is_no_obstacle() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let Some(mut command) = in_an_empty_dev(&dir, SERVE, "exec \"$@\"") else {
        return;
    };
    let sidecar = Sidecar::run(&mut command);
    for _ in 0..3 {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
}

#[test]
fn no_getrandom_is_no_obstacle_either() {
    for error in [libc::ENOSYS, libc::EPERM] {
        let dir = Dir::new();
        let _driver = Driver::start(&dir.socket(), &[]);
        let mut command = livenessprobe().serving(&dir.socket());
        refuse(&mut command, &[libc::SYS_getrandom], error);
        let sidecar = Sidecar::run(&mut command);
        for _ in 0..3 {
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "{error}");
        }
    }
}

/// Rust's hash tables need random bytes, and panic without. That is no bug of this program's.
#[test]
fn neither_ends_the_start_with_its_cause() {
    let dir = Dir::new();
    let Some(mut command) = in_an_empty_dev(&dir, SERVE, AND_ITS_LAST_WORDS) else {
        return;
    };
    refuse(&mut command, &[libc::SYS_getrandom], libc::ENOSYS);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    let naming = format!("\"Cannot run\" err=\"{NEITHER}\"");
    assert_eq!(err.matches(&naming).count(), 1, "{err}");
    assert!(!err.to_lowercase().contains("panic"), "{err}");
    // It ends before it takes a port.
    assert!(!err.contains("Listening"), "{err}");
    let last_words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(last_words, format!("{NEITHER}\n"));
}

/// It runs in the driver's container, whose last words are the driver's own.
#[test]
fn neither_is_why_once_cannot_run() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let Some(mut command) = in_an_empty_dev(&dir, "--once", AND_ITS_LAST_WORDS) else {
        return;
    };
    refuse(&mut command, &[libc::SYS_getrandom], libc::ENOSYS);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{NEITHER}\n")
    );
}

/// The function is ours only if the object file of the archive is left out: all of it.
#[test]
fn abseil_s_own_way_is_not_linked() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_livenessprobe")).unwrap();
    assert!(h2::contains(&bytes, b"ReadSeedMaterialFromOSEntropy"));
    // Of the same object, and named by nothing that is linked.
    assert!(!h2::contains(&bytes, b"GetSaltMaterial"));
}
