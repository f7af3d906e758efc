//! The metrics as a scrape returns them.

use std::time::{SystemTime, UNIX_EPOCH};

use testkit::{Dir, Driver, eventually};

use super::support::livenessprobe;

/// Returns the value of a series in a scrape.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

#[test]
fn upstream_s_families_are_as_recorded_line_by_line() {
    // These are the families that csi-lib-utils' own test expects (metrics_test.go), for this
    // driver and method. Numbers have the form of this program: 1795165932.25, which Go's
    // library writes as 1.79516593225e+09.
    const RECORDED: &str = include_str!("../data/upstream_families.txt");
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--name=hostpath.csi.k8s.io"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);

    // The values differ in each run.
    let series = |line: &str| match line.rsplit_once(' ') {
        Some((series, value)) if !line.starts_with('#') => {
            assert!(value.parse::<f64>().is_ok(), "{line}");
            series.to_owned()
        }
        _ => line.to_owned(),
    };
    let expected: Vec<String> = RECORDED.lines().map(series).collect();
    let text = sidecar.get("/metrics").body;
    let found: Vec<String> = text
        .lines()
        .filter(|line| {
            line.contains("csi_sidecar_operations_seconds")
                || line.contains("process_start_time_seconds")
        })
        // The call for the name is counted before the name is known; see below.
        .filter(|line| !line.contains("unknown-driver"))
        .map(series)
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn calls_are_counted_by_driver_code_and_method() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &["--name=metrics.example"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
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
        // The name was not known yet, as in upstream's metrics.
        count("unknown-driver", "OK", "GetPluginInfo") + " 1",
        "# TYPE process_start_time_seconds gauge".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    // A driver that is not ready has replied OK, an error is counted by its code, and a
    // failed connect is not a call.
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
fn the_content_type_is_that_of_the_text_format() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--metrics-path=/m/etrics"]);
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
fn the_start_time_is_that_of_the_process() {
    let dir = Dir::new();
    let before = now();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let after = now();
    let text = sidecar.get("/metrics").body;
    let started = value(&text, "process_start_time_seconds").unwrap();
    assert!(before <= started && started <= after, "{started}");
}

#[test]
fn the_driver_s_state_changes_with_its_probes() {
    const SUCCESS: &str = "csi_sidecar_probe_success{driver_name=\"state.example\"}";
    const LAST: &str =
        "csi_sidecar_probe_last_success_timestamp_seconds{driver_name=\"state.example\"}";
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    // There has been no probe, so there are no series.
    let text = sidecar.get("/metrics").body;
    assert!(!text.contains("csi_sidecar_probe_"), "{text}");

    assert_eq!(sidecar.healthz().status, 500);
    // The response comes before the deadline, and the probe ends at the deadline.
    let failed =
        "csi_sidecar_connect_failures_total{driver_name=\"unknown-driver\",reason=\"not_found\"}";
    eventually("a failed connection in the metrics", || {
        value(&sidecar.get("/metrics").body, failed) == Some(1.0)
    });
    let text = sidecar.get("/metrics").body;
    assert_eq!(
        value(
            &text,
            "csi_sidecar_probe_success{driver_name=\"unknown-driver\"}"
        ),
        Some(0.0)
    );
    assert!(!text.contains("last_success"), "{text}");

    let mut driver = Driver::start(&dir.socket(), &["--name=state.example"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    let before = now();
    assert_eq!(sidecar.healthz().status, 200);
    let after = now();
    let text = sidecar.get("/metrics").body;
    assert_eq!(value(&text, SUCCESS), Some(1.0));
    let last = value(&text, LAST).unwrap();
    assert!(before <= last && last <= after, "{before} {last} {after}");
    // The gauges have the name now. The counter keeps the label that it was counted with.
    assert_eq!(
        text.matches("csi_sidecar_probe_success{").count(),
        1,
        "{text}"
    );
    assert_eq!(value(&text, failed), Some(1.0));

    driver.process.kill();
    let mut driver = Driver::start(&dir.socket(), &["--not-ready"]);
    assert_eq!(sidecar.healthz().status, 500);
    let text = sidecar.get("/metrics").body;
    assert_eq!(value(&text, SUCCESS), Some(0.0));
    assert_eq!(value(&text, LAST), Some(last));

    driver.process.kill();
    assert_eq!(sidecar.healthz().status, 500);
    eventually("a refused connection in the metrics", || {
        let refused =
            "csi_sidecar_connect_failures_total{driver_name=\"state.example\",reason=\"refused\"}";
        value(&sidecar.get("/metrics").body, refused) == Some(1.0)
    });
}

#[test]
fn the_metrics_of_the_process_are_those_of_the_kernel() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.get("/metrics");
    let text = sidecar.get("/metrics").body;
    let resident = value(&text, "process_resident_memory_bytes").unwrap() / 1024.0;
    let kernel = f64::from(u32::try_from(sidecar.status("VmRSS")).unwrap());
    assert!((resident - kernel).abs() < 512.0, "{resident} {kernel} KiB");

    // The connection of the scrape is open while it is counted.
    let counted = value(&text, "process_open_fds").unwrap();
    let open = f64::from(u32::try_from(sidecar.descriptors()).unwrap());
    assert!((open..=open + 8.0).contains(&counted), "{counted} {open}");

    // The kernel counts in hundredths of a second, so the test scrapes until there is one.
    let mut last = value(&text, "process_cpu_seconds_total").unwrap();
    eventually("a hundredth of a second of work", || {
        let text = sidecar.get("/metrics").body;
        let cpu = value(&text, "process_cpu_seconds_total").unwrap();
        assert!(cpu >= last, "{cpu} after {last}");
        last = cpu;
        cpu > 0.0
    });
    // The loop ends with the first hundredth.
    assert!(last < 0.5, "{last} s");
}

#[test]
fn the_build_is_the_one_that_version_prints() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let version = livenessprobe().command().arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let (version, revision) = version
        .trim_end()
        .strip_prefix("livenessprobe ")
        .and_then(|rest| rest.strip_suffix(')')?.split_once(" ("))
        .unwrap();
    let series =
        format!("livenessprobe_build_info{{revision=\"{revision}\",version=\"{version}\"}}");
    assert_eq!(value(&sidecar.get("/metrics").body, &series), Some(1.0));
}

#[test]
fn a_name_that_is_far_too_long_is_cut() {
    let dir = Dir::new();
    let name = "n".repeat(5_000);
    let _driver = Driver::start(&dir.socket(), &[&format!("--name={name}")]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);
    let text = sidecar.get("/metrics").body;
    let cut = format!("{{driver_name=\"{}... (4874 bytes more)\"", &name[..126]);
    assert!(text.contains(&cut), "{text}");
    assert!(!text.contains(&name[..127]), "{text}");
}
