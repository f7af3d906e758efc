//! The sidecar under valgrind and strace, for what `unsafe` stands on: no byte is
//! read that was not written or is not there, nothing is lost, and a socket that is
//! handed to C-core is closed once. `make memcheck` runs these.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::faulty_driver::{Behaviour, FaultyDriver};
use testkit::misconduct::{MISCONDUCT, RESETS};
use testkit::{Dir, Driver, Sidecar, eventually};

use super::support::livenessprobe;

/// Under valgrind a healthy answer takes a tenth of a second, and each driver that
/// is silent costs this.
const TIMEOUT: &str = "--probe-timeout=3s";

/// A sidecar under a tool, which keeps its process id.
fn under(tool: &[&str], csi_address: &str) -> Sidecar {
    let mut command = Command::new(tool[0]);
    command
        .args(&tool[1..])
        .arg(livenessprobe().binary())
        .arg(format!("--csi-address={csi_address}"))
        .args(["--http-endpoint=127.0.0.1:0", TIMEOUT]);
    Sidecar::run(&mut command)
}

/// Whatever a driver and its socket can be, and each question.
fn lead_a_life(sidecar: &Sidecar, dir: &Dir) {
    assert_eq!(sidecar.healthz().status, 500, "no socket");
    let actor = FaultyDriver::listen(Path::new(&dir.socket()));
    for (what, behaviour, words) in MISCONDUCT.iter().chain(RESETS) {
        actor.set(behaviour.clone());
        let response = sidecar.get("/healthz?verbose");
        assert_eq!(response.status, 500, "{what}: {response:?}");
        assert!(response.body.contains(words), "{what}: {response:?}");
        actor.set(Behaviour::Healthy);
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "after {what}");
    }
    actor.close();
    assert_eq!(sidecar.healthz().status, 500, "nobody listens");
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

/// Stops it, and gives what the tool wrote about it.
fn told_at_the_end(mut sidecar: Sidecar, file: &Path) -> String {
    sidecar.process.signal(libc::SIGTERM);
    let status = sidecar.process.wait();
    let told = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{told}");
    told
}

fn in_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(name)
}

#[test]
#[ignore = "needs valgrind: make memcheck"]
fn memory_is_used_as_it_may_be() {
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
    lead_a_life(&sidecar, &dir);
    let told = told_at_the_end(sidecar, &file);
    println!("{told}");
    assert!(told.contains("ERROR SUMMARY: 0 errors"), "{told}");
    assert!(told.contains("HEAP SUMMARY"), "{told}");
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
    lead_a_life(&sidecar, &dir);
    let pid = sidecar.pid;
    told_at_the_end(sidecar, &file);
    // strace is a process of its own, and ends when it has written this.
    let (mut told, end) = (String::new(), format!("{pid} +++ exited with 0 +++"));
    eventually("the end of strace's log", || {
        told = std::fs::read_to_string(&file).unwrap_or_default();
        told.contains(&end)
    });
    let connected = told
        .lines()
        .filter(|line| line.contains("connect("))
        .count();
    let closed = told.lines().filter(|line| line.contains("close(")).count();
    println!("{connected} connections, {closed} descriptors closed");
    assert!(connected > 2 * (MISCONDUCT.len() + RESETS.len()));
    let twice: Vec<&str> = told.lines().filter(|line| line.contains("EBADF")).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
