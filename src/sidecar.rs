//! A sidecar that probes: its parts, from start to stop.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use front::{InFlight, ListenAddress, Reserved};
use program::exit::{self, Exit};
use program::{logging, signal};

use crate::PROGRAM;
use crate::flags::{self, MetricsAt, Options};
use crate::health_file::HealthFile;
use crate::periodic::{End, Periodic};
use crate::routes::Paths;
use crate::site::{DESCRIPTORS_OF_A_DRIVER, Site};

/// Beyond the probe's own timeout, what a stop allows a request for writing its answer.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What a stop takes at most, however long a probe may: kubelet kills a container after 30 s by
/// default, and a client that still waits has a timeout of its own.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A sidecar that probes.
pub struct Sidecar {
    in_flight: InFlight,
    probe_timeout: Duration,
    periodic: Option<Periodic>,
}

/// Why a sidecar does not serve.
pub enum NotServing {
    /// A stop came first.
    Stopped,
    /// What could not be opened or started, and why.
    Failed(String),
}

impl From<String> for NotServing {
    fn from(reason: String) -> NotServing {
        NotServing::Failed(reason)
    }
}

impl Sidecar {
    /// Opens the listeners, starts the threads, and serves. `started` is when the process did;
    /// `stops_within` waits at most so long for a stop, and says whether one has come.
    ///
    /// # Errors
    ///
    /// A stop, or what could not be opened or started.
    pub fn start(
        options: &Options,
        started: SystemTime,
        stops_within: &dyn Fn(Duration) -> bool,
    ) -> Result<Sidecar, NotServing> {
        // Before anything can fail: the file of an earlier process would go on saying "healthy".
        let file = options
            .periodic
            .as_ref()
            .and_then(|periodic| periodic.health_file.as_deref())
            .map(HealthFile::new)
            .transpose()?;
        // Listening comes next: a port that is taken must be reported before anything else
        // happens.
        let (listeners, paths) = open_listeners(options, stops_within)?;
        let site = Arc::new(Site::new(options, paths, started, die)?);
        let in_flight = InFlight::default();
        if !listeners.is_empty() {
            open_front(listeners, &site, &in_flight)?;
        }
        let periodic = options
            .periodic
            .as_ref()
            .map(|settings| start_periodic(settings, file, &site))
            .transpose()?;
        Ok(Sidecar {
            in_flight,
            probe_timeout: options.probe_timeout,
            periodic,
        })
    }

    /// Lets the requests in flight finish, as far as a client waits for their answers.
    pub fn stop(&self) {
        if let Some(periodic) = &self.periodic {
            periodic.end();
        }
        let at_most = self.probe_timeout.saturating_add(STOP_GRACE).min(STOP_MAX);
        self.in_flight.drain(at_most);
    }
}

/// Opens the listeners, each with the paths that are served there.
fn open_listeners(
    options: &Options,
    stops_within: &dyn Fn(Duration) -> bool,
) -> Result<(Vec<TcpListener>, Vec<Paths>), NotServing> {
    let mut listeners = Vec::new();
    let mut paths = Vec::new();
    let mut open = |address: &ListenAddress, health, metrics: bool| -> Result<(), NotServing> {
        const FLAGS: &str = "--health-port or --http-endpoint";
        let listener = front::open_listener(address, FLAGS, stops_within)?;
        listeners.push(listener.ok_or(NotServing::Stopped)?);
        paths.push(Paths {
            health,
            extra: options
                .extra
                .iter()
                .map(|extra| extra.name.clone())
                .collect(),
            metrics: metrics.then(|| options.metrics_path.clone()),
        });
        Ok(())
    };
    if let Some(address) = &options.health {
        let with_metrics = options.metrics == MetricsAt::WithHealth;
        open(address, true, with_metrics)?;
    }
    if let MetricsAt::Alone(address) = &options.metrics {
        open(address, false, true)?;
    }
    Ok((listeners, paths))
}

fn open_front(
    listeners: Vec<TcpListener>,
    site: &Arc<Site>,
    in_flight: &InFlight,
) -> Result<(), String> {
    let drivers = site.drivers();
    front::open(front::Settings {
        program: &PROGRAM,
        listeners,
        site: Arc::clone(site),
        reserved: Reserved {
            least: drivers * csi::DESCRIPTORS_OF_A_CALL,
            wanted: drivers * DESCRIPTORS_OF_A_DRIVER,
            advice: format!(", or probe fewer drivers (now {drivers})"),
        },
        in_flight: in_flight.clone(),
        fatal: die,
    })
}

fn start_periodic(
    settings: &flags::Periodic,
    file: Option<HealthFile>,
    site: &Arc<Site>,
) -> Result<Periodic, String> {
    let site = Arc::clone(site);
    Periodic::start(
        settings,
        file,
        move || site.probe(),
        |end| match end {
            End::GivenUp(reason) => give_up(&reason),
            End::Broken(reason) => die(&reason),
        },
    )
}

/// Ends a process that cannot go on: kubelet then restarts this sidecar. If it went on, kubelet
/// would restart the driver.
fn die(reason: &str) {
    end(
        reason,
        "Exiting, so that kubelet restarts this sidecar and not the driver",
    );
}

/// Ends a process that has seen too many failures in a row, as `--retries` asks.
fn give_up(reason: &str) {
    end(reason, "Exiting after too many failed probes in a row");
}

fn end(reason: &str, what: &str) {
    exit::write_termination_message(reason);
    log::error!(err = reason; "{what}");
    logging::flush();
    signal::exit_at_once(Exit::CANNOT_RUN);
}
