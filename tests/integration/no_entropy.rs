//! A machine without a source of random bytes: no /dev/urandom, no getrandom(2), neither.

use std::process::Command;

use super::support::seccomp::refuse;
use super::support::{Dir, Driver, Sidecar, h2, in_namespaces, sidecar};

/// A script that runs the sidecar in a mount namespace in which /dev is empty but for the file
/// of last words.
fn in_an_empty_dev(dir: &Dir, and_then: &str) -> Option<Command> {
    let mut command = in_namespaces(&["--mount"])?;
    let product = sidecar::command();
    let empty = "mount -t tmpfs none /dev && : > /dev/termination-log";
    command
        .args(["sh", "-c", &format!("{empty} && {and_then}"), "sh"])
        .arg(product.get_program())
        .args(product.get_args())
        .arg(format!("--csi-address={}", dir.socket()))
        .arg("--http-endpoint=127.0.0.1:0");
    Some(command)
}

#[test]
fn no_dev_urandom_is_no_obstacle() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let Some(mut command) = in_an_empty_dev(&dir, "exec \"$@\"") else {
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
        let mut command = sidecar::command();
        command
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0");
        refuse(&mut command, &[libc::SYS_getrandom], error);
        let sidecar = Sidecar::run(&mut command);
        for _ in 0..3 {
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "{error}");
        }
    }
}

/// Rust's hash tables need random bytes, and panic without.
#[test]
fn neither_ends_the_start_with_its_cause() {
    let dir = Dir::new();
    let and_its_last_words = "{ \"$@\"; code=$?; cat /dev/termination-log; exit $code; }";
    let Some(mut command) = in_an_empty_dev(&dir, and_its_last_words) else {
        return;
    };
    refuse(&mut command, &[libc::SYS_getrandom], libc::ENOSYS);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    let cause = "failed to generate random data";
    assert!(err.contains(cause) && err.contains(".rs:"), "{err}");
    assert_eq!(err.lines().filter(|line| line.contains("Panic")).count(), 1);
    let last_words = String::from_utf8(output.stdout).unwrap();
    assert!(last_words.starts_with(cause), "{last_words}");
}

/// The function is ours only if the object file of the archive is left out: all of it.
#[test]
fn abseil_s_own_way_is_not_linked() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_livenessprobe")).unwrap();
    assert!(h2::contains(&bytes, b"ReadSeedMaterialFromOSEntropy"));
    // Of the same object, and named by nothing that is linked.
    assert!(!h2::contains(&bytes, b"GetSaltMaterial"));
}
