//! The metrics, in Prometheus' text format 0.0.4: upstream's two families with
//! their names, labels, buckets and words. The owner of the package prometheus.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, HistogramOpts, HistogramVec, Registry, TextEncoder};

use crate::probe::Code;

/// What Go's client library announces for this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// csi-lib-utils' buckets, in seconds; the last, +Inf, comes by itself.
const BUCKETS: [f64; 13] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0,
];

const LABELS: [&str; 3] = ["driver_name", "grpc_status_code", "method_name"];

/// How many codes that gRPC does not define get a label of their own. A driver
/// may send any number; each label is a series that is never freed.
const FOREIGN_CODES_MAX: usize = 8;
const FOREIGN_CODE: &str = "Code(other)";

/// All families.
pub struct Metrics {
    registry: Registry,
    operations: HistogramVec,
    foreign_codes: Mutex<BTreeSet<Code>>,
}

impl Metrics {
    /// The families, empty but for the process' start.
    ///
    /// # Errors
    ///
    /// When a family is not well-formed, which none of these constants is.
    pub fn new(started: SystemTime) -> Result<Metrics, prometheus::Error> {
        let operations = HistogramVec::new(
            HistogramOpts::new(
                "csi_sidecar_operations_seconds",
                "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
            )
            .buckets(BUCKETS.to_vec()),
            &LABELS,
        )?;
        let start_time = Gauge::new(
            "process_start_time_seconds",
            "[ALPHA] Start time of the process since unix epoch in seconds.",
        )?;
        start_time.set(
            started
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
        );
        let registry = Registry::new();
        registry.register(Box::new(operations.clone()))?;
        registry.register(Box::new(start_time))?;
        Ok(Metrics {
            registry,
            operations,
            foreign_codes: Mutex::default(),
        })
    }

    /// Takes in one gRPC call.
    pub fn called(&self, driver: &str, method: &str, code: Code, took: Duration) {
        let code = self.label(code);
        self.operations
            .with_label_values(&[driver, &code, method])
            .observe(took.as_secs_f64());
    }

    fn label(&self, code: Code) -> String {
        if !code.is_defined() {
            let mut codes = self
                .foreign_codes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if codes.len() < FOREIGN_CODES_MAX {
                codes.insert(code);
            }
            if !codes.contains(&code) {
                return FOREIGN_CODE.to_owned();
            }
        }
        code.to_string()
    }

    /// The text of all families.
    ///
    /// # Errors
    ///
    /// When the encoder refuses a family.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_are_upstream_s() {
        let started = UNIX_EPOCH + Duration::from_millis(1_795_165_932_250);
        let metrics = Metrics::new(started).unwrap();
        metrics.called(
            "hostpath.csi.k8s.io",
            "/csi.v1.Identity/Probe",
            Code::OK,
            Duration::from_millis(125),
        );
        assert_eq!(
            metrics.render().unwrap(),
            include_str!("../tests/data/upstream_families.txt")
        );
    }

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let metrics = Metrics::new(UNIX_EPOCH).unwrap();
        metrics.called("a\"b\\c\nd", "/m", Code(99), Duration::ZERO);
        let text = metrics.render().unwrap();
        assert!(text.contains(
            r#"{driver_name="a\"b\\c\nd",grpc_status_code="Code(99)",method_name="/m"} 1"#
        ));
    }

    #[test]
    fn codes_that_grpc_does_not_define_are_few() {
        let metrics = Metrics::new(UNIX_EPOCH).unwrap();
        for code in 0..1_000 {
            metrics.called("d", "/m", Code(code), Duration::ZERO);
        }
        let text = metrics.render().unwrap();
        assert_eq!(text.matches("_count{").count(), 17 + FOREIGN_CODES_MAX + 1);
        assert!(text.contains("\"Code(17)\""));
        assert!(text.contains(
            "_count{driver_name=\"d\",grpc_status_code=\"Code(other)\",method_name=\"/m\"} 975"
        ));
    }
}
