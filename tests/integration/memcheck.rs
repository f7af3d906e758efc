//! The sidecar under valgrind and strace, which check what the code with `unsafe` relies on:
//! every byte that is read has been written, no memory is leaked, and C-core closes a socket
//! that it was given once. `make memcheck` runs these tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::faulty_driver::{Behaviour, FaultyDriver};
use testkit::misconduct::{MISCONDUCT, RESETS};
use testkit::{Dir, Driver, Sidecar, eventually};

use super::support::livenessprobe;

/// Under valgrind a healthy response takes a tenth of a second, and one from a driver that is
/// silent takes this long.
const TIMEOUT: &str = "--probe-timeout=3s";

/// Starts a sidecar under a tool that execs it, so that the process id stays the same.
fn under(tool: &[&str], csi_address: &str) -> Sidecar {
    let mut command = Command::new(tool[0]);
    command
        .args(&tool[1..])
        .arg(livenessprobe().binary())
        .arg(format!("--csi-address={csi_address}"))
        .args(["--http-endpoint=127.0.0.1:0", TIMEOUT]);
    Sidecar::run(&mut command)
}

/// Goes through every fault of a driver and its socket, and every path.
fn go_through_all_faults(sidecar: &Sidecar, dir: &Dir) {
    assert_eq!(sidecar.healthz().status, 500, "no socket");
    let driver = FaultyDriver::listen(Path::new(&dir.socket()));
    for (what, behaviour, words) in MISCONDUCT.iter().chain(RESETS) {
        driver.set(behaviour.clone());
        let response = sidecar.get("/healthz?verbose");
        assert_eq!(response.status, 500, "{what}: {response:?}");
        assert!(response.body.contains(words), "{what}: {response:?}");
        driver.set(Behaviour::Healthy);
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "after {what}");
    }
    driver.close();
    assert_eq!(sidecar.healthz().status, 500, "no listener");
    std::fs::remove_file(dir.socket()).unwrap();
    let _driver = Driver::start(&dir.socket(), &["--padding=8000000"]);
    assert_eq!(
        sidecar.healthz().status,
        500,
        "a reply that is far too large"
    );
    for path in ["/livez", "/readyz", "/metrics", "/nowhere"] {
        sidecar.get(path);
    }
}

/// Stops the sidecar, and returns the log of the tool.
fn log_at_the_end(mut sidecar: Sidecar, file: &Path) -> String {
    sidecar.process.signal(libc::SIGTERM);
    let status = sidecar.process.wait();
    let log = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

fn in_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(name)
}

#[test]
#[ignore = "needs valgrind: make memcheck"]
fn memory_is_used_properly_and_not_leaked() {
    let dir = Dir::new();
    let file = in_target("valgrind.log");
    let tool = [
        "valgrind",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
        "--error-exitcode=99",
        "--suppressions=tests/valgrind.supp",
        &format!("--log-file={}", file.display()),
    ];
    let sidecar = under(&tool, &dir.socket());
    go_through_all_faults(&sidecar, &dir);
    let log = log_at_the_end(sidecar, &file);
    println!("{log}");
    assert!(log.contains("ERROR SUMMARY: 0 errors"), "{log}");
    assert!(log.contains("HEAP SUMMARY"), "{log}");
}

#[test]
#[ignore = "needs strace: make memcheck"]
fn a_descriptor_is_closed_once() {
    let dir = Dir::new();
    let file = in_target("strace.log");
    let path = file.display().to_string();
    let tool = [
        "strace",
        "--daemonize",
        "--follow-forks",
        "--trace=close,connect",
        "--output",
        &path,
    ];
    let sidecar = under(&tool, &dir.socket());
    go_through_all_faults(&sidecar, &dir);
    let pid = sidecar.pid;
    log_at_the_end(sidecar, &file);
    // strace runs on for a moment, and ends when it has written this line.
    let (mut log, end) = (String::new(), format!("{pid} +++ exited with 0 +++"));
    eventually("the end of strace's log", || {
        log = std::fs::read_to_string(&file).unwrap_or_default();
        log.contains(&end)
    });
    let connected = log.lines().filter(|line| line.contains("connect(")).count();
    let closed = log.lines().filter(|line| line.contains("close(")).count();
    println!("{connected} connections, {closed} descriptors closed");
    assert!(connected > 2 * (MISCONDUCT.len() + RESETS.len()));
    let twice: Vec<&str> = log.lines().filter(|line| line.contains("EBADF")).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
