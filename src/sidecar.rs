//! The sidecar: the parts put together, and what happens between a request and
//! its reply.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::address::ListenAddress;
use crate::admission::{Door, Entrance, Late, STREAMS, UnderWay};
use crate::driver_name::DriverName;
use crate::duration;
use crate::exit::{self, Exit};
use crate::flags::{MetricsAt, Options};
use crate::health::{self, Details, Paths, Question, Route};
use crate::identity::{GET_PLUGIN_INFO, PROBE};
use crate::logging::{self, VERBOSITY_MAX};
use crate::metrics::{self, DriverMetrics, Metrics};
use crate::probe::{
    self, Answer, Caller, Events, Flights, Patience, Phase, ProbeError, Readiness, Report, Urgency,
    Window,
};
use crate::report_log::ReportLog;
use crate::server::{self, Reply, Respond};
use crate::signal;
use crate::socket;

/// Beyond the probe's own timeout, what a stop allows a request for writing its
/// answer.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A sidecar that serves.
pub struct Sidecar {
    under_way: UnderWay,
    probe_timeout: Duration,
}

/// What a request is answered with.
struct Site {
    flights: Flights,
    address: String,
    probe_timeout: Duration,
    name: DriverName,
    metrics: Metrics,
}

impl Sidecar {
    /// Opens the listeners, starts the threads, and serves. `started` is when the
    /// process did.
    ///
    /// # Errors
    ///
    /// What could not be opened or started, and why.
    pub fn start(options: &Options, started: SystemTime) -> Result<Sidecar, String> {
        // Listening comes first: it is what can fail, and a port that is taken
        // must be told before anything else happens.
        let entrances = entrances(options)?;
        let site = Arc::new(Site::new(options, started)?);
        let (listener, streams) = socket::private_listener(STREAMS)
            .map_err(|error| format!("cannot open the way to the HTTP server: {error}"))?;
        let origin = Instant::now();
        server::serve(listener, origin, site.serving(), die)?;
        let under_way = UnderWay::default();
        Door::new(
            entrances,
            streams,
            origin,
            options.probe_timeout,
            site.late(),
            under_way.clone(),
        )
        .map_err(|error| format!("cannot open the door: {error}"))?
        .open(die)?;
        Ok(Sidecar {
            under_way,
            probe_timeout: options.probe_timeout,
        })
    }

    /// Lets the requests under way finish.
    pub fn stop(&self) {
        self.under_way.drain(self.probe_timeout + STOP_GRACE);
    }
}

/// Opens the listeners, each with what is served there.
fn entrances(options: &Options) -> Result<Vec<Entrance>, String> {
    let metrics = || Some(options.metrics_path.clone());
    let mut entrances = vec![Entrance {
        listener: open(&options.health)?,
        paths: Paths {
            health: true,
            metrics: match options.metrics {
                MetricsAt::WithHealth => metrics(),
                MetricsAt::Nowhere | MetricsAt::Alone(_) => None,
            },
        },
    }];
    if let MetricsAt::Alone(address) = &options.metrics {
        entrances.push(Entrance {
            listener: open(address)?,
            paths: Paths {
                health: false,
                metrics: metrics(),
            },
        });
    }
    Ok(entrances)
}

fn open(address: &ListenAddress) -> Result<TcpListener, String> {
    let asked = address.to_string();
    let listener =
        socket::listen(address).map_err(|error| server::why_not_listening(&asked, &error))?;
    let opened = listener
        .local_addr()
        .map_or(asked, |local| local.to_string());
    log::info!(address = opened; "Listening");
    Ok(listener)
}

impl Site {
    fn new(options: &Options, started: SystemTime) -> Result<Site, String> {
        probe::log_through_us(options.verbosity == VERBOSITY_MAX);
        let caller = Arc::new(Caller::new()?);
        let metrics =
            Metrics::new(started).map_err(|error| format!("cannot set up the metrics: {error}"))?;
        let name = DriverName::default();
        let driver = Arc::new(metrics.of_driver(name.clone()));
        name.learn(
            options.csi_address.clone(),
            Arc::clone(&caller),
            options.probe_timeout,
            {
                let driver = Arc::clone(&driver);
                move |code, took| driver.called(GET_PLUGIN_INFO.name, code, took)
            },
        )?;
        let events = Events {
            ended: Box::new(on_report(options, name.clone(), driver)),
            wedged: Box::new(die),
        };
        let address = options.csi_address.clone();
        let probe = move |window, phase: &mut dyn FnMut(Phase)| {
            probe::probe(&caller, &address, window, phase)
        };
        let flights = Flights::start(
            options.csi_address.clone(),
            Box::new(probe),
            events,
            Patience::default(),
        )?;
        Ok(Site {
            flights,
            address: options.csi_address.to_string(),
            probe_timeout: options.probe_timeout,
            name,
            metrics,
        })
    }

    fn serving(self: &Arc<Site>) -> Arc<Respond> {
        let site = Arc::clone(self);
        Arc::new(move |route, arrived| match route {
            Route::Health(question) => site.health(question, arrived),
            Route::Metrics => site.metrics(),
            Route::Unknown => Reply::plain(404, "404 page not found".to_owned()),
        })
    }

    fn late(self: &Arc<Site>) -> Box<Late> {
        let site = Arc::clone(self);
        Box::new(move |route, arrived, urgency| match route {
            Route::Health(question) => {
                let window = Window::new(arrived, site.probe_timeout);
                let answer = site.flights.so_far(window, urgency)?;
                Some(site.told(question, &answer))
            }
            // Neither waits for anything but its turn.
            Route::Metrics | Route::Unknown => {
                (urgency == Urgency::Now).then(|| (503, "too many requests are waiting".to_owned()))
            }
        })
    }

    fn health(&self, question: Question, arrived: Instant) -> Reply {
        let window = Window::new(arrived, self.probe_timeout);
        let (status, body) = self.told(question, &self.flights.ask(window));
        Reply::plain(status, body)
    }

    /// Status and body for an answer, with the details that were asked for.
    fn told(&self, question: Question, answer: &Answer) -> (u16, String) {
        let (status, plain) = health::answer(question, &answer.outcome);
        if !question.verbose {
            return (status, plain);
        }
        let details = Details {
            driver: self.name.get().to_owned(),
            address: self.address.clone(),
            took: answer.took,
            last_success: answer.last_success,
            now: SystemTime::now(),
        };
        (status, health::verbose(&plain, &details))
    }

    fn metrics(&self) -> Reply {
        match self.metrics.render() {
            Ok(body) => Reply {
                status: 200,
                content_type: metrics::CONTENT_TYPE,
                body,
            },
            Err(error) => Reply::plain(500, format!("cannot render the metrics: {error}")),
        }
    }
}

/// Ends a process that cannot go on: kubelet then restarts this sidecar. Wedged,
/// it would have the driver restarted.
fn die(reason: &str) {
    exit::last_words(reason);
    log::error!(err = reason; "Exiting, so that kubelet restarts this sidecar and not the driver");
    logging::flush();
    signal::exit_at_once(Exit::CannotRun);
}

/// Counts and logs each probe that ends.
fn on_report(
    options: &Options,
    name: DriverName,
    driver: Arc<DriverMetrics>,
) -> impl Fn(&Report) + Send + use<> {
    let address = options.csi_address.to_string();
    let log = Mutex::new(ReportLog::new());
    move |report| {
        if let Some((code, took)) = report.rpc {
            driver.called(PROBE.name, code, took);
        }
        driver.probed(&report.outcome, SystemTime::now());
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log_report(&mut log, report, &address, name.get());
    }
}

fn log_report(log: &mut ReportLog, report: &Report, address: &str, driver: &str) {
    let took = duration::format_to(report.took, Duration::from_micros(1));
    log::debug!(
        outcome = format!("{:?}", report.outcome), took = took.as_str(), driver = driver;
        "Probe ended"
    );
    let lasting = match &report.outcome {
        Ok(Readiness::Ready) => None,
        Ok(Readiness::NotReady) => Some("not ready".to_owned()),
        Err(ProbeError::Connect(error)) => Some(error.cause.clone()),
        // The code, not the words: a driver's words may differ each time.
        Err(ProbeError::Call(error)) => Some(error.code.to_string()),
    };
    let Some(line) = log.is_worth_a_line(lasting.as_deref(), Instant::now()) else {
        return;
    };
    // Said only where there were any.
    let untold = (line.untold > 0).then_some(line.untold);
    match &report.outcome {
        Ok(Readiness::Ready) => {
            log::info!(address = address, driver = driver, failures_not_logged = untold; "Driver is healthy");
        }
        Ok(Readiness::NotReady) => {
            log::warn!(address = address, driver = driver, failures_not_logged = untold; "Driver responded but is not ready");
        }
        Err(error) => {
            log::error!(
                err = error.to_string(), phase = error.phase(), address = address, driver = driver,
                took = took, failures_not_logged = untold;
                "Probe failed"
            );
        }
    }
}
