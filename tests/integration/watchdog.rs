//! The watchdog ends the process when gRPC does not end a call. A process that was only
//! stopped goes on.

use std::time::{Duration, Instant};

use testkit::sys::FrozenThread;
use testkit::{Dir, Driver, LATENESS, eventually};

use super::support::livenessprobe;
use super::support::threads::GRPC;

#[test]
fn a_stuck_grpc_ends_the_process_and_no_client_waits_for_it() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let timeout = Duration::from_secs(1);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);

    let frozen = FrozenThread::freeze(sidecar.threads_named(GRPC)[0]);
    let stuck = Instant::now();
    for _ in 0..2 {
        let response = sidecar.healthz();
        assert_eq!(response.status, 500);
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
        assert!(response.took < timeout + LATENESS, "{response:?}");
    }
    // The process cannot be reaped before its traced thread, which only the tracer can reap.
    eventually("the end of the process", || {
        frozen.reap();
        !sidecar.process.is_running()
    });
    let ended = stuck.elapsed();
    assert_eq!(sidecar.process.wait().code(), Some(1));
    assert!(ended >= timeout + Duration::from_secs(10), "{ended:?}");
    assert!(ended < timeout + Duration::from_secs(12), "{ended:?}");
    let log = sidecar.log();
    assert!(log.contains("a gRPC call to"), "{log}");
}

#[test]
fn a_process_that_was_stopped_for_longer_goes_on() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=300ms"]);
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=2s"]);
    let client = sidecar.spawn_get("/healthz");
    driver.process.out.wait_for(0, "probe begin");
    sidecar.process.freeze();
    // Longer than the deadline and the watchdog's ten seconds.
    std::thread::sleep(Duration::from_secs(13));
    sidecar.process.thaw();
    client.join().unwrap();
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert!(sidecar.process.is_running());
}
