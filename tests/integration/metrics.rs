//! The metrics as they are scraped.

use super::support::{Dir, Driver, Sidecar};

#[test]
fn calls_are_counted_by_driver_code_and_method() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &["--name=metrics.example"]);
    let sidecar = Sidecar::start(&dir.socket(), &["--probe-timeout=500ms"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    for _ in 0..3 {
        assert_eq!(sidecar.healthz().status, 200);
    }
    let count = |driver: &str, code: &str, method: &str| {
        format!(
            "csi_sidecar_operations_seconds_count{{driver_name=\"{driver}\",\
             grpc_status_code=\"{code}\",method_name=\"/csi.v1.Identity/{method}\"}}"
        )
    };
    let text = sidecar.get("/metrics").body;
    for line in [
        count("metrics.example", "OK", "Probe") + " 3",
        // The start's sample has no name yet, as upstream's.
        count("unknown-driver", "OK", "GetPluginInfo") + " 1",
        "# TYPE process_start_time_seconds gauge".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    // Not ready is a call that succeeded, an error has its code, and a
    // connection that failed is no call.
    driver.process.kill();
    let mut driver = Driver::start(&dir.socket(), &["--not-ready"]);
    assert_eq!(sidecar.healthz().status, 500);
    driver.process.kill();
    let mut driver = Driver::start(&dir.socket(), &["--error=9"]);
    assert_eq!(sidecar.healthz().status, 500);
    driver.process.kill();
    std::fs::remove_file(dir.socket()).unwrap();
    assert_eq!(sidecar.healthz().status, 500);
    let text = sidecar.get("/metrics").body;
    for line in [
        count("metrics.example", "OK", "Probe") + " 4",
        count("metrics.example", "FailedPrecondition", "Probe") + " 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(
        text.matches("operations_seconds_count{").count(),
        3,
        "{text}"
    );
}

#[test]
fn the_content_type_is_the_text_format_s() {
    let dir = Dir::new();
    let sidecar = Sidecar::start(&dir.socket(), &["--metrics-path=/m/etrics"]);
    let response = sidecar.get("/m/etrics");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(
        response.header("Content-Length"),
        Some(response.body.len().to_string().as_str())
    );
    assert_eq!(sidecar.get("/metrics").status, 404);
}

#[test]
fn the_start_is_this_process_s() {
    let dir = Dir::new();
    let before = std::time::SystemTime::now();
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    let after = std::time::SystemTime::now();
    let text = sidecar.get("/metrics").body;
    let value: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("process_start_time_seconds "))
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
    };
    assert!(
        seconds(before) <= value && value <= seconds(after),
        "{value}"
    );
}
