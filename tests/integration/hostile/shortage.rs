//! A process that runs out of descriptors or threads.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::sys::is_root;
use testkit::{Dir, Driver, Sidecar};

use crate::support::livenessprobe;
use crate::support::siege::{PROMPT, crowd, hold, lay};

#[test]
fn sixty_four_descriptors_are_enough() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::run(Command::new("sh").args([
        "-c",
        "ulimit -n 64 && exec \"$0\" \"$@\"",
        livenessprobe().binary(),
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]));
    lay(&sidecar, PROMPT, || {
        let idle = crowd(sidecar.address, 500, b"");
        let half_open = crowd(sidecar.address, 500, b"GET /healthz HTTP/1.1\r\n");
        let until = Instant::now() + hold();
        while Instant::now() < until {
            // These are 2,000 a second. With so few descriptors the sidecar accepts 3,000 a
            // second; beyond that kubelet would have to wait in the kernel's queue.
            drop(crowd(
                sidecar.address,
                20,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            ));
            std::thread::sleep(Duration::from_millis(10));
        }
        drop((idle, half_open));
    });
}

#[test]
fn a_process_without_descriptors_waits_for_one() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    // It happens at once that no descriptor is left.
    let limit = |soft: &str| {
        let status = Command::new("prlimit")
            .args([
                "--pid",
                &sidecar.process.pid().to_string(),
                &format!("--nofile={soft}:"),
            ])
            .status()
            .unwrap();
        assert!(status.success());
    };
    // All numbers below this one are taken, and poll(2) still works.
    let taken =
        |number: &u32| std::path::Path::new(&format!("/proc/{}/fd/{number}", sidecar.pid)).exists();
    let first_free = (3..1024).find(|number| !taken(number)).unwrap();
    limit(&first_free.to_string());
    let client = sidecar.spawn_get("/healthz");
    sidecar
        .process
        .err
        .wait_for(0, "Cannot accept a connection");
    limit("1024");
    assert_eq!(client.join().unwrap().both(), (200, "ok"));
}

/// A user without any other process.
const USER: u32 = 61_234;

#[test]
fn a_process_that_can_start_no_thread_still_answers() {
    if !is_root() {
        // RLIMIT_NPROC counts all processes of a user, so the sidecar needs a user of its own,
        // which only root can give it.
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=5ms"]);
    std::fs::set_permissions(dir.socket(), PermissionsExt::from_mode(0o777)).unwrap();
    let binary = dir.path().join("livenessprobe");
    std::fs::copy(livenessprobe().binary(), &binary).unwrap();
    let sidecar = Sidecar::run(
        Command::new(&binary)
            .uid(USER)
            .gid(USER)
            .arg(format!("--csi-address={}", dir.socket()))
            .args(["--http-endpoint=127.0.0.1:0", "--v=5"]),
    );
    sidecar.process.err.wait_for(0, "CSI driver name");
    lay(&sidecar, PROMPT, || {
        let limit = Command::new("prlimit")
            .uid(USER)
            .gid(USER)
            .args(["--pid", &sidecar.process.pid().to_string(), "--nproc=1:"])
            .status()
            .unwrap();
        assert!(limit.success());
        // More requests at once than threads that wait for one.
        for _ in 0..50 {
            let paths = ["/healthz", "/livez", "/readyz", "/healthz?verbose"];
            for client in paths.map(|path| sidecar.spawn_get(path)) {
                assert_eq!(client.join().unwrap().status, 200);
            }
        }
        let held = crowd(sidecar.address, 200, b"GET /");
        std::thread::sleep(hold());
        drop(held);
    });
}
