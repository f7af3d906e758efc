//! A machine without /dev/urandom, without getrandom(2), or without both.

use std::process::Command;

use testkit::machine::in_namespaces;
use testkit::seccomp::refuse;
use testkit::{Dir, Driver, Sidecar, h2};

use super::support::livenessprobe;

const NEITHER: &str =
    "no source of random bytes: getrandom(2) is refused and /dev/urandom cannot be read";

const SERVE: &str = "--http-endpoint=127.0.0.1:0";

/// Keeps the exit code of the sidecar, and prints its last words after its output.
const AND_ITS_LAST_WORDS: &str = "{ \"$@\"; code=$?; cat /dev/termination-log; exit $code; }";

/// Returns a command line that runs the sidecar with this flag in a mount namespace. /dev is
/// empty there, except for the file of the last words.
fn in_an_empty_dev(dir: &Dir, flag: &str, and_then: &str) -> Option<Command> {
    let mut command = in_namespaces(&["--mount"])?;
    let program = livenessprobe().command();
    let empty = "mount -t tmpfs none /dev && : > /dev/termination-log";
    command
        .args(["sh", "-c", &format!("{empty} && {and_then}"), "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .arg(format!("--csi-address={}", dir.socket()))
        .arg(flag);
    Some(command)
}

#[test]
fn it_runs_without_dev_urandom() {
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
fn it_runs_without_getrandom() {
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

/// Rust's hash tables need random bytes and panic without them, which would look like a bug of
/// the sidecar.
#[test]
fn without_both_the_start_ends_with_the_cause() {
    let dir = Dir::new();
    let Some(mut command) = in_an_empty_dev(&dir, SERVE, AND_ITS_LAST_WORDS) else {
        return;
    };
    refuse(&mut command, &[libc::SYS_getrandom], libc::ENOSYS);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    let line = format!("\"Cannot run\" err=\"{NEITHER}\"");
    assert_eq!(err.matches(&line).count(), 1, "{err}");
    assert!(!err.to_lowercase().contains("panic"), "{err}");
    // It ends before it listens.
    assert!(!err.contains("Listening"), "{err}");
    let last_words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(last_words, format!("{NEITHER}\n"));
}

/// `--once` runs in the driver's container, so it must not write that container's last words.
#[test]
fn without_both_once_ends_with_the_cause() {
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

/// The replaced function is used only if the linker leaves out its whole object file.
#[test]
fn the_function_of_abseil_is_not_linked() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_livenessprobe")).unwrap();
    assert!(h2::contains(&bytes, b"ReadSeedMaterialFromOSEntropy"));
    // This function is in the same object file, and no code that is linked names it.
    assert!(!h2::contains(&bytes, b"GetSaltMaterial"));
}
