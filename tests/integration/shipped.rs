//! The minimum that each binary must do before it ships: it starts, prints its version, probes
//! a real driver, survives a panic, and stops. No test here depends on time, so that all hold
//! under an emulator of another processor, too (`make try-static ARCH=arm64`).

use testkit::{Dir, Driver, Sidecar, h2};

use super::support::livenessprobe;

/// Long, because an emulator is slow.
const TIMEOUT: &str = "--probe-timeout=15s";

#[test]
fn it_prints_its_version() {
    let output = livenessprobe().command().arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let begin = concat!("livenessprobe ", env!("CARGO_PKG_VERSION"), " (");
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn it_probes_a_driver_that_is_ready_and_stops_with_0() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &[TIMEOUT]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    sidecar.process.signal(libc::SIGTERM);
    assert_eq!(sidecar.process.wait().code(), Some(0));
}

#[test]
fn it_probes_a_driver_that_is_not_ready() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--not-ready"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[TIMEOUT]);
    assert_eq!(
        sidecar.healthz().both(),
        (500, "driver responded but is not ready")
    );
}

/// The unwinder that the binary is linked with must catch a panic.
#[test]
fn it_survives_a_panic() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = match call.number {
            0 => h2::ok_without_message(call.stream),
            _ => h2::ok(call.stream, h2::READY),
        };
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[TIMEOUT]);
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    assert!(response.body.contains("gRPC panicked"), "{response:?}");
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

/// Kernels for ARM have pages of 16 KiB (Raspberry Pi 5), 32 KiB (QNAP) and 64 KiB (RHEL), and
/// a heap or a thread's stack that relies on 4 KiB fails there. This test needs an emulator
/// for them; the other processors have pages of 4 KiB.
#[test]
fn it_runs_with_larger_pages() {
    let Some(runner) = livenessprobe().runner() else {
        return;
    };
    let sizes: &[&str] = if runner.contains("-aarch64-") {
        &["16384", "32768", "65536"]
    } else if runner.contains("-arm-") {
        // With 64 KiB, qemu 7.2 fails an assertion of its own before it runs the program: the
        // end of the last page is beyond 32 bits (page_set_flags in translate-all.c).
        &["16384", "32768"]
    } else {
        return;
    };
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for size in sizes {
        let mut command = livenessprobe().serving(&dir.socket());
        command.arg(TIMEOUT).env("QEMU_PAGESIZE", size);
        let sidecar = Sidecar::run(&mut command);
        for probe in 0..1_000 {
            let response = sidecar.healthz();
            assert_eq!(response.both(), (200, "ok"), "{size}, probe {probe}");
        }
    }
}
