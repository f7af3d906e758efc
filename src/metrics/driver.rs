//! What the metrics tell of a driver: its calls, its state now, and why there
//! was no connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::driver_name::DriverName;
use crate::probe::{Code, Outcome, ProbeError, Readiness};

/// csi-lib-utils' buckets, in seconds; the last, +Inf, comes by itself.
const BUCKETS: [f64; 13] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0,
];

const DRIVER: &str = "driver_name";

/// How many codes that gRPC does not define get a label of their own. A driver
/// may send any number; each label is a series that is never freed.
const FOREIGN_CODES_MAX: usize = 8;
const FOREIGN_CODE: &str = "Code(other)";

/// The families about drivers.
#[derive(Clone)]
pub(super) struct Families {
    operations: HistogramVec,
    connect_failures: IntCounterVec,
    states: States,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Families, Error> {
        let families = Families {
            operations: HistogramVec::new(
                HistogramOpts::new(
                    "csi_sidecar_operations_seconds",
                    "[ALPHA] Container Storage Interface operation duration with gRPC error code status total",
                )
                .buckets(BUCKETS.to_vec()),
                &[DRIVER, "grpc_status_code", "method_name"],
            )?,
            connect_failures: IntCounterVec::new(
                Opts::new(
                    "csi_sidecar_connect_failures_total",
                    "Probes that ended without a connection to the CSI driver, by reason.",
                ),
                &[DRIVER, "reason"],
            )?,
            states: States::new()?,
        };
        registry.register(Box::new(families.operations.clone()))?;
        registry.register(Box::new(families.connect_failures.clone()))?;
        registry.register(Box::new(families.states.clone()))?;
        Ok(families)
    }
}

/// The metrics of one driver.
pub struct DriverMetrics {
    name: DriverName,
    families: Families,
    foreign_codes: Mutex<BTreeSet<Code>>,
    state: Arc<Mutex<State>>,
}

impl DriverMetrics {
    pub(super) fn new(name: DriverName, families: Families) -> DriverMetrics {
        let state = families.states.watch(name.clone());
        DriverMetrics {
            name,
            families,
            foreign_codes: Mutex::default(),
            state,
        }
    }

    /// Takes in one gRPC call.
    pub fn called(&self, method: &str, code: Code, took: Duration) {
        let code = self.label(code);
        self.families
            .operations
            .with_label_values(&[self.name.get(), &code, method])
            .observe(took.as_secs_f64());
    }

    /// Takes in how a probe ended.
    pub fn probed(&self, outcome: &Outcome, at: SystemTime) {
        let is_ready = *outcome == Ok(Readiness::Ready);
        let mut state = lock(&self.state);
        state.is_ready = Some(is_ready);
        if is_ready {
            state.last_success = Some(at);
        }
        drop(state);
        if let Err(ProbeError::Connect(error)) = outcome {
            self.families
                .connect_failures
                .with_label_values(&[self.name.get(), error.reason.label()])
                .inc();
        }
    }

    fn label(&self, code: Code) -> String {
        if !code.is_defined() {
            let mut codes = lock(&self.foreign_codes);
            if codes.len() < FOREIGN_CODES_MAX {
                codes.insert(code);
            }
            if !codes.contains(&code) {
                return FOREIGN_CODE.to_owned();
            }
        }
        code.to_string()
    }
}

/// How a driver is.
#[derive(Clone, Default)]
struct State {
    /// Whether the last probe found it ready, once there has been one.
    is_ready: Option<bool>,
    last_success: Option<SystemTime>,
}

impl State {
    fn worse(&self, other: &State) -> State {
        /// The lesser of those that are known.
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        State {
            is_ready: least(self.is_ready, other.is_ready),
            last_success: least(self.last_success, other.last_success),
        }
    }
}

/// The states, told under the names that the drivers have when they are asked
/// for: a gauge that had been set under "unknown-driver" would stay for ever
/// beside the one of the driver's name, and alert.
#[derive(Clone)]
struct States {
    success: GaugeVec,
    last_success: GaugeVec,
    watched: Arc<Mutex<Vec<Watched>>>,
}

type Watched = (DriverName, Arc<Mutex<State>>);

impl States {
    fn new() -> Result<States, Error> {
        Ok(States {
            success: GaugeVec::new(
                Opts::new(
                    "csi_sidecar_probe_success",
                    "Whether the last probe found the CSI driver ready (1) or not (0).",
                ),
                &[DRIVER],
            )?,
            last_success: GaugeVec::new(
                Opts::new(
                    "csi_sidecar_probe_last_success_timestamp_seconds",
                    "When a probe last found the CSI driver ready, in seconds since the unix epoch.",
                ),
                &[DRIVER],
            )?,
            watched: Arc::default(),
        })
    }

    fn watch(&self, name: DriverName) -> Arc<Mutex<State>> {
        let state = Arc::<Mutex<State>>::default();
        lock(&self.watched).push((name, Arc::clone(&state)));
        state
    }
}

impl Collector for States {
    fn desc(&self) -> Vec<&Desc> {
        [self.success.desc(), self.last_success.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end: two scrapes at once would empty each other's gauges.
        let watched = lock(&self.watched);
        self.success.reset();
        self.last_success.reset();
        // Two sockets may lead to one driver: it is as well as the worse of them.
        let mut states = BTreeMap::<&str, State>::new();
        for (name, state) in watched.iter() {
            let state = lock(state).clone();
            states
                .entry(name.get())
                .and_modify(|other| *other = other.worse(&state))
                .or_insert(state);
        }
        for (name, state) in states {
            if let Some(is_ready) = state.is_ready {
                let success = self.success.with_label_values(&[name]);
                success.set(f64::from(u8::from(is_ready)));
            }
            if let Some(time) = state.last_success {
                let last_success = self.last_success.with_label_values(&[name]);
                last_success.set(seconds(time));
            }
        }
        [self.success.collect(), self.last_success.collect()].concat()
    }
}

/// A time as Prometheus tells it.
pub(super) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// A panic of a thread that held the lock is passed over: every change under it
/// is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
