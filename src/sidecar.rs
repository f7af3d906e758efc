//! The sidecar: the parts put together, and what happens between a request and
//! its reply.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::address::ListenAddress;
use crate::admission::{self, Door, Entrance, Late, UnderWay};
use crate::descriptors;
use crate::driver::{Driver, Watch};
use crate::driver_name::DriverName;
use crate::exit::{self, Exit};
use crate::flags::{MetricsAt, Options, Periodic};
use crate::health::{self, Paths, Question, Route, Whom};
use crate::health_file::HealthFile;
use crate::logging::{self, VERBOSITY_MAX};
use crate::metrics::{self, Metrics};
use crate::monitor::{End, Monitor};
use crate::probe::{self, Answer, Caller, Urgency, Window};
use crate::server::{self, Reply, Respond};
use crate::signal;
use crate::socket;

/// Beyond the probe's own timeout, what a stop allows a request for writing its
/// answer.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What a stop takes at most, however long a probe may: kubelet kills a container after 30 s
/// by default, and a client that still waits has a timeout of its own.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How much later than its pace says a periodic outcome may be and still be an
/// answer. Beyond that the process was stopped or starved, and asks anew.
const PACE_GRACE: Duration = Duration::from_secs(1);

/// A sidecar that probes.
pub struct Sidecar {
    under_way: UnderWay,
    probe_timeout: Duration,
    monitor: Option<Monitor>,
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

/// What a request is answered with.
struct Site {
    /// The one of `--csi-address`, then the others.
    drivers: Vec<Driver>,
    probe_timeout: Duration,
    /// How old an outcome may be that nobody asked for, where there are such.
    lasts: Option<Duration>,
    metrics: Metrics,
}

impl Sidecar {
    /// Opens the listeners, starts the threads, and serves. `started` is when the
    /// process did; `stops_within` waits at most so long for a stop, and says whether one
    /// has come.
    ///
    /// # Errors
    ///
    /// A stop, or what could not be opened or started.
    pub fn start(
        options: &Options,
        started: SystemTime,
        stops_within: &dyn Fn(Duration) -> bool,
    ) -> Result<Sidecar, NotServing> {
        // Before anything can fail: a predecessor's file would go on telling of health.
        let file = options
            .periodic
            .as_ref()
            .and_then(|periodic| periodic.health_file.as_deref())
            .map(HealthFile::new)
            .transpose()?;
        // Listening comes next: a port that is taken must be told before anything
        // else happens.
        let entrances = entrances(options, stops_within)?;
        let site = Arc::new(Site::new(options, started)?);
        let under_way = UnderWay::default();
        if !entrances.is_empty() {
            site.open(entrances, &under_way)?;
        }
        let monitor = options
            .periodic
            .as_ref()
            .map(|periodic| site.monitor(periodic, file))
            .transpose()?;
        Ok(Sidecar {
            under_way,
            probe_timeout: options.probe_timeout,
            monitor,
        })
    }

    /// Lets the requests under way finish, as far as somebody waits for their answers.
    pub fn stop(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.end();
        }
        let at_most = self.probe_timeout.saturating_add(STOP_GRACE).min(STOP_MAX);
        self.under_way.drain(at_most);
    }
}

/// Opens the listeners, each with what is served there.
fn entrances(
    options: &Options,
    stops_within: &dyn Fn(Duration) -> bool,
) -> Result<Vec<Entrance>, NotServing> {
    let entrance = |address: &ListenAddress, health, metrics: bool| {
        Ok::<_, NotServing>(Entrance {
            listener: open(address, stops_within)?,
            paths: Paths {
                health,
                extra: options
                    .extra
                    .iter()
                    .map(|extra| extra.name.clone())
                    .collect(),
                metrics: metrics.then(|| options.metrics_path.clone()),
            },
        })
    };
    let mut entrances = Vec::new();
    if let Some(address) = &options.health {
        let with_metrics = options.metrics == MetricsAt::WithHealth;
        entrances.push(entrance(address, true, with_metrics)?);
    }
    if let MetricsAt::Alone(address) = &options.metrics {
        entrances.push(entrance(address, false, true)?);
    }
    Ok(entrances)
}

/// Whether so many private streams can be opened, and so many drivers be probed. Without
/// this check the HTTP server would end a moment after the start, and say no more than that
/// a connection of its own was refused.
fn enough_descriptors(streams: usize, drivers: usize) -> Result<(), String> {
    /// Both ends of a stream, and tiny_http's copy of one.
    const A_STREAM: usize = 3;
    /// The pipe that wakes the event loop, and a client.
    const THE_REST: usize = 3;
    let (limit, taken) = (descriptors::limit(), descriptors::open());
    let needed = taken + streams * A_STREAM + drivers * descriptors::A_PROBE + THE_REST;
    if limit < needed {
        return Err(format!(
            "at most {limit} open files are allowed (RLIMIT_NOFILE, ulimit -n), and at least \
             {needed} are needed here: raise the limit, or probe fewer drivers (now {drivers})"
        ));
    }
    Ok(())
}

fn open(
    address: &ListenAddress,
    stops_within: &dyn Fn(Duration) -> bool,
) -> Result<TcpListener, NotServing> {
    let asked = address.to_string();
    let listener = socket::listen(address, stops_within)
        .map_err(|error| server::why_not_listening(&asked, &error))?
        .ok_or(NotServing::Stopped)?;
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
        let watch = Watch {
            method: &options.method,
            timeout: options.probe_timeout,
            caller: &caller,
            metrics: &metrics,
            wedged: die,
        };
        let mut drivers =
            vec![watch.begin(&options.csi_address, DriverName::default(), health::HEALTHZ)?];
        for extra in &options.extra {
            let path = format!("{}/{}", health::HEALTHZ, extra.name);
            drivers.push(watch.begin(&extra.address, DriverName::or(&extra.name), &path)?);
        }
        Ok(Site {
            drivers,
            probe_timeout: options.probe_timeout,
            lasts: options.periodic.as_ref().map(|periodic| {
                let pace = periodic.interval.saturating_add(options.probe_timeout);
                pace.saturating_add(PACE_GRACE)
            }),
            metrics,
        })
    }

    /// Opens the way from the listeners to what answers.
    fn open(
        self: &Arc<Site>,
        entrances: Vec<Entrance>,
        under_way: &UnderWay,
    ) -> Result<(), String> {
        let mut missing = admission::streams(self.drivers.len() - 1);
        enough_descriptors(missing, self.drivers.len())?;
        let origin = Instant::now();
        let mut streams = Vec::new();
        while missing > 0 {
            let count = missing.min(server::CONNECTIONS_MAX);
            streams.extend(server::open(count, origin, self.serving(), die)?);
            missing -= count;
        }
        Door::new(
            entrances,
            streams,
            origin,
            self.probe_timeout,
            self.late(),
            under_way.clone(),
            self.drivers.len(),
        )
        .map_err(|error| format!("cannot open the door: {error}"))?
        .open(die)
    }

    fn monitor(
        self: &Arc<Site>,
        periodic: &Periodic,
        file: Option<HealthFile>,
    ) -> Result<Monitor, String> {
        let site = Arc::clone(self);
        let ask = move || {
            let window = Window::new(Instant::now(), site.probe_timeout);
            let outcome = site.drivers[0].flights.ask(window).outcome;
            // A failure is told for a whole interval, and with --retries=1 it is the
            // end: not one that says no more than that this process was stopped.
            if outcome.is_ok() || !window.is_long_over(Instant::now()) {
                return outcome;
            }
            let window = Window::new(Instant::now(), site.probe_timeout);
            site.drivers[0].flights.ask(window).outcome
        };
        Monitor::start(periodic, file, ask, |end| match end {
            End::GivenUp(reason) => give_up(&reason),
            End::Broken(reason) => die(&reason),
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
                let answers: Option<Vec<Answer>> = site
                    .asked(question.of)
                    .iter()
                    .map(|driver| driver.flights.so_far(window, urgency))
                    .collect();
                Some(site.told(question, &answers?))
            }
            // Neither waits for anything but its turn.
            Route::Metrics | Route::Unknown => {
                (urgency == Urgency::Now).then(|| (503, "too many requests are waiting".to_owned()))
            }
        })
    }

    /// The drivers that a question is about.
    fn asked(&self, whom: Whom) -> &[Driver] {
        match whom {
            Whom::All => &self.drivers,
            Whom::First => &self.drivers[..1],
            // The door knows no other place; behind it there is none.
            Whom::Extra(place) => self.drivers.get(place + 1..place + 2).unwrap_or_default(),
        }
    }

    fn health(&self, question: Question, arrived: Instant) -> Reply {
        let window = Window::new(arrived, self.probe_timeout);
        let drivers = self.asked(question.of);
        // All set out before any is waited for.
        let boarded: Vec<_> = drivers
            .iter()
            .map(|driver| {
                let latest = self.lasts.and_then(|lasts| driver.flights.latest(lasts));
                latest.ok_or_else(|| driver.flights.board(window))
            })
            .collect();
        let answers: Vec<Answer> = drivers
            .iter()
            .zip(boarded)
            .map(|(driver, boarded)| boarded.unwrap_or_else(|ticket| driver.flights.wait(&ticket)))
            .collect();
        let (status, body) = self.told(question, &answers);
        Reply::plain(status, body)
    }

    /// Status and body for the answers of those who were asked, with the details
    /// that were asked for.
    fn told(&self, question: Question, answers: &[Answer]) -> (u16, String) {
        let drivers = self.asked(question.of);
        let told: Vec<(String, (u16, String))> = drivers
            .iter()
            .zip(answers)
            .map(|(driver, answer)| {
                let told = health::answer(question, &answer.outcome);
                (driver.path().to_owned(), told)
            })
            .collect();
        let (status, plain) = match (question.of, told.as_slice()) {
            (Whom::All, told) => health::answer_for_all(told),
            (_, [(_, told)]) => told.clone(),
            (_, _) => (404, "404 page not found".to_owned()),
        };
        if !question.verbose {
            return (status, plain);
        }
        let details: Vec<String> = drivers
            .iter()
            .zip(answers)
            .zip(&told)
            .map(|((driver, answer), (_, (_, plain)))| {
                let path = (question.of == Whom::All).then(|| driver.path());
                health::verbose(plain, path, &driver.details(answer))
            })
            .collect();
        (status, details.join("\n"))
    }

    fn metrics(&self) -> Reply {
        match self.metrics.render() {
            Ok(body) => exposition(body),
            Err(error) => Reply::plain(500, format!("cannot render the metrics: {error}")),
        }
    }
}

/// Many drivers that answer with every code there is can make it longer than what
/// goes through the door, which would not go on after that.
fn exposition(body: String) -> Reply {
    let length = body.len();
    if length > admission::BODY_BYTES {
        let most = admission::BODY_BYTES;
        return Reply::plain(
            500,
            format!("the metrics have {length} bytes, and at most {most} can be told"),
        );
    }
    Reply {
        status: 200,
        content_type: metrics::CONTENT_TYPE,
        body,
    }
}

/// Ends a process that cannot go on: kubelet then restarts this sidecar. Wedged,
/// it would have the driver restarted.
fn die(reason: &str) {
    end(
        reason,
        "Exiting, so that kubelet restarts this sidecar and not the driver",
    );
}

/// Ends a process that has seen too many failures in a row, which is what it was
/// told to do.
fn give_up(reason: &str) {
    end(reason, "Exiting after too many failed probes in a row");
}

fn end(reason: &str, what: &str) {
    exit::last_words(reason);
    log::error!(err = reason; "{what}");
    logging::flush();
    signal::exit_at_once(Exit::CannotRun);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_do_not_fit_through_the_door_are_not_told() {
        let fits = "x".repeat(admission::BODY_BYTES);
        assert_eq!(exposition(fits.clone()).status, 200);
        assert_eq!(exposition(fits + "x").status, 500);
    }
}
