//! `csi_sidecar_operations_seconds`, the family that all of Kubernetes' CSI sidecars have: how long
//! each call took, by driver, method and status code.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use program::threads::lock;
use prometheus::{Error, HistogramOpts, HistogramVec};

use super::Metrics;

/// csi-lib-utils' buckets, in seconds; the last, +Inf, comes by itself.
const BUCKETS: [f64; 13] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0,
];

/// The label with the driver's name.
pub const DRIVER: &str = "driver_name";

/// How many codes that gRPC does not define get a label of their own. A driver may send any
/// number, and each label is a series that is never freed.
const FOREIGN_CODES_MAX: usize = 8;
const FOREIGN_CODE: &str = "Code(other)";

/// The family.
#[derive(Clone)]
pub struct Operations {
    histogram: HistogramVec,
}

impl Operations {
    /// Adds the family. `further` are labels of this program behind those that all sidecars have,
    /// such as `migrated`.
    ///
    /// # Errors
    ///
    /// When it is there already.
    pub fn register(metrics: &Metrics, further: &[&str]) -> Result<Operations, Error> {
        let histogram = HistogramVec::new(
            HistogramOpts::new(
                "csi_sidecar_operations_seconds",
                "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
            )
            .buckets(BUCKETS.to_vec()),
            &[&[DRIVER, "grpc_status_code", "method_name"], further].concat(),
        )?;
        metrics.register(histogram.clone())?;
        Ok(Operations { histogram })
    }

    /// Records the calls of one driver.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder {
            histogram: self.histogram.clone(),
            foreign_codes: Arc::default(),
        }
    }
}

/// A call that has ended.
pub struct Call<'a, Code> {
    /// The driver's name, as far as it is known.
    pub driver: &'a str,
    /// The path of the method.
    pub method: &'a str,
    /// The status code, displayed by its name in Go.
    pub code: Code,
    /// Whether gRPC defines the code.
    pub is_defined: bool,
    /// The values of the program's further labels.
    pub further: &'a [&'a str],
    /// How long it took.
    pub took: Duration,
}

/// Records the calls of one driver.
#[derive(Clone)]
pub struct Recorder {
    histogram: HistogramVec,
    foreign_codes: Arc<Mutex<BTreeSet<String>>>,
}

impl Recorder {
    /// Records a call.
    pub fn record<Code: Display>(&self, call: &Call<'_, Code>) {
        let code = self.label(call.code.to_string(), call.is_defined);
        let labels = [&[call.driver, &code, call.method], call.further].concat();
        self.histogram
            .with_label_values(&labels)
            .observe(call.took.as_secs_f64());
    }

    fn label(&self, code: String, is_defined: bool) -> String {
        if is_defined {
            return code;
        }
        let mut codes = lock(&self.foreign_codes);
        if codes.len() < FOREIGN_CODES_MAX {
            codes.insert(code.clone());
        }
        if codes.contains(&code) {
            code
        } else {
            FOREIGN_CODE.to_owned()
        }
    }
}
