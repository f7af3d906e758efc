//! A driver that is watched: its probes, its name, and how metrics and log report them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use csi::identity::GET_PLUGIN_INFO;
use csi::{Caller, CsiAddress};
use program::duration;
use program::log_throttle::LogThrottle;
use program::threads::lock;

use crate::driver_name::DriverName;
use crate::method::Method;
use crate::metrics::{DriverMetrics, Families};
use crate::outcome::{ProbeError, Readiness, Report};
use crate::probe::{self, Phase};
use crate::shared_probe::{Answer, Events, Patience, SharedProbe};
use crate::verdict::Details;

/// A driver that is watched.
pub struct Driver {
    /// Its probes.
    pub probe: SharedProbe,
    name: DriverName,
    address: String,
    path: String,
}

/// How drivers are watched.
pub struct Watch<'a> {
    /// The gRPC method that is called.
    pub method: &'a Method,
    /// One deadline over connect and call.
    pub timeout: Duration,
    /// gRPC.
    pub caller: &'a Arc<Caller>,
    /// The metrics about drivers.
    pub metrics: &'a Families,
    /// Called when a probe has not ended long after its deadline.
    pub stuck: fn(&str),
}

impl Watch<'_> {
    /// Watches the driver at `address`, whose health is served at `path`. It goes by `name` until
    /// it has given its own.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn begin(
        &self,
        address: &CsiAddress,
        name: DriverName,
        path: &str,
    ) -> Result<Driver, String> {
        let metrics = Arc::new(self.metrics.of_driver(name.clone()));
        if self.method.is_csi() {
            let metrics = Arc::clone(&metrics);
            name.learn(
                address.clone(),
                Arc::clone(self.caller),
                self.timeout,
                move |code, took| metrics.called(GET_PLUGIN_INFO.name, code, took),
            )?;
        }
        let events = Events {
            ended: Box::new(on_report(self.method, address, name.clone(), metrics)),
            stuck: Box::new(self.stuck),
        };
        let probe = {
            let (caller, method) = (Arc::clone(self.caller), self.method.clone());
            let address = address.clone();
            move |moments, phase: &mut dyn FnMut(Phase)| {
                probe::probe(&caller, &method, &address, moments, phase)
            }
        };
        Ok(Driver {
            probe: SharedProbe::start(
                address.clone(),
                self.method.path(),
                Box::new(probe),
                events,
                Patience::default(),
            )?,
            name,
            address: address.to_string(),
            path: path.to_owned(),
        })
    }
}

impl Driver {
    /// The path at which its health is served.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The details for `?verbose`.
    #[must_use]
    pub fn details(&self, answer: &Answer) -> Details {
        Details {
            driver: self.name.get().to_owned(),
            address: self.address.clone(),
            took: answer.took,
            last_success: answer.last_success.map(|at| at.elapsed()),
            now: SystemTime::now(),
        }
    }
}

/// Counts and logs each probe that ends.
fn on_report(
    method: &Method,
    address: &CsiAddress,
    name: DriverName,
    metrics: Arc<DriverMetrics>,
) -> impl Fn(&Report) + Send + use<> {
    let (method, address) = (method.path(), address.to_string());
    let log = Mutex::new(LogThrottle::new());
    move |report| {
        if let Some((code, took)) = report.rpc {
            metrics.called(method, code, took);
        }
        metrics.probed(&report.outcome, SystemTime::now());
        name.probed(report.outcome.is_ok());
        let mut log = lock(&log);
        log_report(&mut log, report, &address, name.get());
    }
}

fn log_report(log: &mut LogThrottle, report: &Report, address: &str, driver: &str) {
    let took = duration::format_to(report.took, Duration::from_micros(1));
    log::debug!(
        outcome = format!("{:?}", report.outcome), took = took.as_str(), driver = driver;
        "Probe ended"
    );
    let lasting = match &report.outcome {
        Ok(Readiness::Ready) => None,
        Ok(readiness) => Some(readiness.to_string()),
        Err(ProbeError::Connect(error)) => Some(error.cause.clone()),
        // The code and not the message, which may differ each time.
        Err(ProbeError::Call(error)) => Some(error.code.to_string()),
    };
    let Some(line) = log.is_worth_a_line(lasting.as_deref(), Instant::now()) else {
        return;
    };
    // A pair without a value is left out.
    let suppressed = (line.suppressed > 0).then_some(line.suppressed);
    match &report.outcome {
        Ok(Readiness::Ready) => {
            log::info!(address = address, driver = driver, failures_not_logged = suppressed; "Driver is healthy");
        }
        Ok(readiness) => {
            // "Driver responded but is not ready"
            let words = readiness.to_string().replacen('d', "D", 1);
            log::warn!(address = address, driver = driver, failures_not_logged = suppressed; "{words}");
        }
        Err(error) => {
            log::error!(
                err = error.to_string(), phase = error.phase(), address = address, driver = driver,
                took = took, failures_not_logged = suppressed;
                "Probe failed"
            );
        }
    }
}
