//! Probes by other methods than CSI's: gRPC's own health service, and any method with an empty
//! request.

use testkit::{Dir, Driver};

use super::support::livenessprobe;

const HEALTH: &str = "--probe-path=/grpc.health.v1.Health/Check";

/// Starts a driver and a sidecar, and returns the status and the body of a probe.
fn probe(
    driver_address: &str,
    csi_address: &str,
    driver: &[&str],
    flags: &[&str],
) -> (u16, String, Driver) {
    let driver = Driver::start(driver_address, driver);
    let sidecar = livenessprobe().start(csi_address, flags);
    let response = sidecar.healthz();
    (response.status, response.body, driver)
}

#[test]
fn serving_is_healthy_and_other_states_are_not() {
    for (status, code, body) in [
        ("0", 500, "driver responded but its health is UNKNOWN"),
        ("1", 200, "ok"),
        ("2", 500, "driver responded but its health is NOT_SERVING"),
        (
            "3",
            500,
            "driver responded but its health is SERVICE_UNKNOWN",
        ),
        ("77", 500, "driver responded but its health is 77"),
    ] {
        let dir = Dir::new();
        let driver = [format!("--health={status}")];
        let driver: Vec<&str> = driver.iter().map(String::as_str).collect();
        let (found, text, _driver) = probe(&dir.socket(), &dir.socket(), &driver, &[HEALTH]);
        assert_eq!((found, text.as_str()), (code, body));
    }
}

#[test]
fn not_serving_is_not_taken_for_initialising() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--health=2"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[HEALTH]);
    assert_eq!(sidecar.get("/livez").status, 500);
}

#[test]
fn the_service_is_the_one_in_the_flag() {
    let dir = Dir::new();
    for (flags, line) in [
        (&[HEALTH][..], "check \"\""),
        (&[HEALTH, "--service=csi.v1"], "check \"csi.v1\""),
    ] {
        let _ = std::fs::remove_file(dir.socket());
        let (status, _, driver) = probe(&dir.socket(), &dir.socket(), &["--health=1"], flags);
        assert_eq!(status, 200);
        driver.process.out.wait_for(0, line);
    }
}

#[test]
fn a_server_without_the_service_says_so() {
    let dir = Dir::new();
    let (status, body, _driver) = probe(&dir.socket(), &dir.socket(), &[], &[HEALTH]);
    assert_eq!(status, 500);
    assert!(
        body.starts_with("rpc error: code = Unimplemented"),
        "{body}"
    );
}

#[test]
fn any_other_method_is_healthy_when_it_answers() {
    let dir = Dir::new();
    let path = "--probe-path=/csi.v1.Identity/GetPluginInfo";
    let mut driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[path]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert_eq!(driver.process.out.count("probe begin"), 0);
    let series = "grpc_status_code=\"OK\",method_name=\"/csi.v1.Identity/GetPluginInfo\"";
    assert!(sidecar.get("/metrics").body.contains(series));

    driver.process.kill();
    let _driver = Driver::start(&dir.socket(), &["--info-error=5"]);
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    assert!(
        response.body.starts_with("rpc error: code = NotFound"),
        "{response:?}"
    );
}

#[test]
fn a_hang_is_reported_with_the_name_of_the_method() {
    let dir = Dir::new();
    let _listener = std::os::unix::net::UnixListener::bind(dir.socket()).unwrap();
    let sidecar = livenessprobe().start(&dir.socket(), &[HEALTH, "--probe-timeout=300ms"]);
    let response = sidecar.healthz();
    assert!(
        response
            .body
            .contains("no answer to /grpc.health.v1.Health/Check from"),
        "{response:?}"
    );
}

#[test]
fn each_kind_of_address_works() {
    for host in ["127.0.0.1", "[::1]"] {
        if host == "[::1]" && std::net::TcpListener::bind("[::1]:0").is_err() {
            assert!(std::env::var_os("CI").is_none(), "no IPv6 in CI");
            continue;
        }
        let free = std::net::TcpListener::bind(format!("{host}:0")).unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let probed = format!("tcp://{address}");
        let (status, body, _driver) = probe(&address, &probed, &["--health=1"], &[HEALTH]);
        assert_eq!((status, body.as_str()), (200, "ok"));
    }
}
