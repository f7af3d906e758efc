//! The metrics, in Prometheus' text format 0.0.4: upstream's two families with
//! their names, labels, buckets and words, and what else helps to see why. The
//! owner of the package prometheus.

mod driver;
mod process;

use std::time::SystemTime;

use prometheus::{Error, Gauge, Opts, Registry, TextEncoder};

pub use driver::DriverMetrics;
use driver::{Families, seconds};
use process::Process;

use crate::driver_name::DriverName;
use crate::version::{REVISION, VERSION};

/// What Go's client library announces for this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families.
pub struct Metrics {
    registry: Registry,
    drivers: Families,
}

impl Metrics {
    /// The families, empty but for what is known of the process.
    ///
    /// # Errors
    ///
    /// When a family is not well-formed, which none of these constants is.
    pub fn new(started: SystemTime) -> Result<Metrics, Error> {
        let registry = Registry::new();
        let start_time = Gauge::new(
            "process_start_time_seconds",
            "[ALPHA] Start time of the process since unix epoch in seconds.",
        )?;
        start_time.set(seconds(started));
        let build_info = Gauge::with_opts(
            Opts::new(
                "livenessprobe_build_info",
                "The version and the revision of this program, as labels; always 1.",
            )
            .const_label("version", VERSION)
            .const_label("revision", REVISION),
        )?;
        build_info.set(1.0);
        registry.register(Box::new(start_time))?;
        registry.register(Box::new(build_info))?;
        registry.register(Box::new(Process::new()?))?;
        Ok(Metrics {
            drivers: Families::register(&registry)?,
            registry,
        })
    }

    /// The metrics of a driver, under the name that it will be found to have.
    #[must_use]
    pub fn of_driver(&self, name: DriverName) -> DriverMetrics {
        DriverMetrics::new(name, self.drivers.clone())
    }

    /// The text of all families.
    ///
    /// # Errors
    ///
    /// When the encoder refuses a family.
    pub fn render(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    use crate::probe::{Code, ConnectError, ProbeError, Readiness, Reason};

    const PROBE: &str = "/csi.v1.Identity/Probe";

    fn metrics(started: SystemTime) -> Metrics {
        Metrics::new(started).unwrap()
    }

    /// The lines about these families.
    fn lines_about(metrics: &Metrics, families: &[&str]) -> String {
        let is_about = |line: &&str| {
            let name = line
                .trim_start_matches("# HELP ")
                .trim_start_matches("# TYPE ");
            families.iter().any(|family| name.starts_with(family))
        };
        let text = metrics.render().unwrap();
        let lines: Vec<&str> = text.lines().filter(is_about).collect();
        lines.join("\n") + "\n"
    }

    #[test]
    fn the_families_of_upstream_are_upstream_s() {
        let metrics = metrics(UNIX_EPOCH + Duration::from_millis(1_795_165_932_250));
        let name = DriverName::default();
        name.set("hostpath.csi.k8s.io".to_owned());
        let driver = metrics.of_driver(name);
        driver.called(PROBE, Code::OK, Duration::from_millis(125));
        assert_eq!(
            lines_about(
                &metrics,
                &[
                    "csi_sidecar_operations_seconds",
                    "process_start_time_seconds"
                ]
            ),
            include_str!("../tests/data/upstream_families.txt")
        );
    }

    #[test]
    fn the_build_is_told() {
        assert_eq!(
            lines_about(&metrics(UNIX_EPOCH), &["livenessprobe_build_info"]),
            format!(
                "# HELP livenessprobe_build_info The version and the revision of this program, as labels; always 1.\n\
                 # TYPE livenessprobe_build_info gauge\n\
                 livenessprobe_build_info{{revision=\"{REVISION}\",version=\"{VERSION}\"}} 1\n"
            )
        );
    }

    #[test]
    fn a_driver_s_state_is_told_under_the_name_that_it_has_now() {
        const STATE: &str = "csi_sidecar_probe_";
        let metrics = metrics(UNIX_EPOCH);
        let name = DriverName::default();
        let driver = metrics.of_driver(name.clone());
        assert_eq!(lines_about(&metrics, &[STATE]), "\n");

        driver.probed(&Ok(Readiness::NotReady), UNIX_EPOCH);
        let text = lines_about(&metrics, &[STATE]);
        let failing = "csi_sidecar_probe_success{driver_name=\"unknown-driver\"} 0\n";
        assert!(text.ends_with(failing), "{text}");
        assert!(!text.contains("last_success"), "{text}");

        name.set("a.example".to_owned());
        let success = UNIX_EPOCH + Duration::from_millis(1_500);
        driver.probed(&Ok(Readiness::Ready), success);
        driver.probed(&Ok(Readiness::Ready), success);
        let text = lines_about(&metrics, &[STATE]);
        for line in [
            "csi_sidecar_probe_success{driver_name=\"a.example\"} 1\n",
            "csi_sidecar_probe_last_success_timestamp_seconds{driver_name=\"a.example\"} 1.5\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("unknown-driver"), "{text}");

        // A failure leaves the last success as it was.
        let later = success + Duration::from_secs(9);
        driver.probed(&Ok(Readiness::NotReady), later);
        let text = lines_about(&metrics, &[STATE]);
        assert!(
            text.contains("success{driver_name=\"a.example\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("_seconds{driver_name=\"a.example\"} 1.5\n"),
            "{text}"
        );
    }

    #[test]
    fn failed_connections_are_counted_by_reason() {
        let metrics = metrics(UNIX_EPOCH);
        let driver = metrics.of_driver(DriverName::default());
        for reason in [Reason::Refused, Reason::NotFound, Reason::Refused] {
            let error = ConnectError {
                address: "/csi/csi.sock".to_owned(),
                cause: "whatever the C library says".to_owned(),
                reason,
                passing: true,
            };
            driver.probed(&Err(ProbeError::Connect(error)), UNIX_EPOCH);
        }
        let text = lines_about(&metrics, &["csi_sidecar_connect_failures_total{"]);
        assert_eq!(
            text,
            "csi_sidecar_connect_failures_total{driver_name=\"unknown-driver\",reason=\"not_found\"} 1\n\
             csi_sidecar_connect_failures_total{driver_name=\"unknown-driver\",reason=\"refused\"} 2\n"
        );
    }

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let metrics = metrics(UNIX_EPOCH);
        let name = DriverName::default();
        name.set("a\"b\\c\nd".to_owned());
        metrics
            .of_driver(name)
            .called("/m", Code(99), Duration::ZERO);
        let text = metrics.render().unwrap();
        assert!(text.contains(
            r#"{driver_name="a\"b\\c\nd",grpc_status_code="Code(99)",method_name="/m"} 1"#
        ));
    }

    #[test]
    fn codes_that_grpc_does_not_define_are_few() {
        const FOREIGN_CODES_MAX: usize = 8;
        let metrics = metrics(UNIX_EPOCH);
        let driver = metrics.of_driver(DriverName::default());
        for code in 0..1_000 {
            driver.called("/m", Code(code), Duration::ZERO);
        }
        let text = metrics.render().unwrap();
        assert_eq!(text.matches("_count{").count(), 17 + FOREIGN_CODES_MAX + 1);
        assert!(text.contains("\"Code(17)\""));
        assert!(text.contains(
            "_count{driver_name=\"unknown-driver\",grpc_status_code=\"Code(other)\",method_name=\"/m\"} 975"
        ));
    }
}
