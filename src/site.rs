//! What is served: the health of the drivers, and the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use csi::Caller;
use front::metrics::{CONTENT_TYPE, Metrics};
use front::{Immediate, Reply, Schedule};
use program::logging::VERBOSITY_MAX;

use crate::PROGRAM;
use crate::driver::{Driver, Watch};
use crate::driver_name::DriverName;
use crate::flags::Options;
use crate::metrics::Families;
use crate::moments::Moments;
use crate::outcome::Outcome;
use crate::routes::{self, Paths, Question, Route, Target};
use crate::shared_probe::Answer;
use crate::verdict;

/// A periodic outcome may be so much older than the interval and the timeout. An older one shows
/// that the process was stopped or starved, and the request gets a new probe.
const PACE_GRACE: Duration = Duration::from_secs(1);

/// Descriptors that are kept free for a driver: twice those of a call, because its name is asked
/// for at the same time, and one to spare for each.
pub(crate) const DESCRIPTORS_OF_A_DRIVER: usize = 2 * (csi::DESCRIPTORS_OF_A_CALL + 1);

/// The drivers, their metrics, and where they are served.
pub(crate) struct Site {
    /// The paths of each listener.
    paths: Vec<Paths>,
    /// The driver of `--csi-address`, then the others.
    drivers: Vec<Driver>,
    probe_timeout: Duration,
    /// How old a periodic outcome may be, where there are such.
    outcome_max_age: Option<Duration>,
    metrics: Metrics,
}

/// What a worker has prepared.
pub(crate) enum Prepared {
    /// The answers of the drivers of a group.
    Health(Vec<Answer>),
    /// The text of the metrics, or why there is none.
    Metrics(Result<String, String>),
}

impl Site {
    /// Starts probing the drivers. `fatal` ends a process that cannot go on.
    pub(crate) fn new(
        options: &Options,
        paths: Vec<Paths>,
        started: SystemTime,
        fatal: fn(&str),
    ) -> Result<Site, String> {
        csi::redirect_c_core_log(options.verbosity == VERBOSITY_MAX);
        let caller = Arc::new(Caller::new()?);
        let set_up = |error| format!("cannot set up the metrics: {error}");
        let metrics = Metrics::new(&PROGRAM, started).map_err(set_up)?;
        let families = Families::register(&metrics).map_err(set_up)?;
        let watch = Watch {
            method: &options.method,
            timeout: options.probe_timeout,
            caller: &caller,
            metrics: &families,
            stuck: fatal,
        };
        let mut drivers =
            vec![watch.begin(&options.csi_address, DriverName::default(), routes::HEALTHZ)?];
        for extra in &options.extra {
            let path = format!("{}/{}", routes::HEALTHZ, extra.name);
            drivers.push(watch.begin(&extra.address, DriverName::or(&extra.name), &path)?);
        }
        Ok(Site {
            paths,
            drivers,
            probe_timeout: options.probe_timeout,
            outcome_max_age: options.periodic.as_ref().map(|periodic| {
                let pace = periodic.interval.saturating_add(options.probe_timeout);
                pace.saturating_add(PACE_GRACE)
            }),
            metrics,
        })
    }

    pub(crate) fn drivers(&self) -> usize {
        self.drivers.len()
    }

    fn moments(&self, arrived: Instant) -> Moments {
        Moments::new(arrived, self.probe_timeout)
    }

    /// Probes the first driver for the periodic probe.
    pub(crate) fn probe(&self) -> Outcome {
        let probe = &self.drivers[0].probe;
        let moments = self.moments(Instant::now());
        let outcome = probe.ask(moments).outcome;
        // A failure counts for a whole interval, and with --retries=1 it ends the process. One
        // that only says that this process was stopped is tried again.
        if outcome.is_ok() || !moments.is_stale(Instant::now()) {
            return outcome;
        }
        probe.ask(self.moments(Instant::now())).outcome
    }

    /// The drivers that a target names.
    fn named(&self, target: Target) -> &[Driver] {
        match target {
            Target::All => &self.drivers,
            Target::Main => &self.drivers[..1],
            Target::Named(index) => self.drivers.get(index + 1..index + 2).unwrap_or_default(),
        }
    }

    /// The drivers whose health a group is about; the last group is about none, but about the
    /// metrics.
    fn of_group(&self, group: usize) -> Option<&[Driver]> {
        let count = self.drivers.len();
        match group {
            one if one < count => Some(&self.drivers[one..=one]),
            all if all == count && count > 1 => Some(&self.drivers),
            _ => None,
        }
    }

    fn ask(&self, drivers: &[Driver], arrived: Instant) -> Vec<Answer> {
        let moments = self.moments(arrived);
        // All join before any is waited for.
        let joined: Vec<_> = drivers
            .iter()
            .map(|driver| {
                let latest = self
                    .outcome_max_age
                    .and_then(|age| driver.probe.latest(age));
                latest.ok_or_else(|| driver.probe.join(moments))
            })
            .collect();
        drivers
            .iter()
            .zip(joined)
            .map(|(driver, joined)| joined.unwrap_or_else(|waiter| driver.probe.wait(&waiter)))
            .collect()
    }

    /// Renders the answer to a question about health.
    fn health(&self, question: Question, answers: &[Answer]) -> Reply {
        let drivers = self.named(question.of);
        let verdicts: Vec<(String, (u16, String))> = drivers
            .iter()
            .zip(answers)
            .map(|(driver, answer)| {
                let verdict = verdict::answer(question, &answer.outcome);
                (driver.path().to_owned(), verdict)
            })
            .collect();
        let (status, plain) = match (question.of, verdicts.as_slice()) {
            (Target::All, verdicts) => verdict::answer_for_all(verdicts),
            (_, [(_, verdict)]) => verdict.clone(),
            (_, _) => (404, "404 page not found".to_owned()),
        };
        if !question.verbose {
            return Reply::plain(status, plain);
        }
        let details: Vec<String> = drivers
            .iter()
            .zip(answers)
            .zip(&verdicts)
            .map(|((driver, answer), (_, (_, plain)))| {
                let path = (question.of == Target::All).then(|| driver.path());
                verdict::verbose(plain, path, &driver.details(answer))
            })
            .collect();
        Reply::plain(status, details.join("\n"))
    }
}

impl front::Site for Site {
    type Route = Route;
    type Prepared = Prepared;

    fn route(&self, listener: usize, path: &str, query: &str) -> Option<Route> {
        self.paths.get(listener)?.route(path, query)
    }

    /// One for each driver, one for all of them if there are several, and one for the metrics.
    fn groups(&self) -> usize {
        let drivers = self.drivers.len();
        drivers + usize::from(drivers > 1) + 1
    }

    fn group(&self, route: Route) -> usize {
        match route {
            Route::Health(question) => match question.of {
                Target::Main => 0,
                Target::Named(index) => index + 1,
                Target::All => self.drivers.len(),
            },
            Route::Metrics => self.groups() - 1,
        }
    }

    /// A share for each driver and one for all of them. The metrics are ready at once.
    fn shares(&self, group: usize) -> usize {
        match self.of_group(group) {
            Some(_) => self.groups() - 1,
            None => 1,
        }
    }

    fn schedule(&self, _: Route, arrived: Instant) -> Schedule {
        self.moments(arrived).schedule()
    }

    fn prepare(&self, group: usize, arrived: Instant) -> Prepared {
        match self.of_group(group) {
            Some(drivers) => Prepared::Health(self.ask(drivers, arrived)),
            None => Prepared::Metrics(self.metrics.render()),
        }
    }

    fn reply(&self, route: Route, prepared: &Prepared) -> Reply {
        match (route, prepared) {
            (Route::Health(question), Prepared::Health(answers)) => self.health(question, answers),
            (_, Prepared::Metrics(Ok(text))) => Reply {
                status: 200,
                content_type: CONTENT_TYPE,
                body: text.clone(),
            },
            (_, Prepared::Metrics(Err(error))) => Reply::plain(500, error.as_str()),
            // A group has one kind of route.
            (Route::Metrics, Prepared::Health(_)) => Reply::plain(404, "404 page not found"),
        }
    }

    fn immediate(&self, route: Route, arrived: Instant, immediate: Immediate) -> Option<Reply> {
        match route {
            Route::Health(question) => {
                let moments = self.moments(arrived);
                let answers: Option<Vec<Answer>> = self
                    .named(question.of)
                    .iter()
                    .map(|driver| driver.probe.answer_now(moments, immediate))
                    .collect();
                Some(self.health(question, &answers?))
            }
            // They wait only for a worker.
            Route::Metrics => None,
        }
    }
}
