//! The metrics about drivers: their calls, their state now, and why there was no connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use csi::Code;
use front::metrics::prometheus::core::{Collector, Desc};
use front::metrics::prometheus::proto::MetricFamily;
use front::metrics::prometheus::{Error, GaugeVec, IntCounterVec, Opts};
use front::metrics::{Call, DRIVER, Metrics, Operations, Recorder, seconds};
use program::threads::lock;

use crate::driver_name::DriverName;
use crate::outcome::{Outcome, ProbeError, Readiness};

/// The families about drivers.
pub struct Families {
    operations: Operations,
    connect_failures: IntCounterVec,
    states: States,
}

impl Families {
    /// Adds the families.
    ///
    /// # Errors
    ///
    /// When a family is not well-formed, or is there already, which none of these is.
    pub fn register(metrics: &Metrics) -> Result<Families, Error> {
        let families = Families {
            operations: Operations::register(metrics, &[])?,
            connect_failures: IntCounterVec::new(
                Opts::new(
                    "csi_sidecar_connect_failures_total",
                    "Probes that ended without a connection to the CSI driver, by reason.",
                ),
                &[DRIVER, "reason"],
            )?,
            states: States::new()?,
        };
        metrics.register(families.connect_failures.clone())?;
        metrics.register(families.states.clone())?;
        Ok(families)
    }

    /// The metrics of a driver, under the name that it has at each scrape.
    #[must_use]
    pub fn of_driver(&self, name: DriverName) -> DriverMetrics {
        DriverMetrics {
            calls: self.operations.recorder(),
            connect_failures: self.connect_failures.clone(),
            state: self.states.watch(name.clone()),
            name,
        }
    }
}

/// The metrics of one driver.
pub struct DriverMetrics {
    name: DriverName,
    calls: Recorder,
    connect_failures: IntCounterVec,
    state: Arc<Mutex<State>>,
}

impl DriverMetrics {
    /// Records a gRPC call.
    pub fn called(&self, method: &str, code: Code, took: Duration) {
        self.calls.record(&Call {
            driver: self.name.get(),
            method,
            code,
            is_defined: code.is_defined(),
            further: &[],
            took,
        });
    }

    /// Records how a probe ended.
    pub fn probed(&self, outcome: &Outcome, at: SystemTime) {
        let is_ready = *outcome == Ok(Readiness::Ready);
        let mut state = lock(&self.state);
        state.is_ready = Some(is_ready);
        if is_ready {
            state.last_success = Some(at);
        }
        drop(state);
        if let Err(ProbeError::Connect(error)) = outcome {
            self.connect_failures
                .with_label_values(&[self.name.get(), error.reason.label()])
                .inc();
        }
    }
}

/// The state of a driver.
#[derive(Clone, Default)]
struct State {
    /// Whether the last probe found it ready, once there has been one.
    is_ready: Option<bool>,
    last_success: Option<SystemTime>,
}

impl State {
    fn worse(&self, other: &State) -> State {
        /// The lesser of the known values.
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        State {
            is_ready: least(self.is_ready, other.is_ready),
            last_success: least(self.last_success, other.last_success),
        }
    }
}

/// The states, exported under the names that the drivers have at the scrape. A gauge that was set
/// under "unknown-driver" would stay beside the one under the driver's name, and alert.
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
        // Held to the end, because two scrapes at once would reset each other's gauges.
        let watched = lock(&self.watched);
        self.success.reset();
        self.last_success.reset();
        // Two sockets may lead to one driver, whose state is then the worse of the two.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use csi::{ConnectError, Reason};

    use super::*;
    use crate::PROGRAM;

    const PROBE: &str = "/csi.v1.Identity/Probe";

    fn metrics(started: SystemTime) -> (Metrics, Families) {
        let metrics = Metrics::new(&PROGRAM, started).unwrap();
        let families = Families::register(&metrics).unwrap();
        (metrics, families)
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
        let (metrics, families) = metrics(UNIX_EPOCH + Duration::from_millis(1_795_165_932_250));
        let name = DriverName::default();
        name.set("hostpath.csi.k8s.io".to_owned());
        let driver = families.of_driver(name);
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
    fn the_build_is_a_family() {
        assert_eq!(
            lines_about(&metrics(UNIX_EPOCH).0, &["livenessprobe_build_info"]),
            format!(
                "# HELP livenessprobe_build_info The version and the revision of this program, as labels; always 1.\n\
                 # TYPE livenessprobe_build_info gauge\n\
                 livenessprobe_build_info{{revision=\"{}\",version=\"{}\"}} 1\n",
                PROGRAM.revision, PROGRAM.version
            )
        );
    }

    #[test]
    fn a_driver_s_state_is_exported_under_the_name_that_it_has_now() {
        const STATE: &str = "csi_sidecar_probe_";
        let (metrics, families) = metrics(UNIX_EPOCH);
        let name = DriverName::default();
        let driver = families.of_driver(name.clone());
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
        let (metrics, families) = metrics(UNIX_EPOCH);
        let driver = families.of_driver(DriverName::default());
        for reason in [Reason::Refused, Reason::NotFound, Reason::Refused] {
            let error = ConnectError {
                address: "/csi/csi.sock".to_owned(),
                cause: "a text of the C library".to_owned(),
                reason,
                is_transient: true,
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
        let (metrics, families) = metrics(UNIX_EPOCH);
        let name = DriverName::default();
        name.set("a\"b\\c\nd".to_owned());
        families
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
        let (metrics, families) = metrics(UNIX_EPOCH);
        let driver = families.of_driver(DriverName::default());
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
