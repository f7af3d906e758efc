//! The watchdog: a gRPC that does not end a call ends the process, because
//! nothing else can; a process that was merely stopped goes on.

use std::time::{Duration, Instant};

use testkit::sys::FrozenThread;
use testkit::{Dir, Driver, LATENESS, eventually};

use super::support::livenessprobe;

#[test]
fn a_wedged_grpc_ends_the_process_and_its_clients_never_wait_for_it() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let timeout = Duration::from_secs(1);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);

    // The thread that every call's end comes through.
    let frozen = FrozenThread::freeze(sidecar.threads_named("grpc-0")[0]);
    let wedged = Instant::now();
    for _ in 0..2 {
        let response = sidecar.healthz();
        assert_eq!(response.status, 500);
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        assert!(response.took < timeout + LATENESS, "{response:?}");
    }
    // A traced thread must be reaped by its tracer before the process can be.
    eventually("the end of the process", || {
        frozen.reap();
        !sidecar.process.is_running()
    });
    let ended = wedged.elapsed();
    assert_eq!(sidecar.process.wait().code(), Some(1));
    assert!(ended >= timeout + Duration::from_secs(10), "{ended:?}");
    assert!(ended < timeout + Duration::from_secs(12), "{ended:?}");
    let log = sidecar.log();
    assert!(log.contains("a gRPC call to"), "{log}");
}

#[test]
fn a_process_that_was_stopped_longer_than_that_goes_on() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let asked = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    sidecar.process.freeze();
    // Longer than the deadline and the watchdog's ten seconds.
    std::thread::sleep(Duration::from_secs(13));
    sidecar.process.thaw();
    asked.join().unwrap();
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert!(sidecar.process.is_running());
}
