//! What HTTP asks and what it gets: path and outcome in, status and body out.
//! Pure: no socket and no clock of its own.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::clock::Utc;
use crate::duration;
use crate::probe::{Outcome, Readiness};
use crate::text;

/// Upstream's one path: 200 only when the driver answers and is ready.
pub const HEALTHZ: &str = "/healthz";
/// 200 also while the driver is initialising.
pub const LIVEZ: &str = "/livez";
/// 200 only when the driver is ready.
pub const READYZ: &str = "/readyz";

/// The metrics behind the door, whatever their path is in front of it.
const INNER_METRICS: &str = "/metrics";

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The driver's health.
    Health(Question),
    /// The metrics.
    Metrics,
    /// Nothing that is here.
    Unknown,
}

/// A question about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose.
    pub of: Whom,
    /// Whether a driver that is still initialising counts as healthy.
    pub initialising_is_healthy: bool,
    /// Whether the answer is for a person.
    pub verbose: bool,
}

/// Whose health a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The driver of `--csi-address`.
    First,
    /// One of the others, by its place among them.
    Extra(usize),
    /// All of them.
    All,
}

/// The name that stands for all drivers.
const ALL: &str = "all";

impl Route {
    /// How the door asks for this behind it, in our own words: nothing that a
    /// client wrote goes further.
    #[must_use]
    pub fn target(self) -> String {
        match self {
            Route::Health(question) => {
                let path = if question.initialising_is_healthy {
                    LIVEZ
                } else {
                    HEALTHZ
                };
                let query = if question.verbose { "?verbose" } else { "" };
                match question.of {
                    Whom::First => format!("{path}{query}"),
                    Whom::Extra(place) => format!("{path}/{place}{query}"),
                    Whom::All => format!("{path}/{ALL}{query}"),
                }
            }
            Route::Metrics => INNER_METRICS.to_owned(),
            Route::Unknown => "/".to_owned(),
        }
    }

    /// Whether both are about the health of the same driver, or of all.
    #[must_use]
    pub fn is_about_the_same_as(self, other: Route) -> bool {
        match (self, other) {
            (Route::Health(one), Route::Health(other)) => one.of == other.of,
            (one, other) => one == other,
        }
    }

    /// What [`Route::target`] has said.
    #[must_use]
    pub fn of_target(target: &str) -> Route {
        route(target, Some(INNER_METRICS), |name| name.parse().ok())
    }
}

/// Which paths a listener serves.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Whether the health paths are served.
    pub health: bool,
    /// The names of the drivers besides the first.
    pub extra: Vec<String>,
    /// The path of the metrics, if they are served.
    pub metrics: Option<String>,
}

impl Paths {
    /// Finds what a request's target asks for; queries do not change that.
    #[must_use]
    pub fn route(&self, target: &str) -> Route {
        let place = |name: &str| self.extra.iter().position(|extra| extra == name);
        match route(target, self.metrics.as_deref(), place) {
            Route::Health(_) if !self.health => Route::Unknown,
            // Without others there is nobody to be named.
            Route::Health(Question { of: Whom::All, .. }) if self.extra.is_empty() => {
                Route::Unknown
            }
            route => route,
        }
    }
}

fn route(target: &str, metrics: Option<&str>, place: impl Fn(&str) -> Option<usize>) -> Route {
    let (path, query) = split(target);
    if metrics == Some(path) {
        return Route::Metrics;
    }
    let Some((kind, name)) = health_path(path) else {
        return Route::Unknown;
    };
    let of = match name {
        None => Whom::First,
        Some(ALL) => Whom::All,
        Some(name) => match place(name) {
            Some(place) => Whom::Extra(place),
            None => return Route::Unknown,
        },
    };
    Route::Health(Question {
        of,
        initialising_is_healthy: kind == LIVEZ,
        verbose: is_verbose(query),
    })
}

/// Splits `/healthz/NAME` into the kind of health and whose; the name of none is
/// the first driver.
fn health_path(path: &str) -> Option<(&'static str, Option<&str>)> {
    [HEALTHZ, READYZ, LIVEZ]
        .into_iter()
        .find_map(|kind| match path.strip_prefix(kind)? {
            "" => Some((kind, None)),
            rest => rest.strip_prefix('/').map(|name| (kind, Some(name))),
        })
}

/// Whether a path is one of the health paths, whoever it is about.
#[must_use]
pub fn is_health_path(path: &str) -> bool {
    health_path(path).is_some()
}

/// Checks what a driver is to be called in paths.
///
/// # Errors
///
/// Says what would be right.
pub fn check_name(name: &str) -> Result<(), String> {
    const NAME_MAX: usize = 63;
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = name.bytes().next();
    if name == ALL {
        return Err(format!(
            "the name {ALL:?} stands for all drivers; choose another"
        ));
    }
    if name.len() > NAME_MAX
        || !name.bytes().all(is_right)
        || !begins.is_some_and(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(format!(
            "the name {name:?} must be 1 to {NAME_MAX} letters, digits, dots, dashes and \
             underscores, and begin with a letter or digit"
        ));
    }
    Ok(())
}

/// Splits a target into path and query. The absolute form, which a proxy sends
/// and every server must take (RFC 9112, section 3.2.2), loses its authority.
fn split(target: &str) -> (&str, &str) {
    let scheme = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let target = match scheme {
        Some(_) => target[7..]
            .find(['/', '?'])
            .map_or("/", |at| &target[7 + at..]),
        None => target,
    };
    let target = target.split('#').next().unwrap_or(target);
    target.split_once('?').unwrap_or((target, ""))
}

fn is_verbose(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name == "verbose" && !matches!(value, "0" | "false")
    })
}

/// The status and body for several drivers, each with its path: all must be healthy,
/// and those that are not are named.
#[must_use]
pub fn answer_for_all(answers: &[(String, (u16, String))]) -> (u16, String) {
    let ill = answers.iter().filter(|(_, (status, _))| *status != 200);
    let reasons: Vec<String> = ill
        .map(|(path, (_, body))| format!("{path}: {body}"))
        .collect();
    if reasons.is_empty() {
        (200, "ok".to_owned())
    } else {
        (500, reasons.join("; "))
    }
}

/// What a person wants to see besides the outcome.
#[derive(Clone, Debug)]
pub struct Details {
    /// The driver's name, as far as it is known.
    pub driver: String,
    /// The driver's address.
    pub address: String,
    /// How long the probe took, or has taken when it did not end in time.
    pub took: Duration,
    /// How long ago a probe last found the driver ready. Not when: the wall clock may
    /// have been set since.
    pub last_success: Option<Duration>,
    /// Now, by the wall clock.
    pub now: SystemTime,
}

/// The status and body for an outcome.
#[must_use]
pub fn answer(question: Question, outcome: &Outcome) -> (u16, String) {
    match outcome {
        Ok(Readiness::NotReady) if question.initialising_is_healthy => {
            (200, format!("ok ({})", Readiness::NotReady))
        }
        Ok(Readiness::Ready) => (200, Readiness::Ready.to_string()),
        Ok(readiness) => (500, readiness.to_string()),
        Err(error) => (500, text::one_line(&error.to_string())),
    }
}

/// The body for a person: where to ask for it, if there are several, the plain one,
/// and a line for each detail.
#[must_use]
pub fn verbose(plain: &str, path: Option<&str>, details: &Details) -> String {
    let last_success = match details.last_success {
        Some(age) => {
            let time = details.now.checked_sub(age).unwrap_or(details.now);
            format!(
                "{} ({} ago)",
                Utc::from(time).rfc3339(),
                duration::format_to(age, MILLISECOND)
            )
        }
        None => "never since this process started".to_owned(),
    };
    let mut body = String::with_capacity(plain.len() + 256);
    if let Some(path) = path {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "path: {path}");
    }
    for (name, value) in [
        ("result", plain),
        ("driver", &text::one_line(&details.driver)),
        ("address", &text::one_line(&details.address)),
        ("took", &duration::format_to(details.took, MICROSECOND)),
        ("last success", &last_success),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "{name}: {value}");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{CallError, Code, ConnectError, ProbeError, Reason};

    fn paths() -> Paths {
        Paths {
            health: true,
            extra: vec!["nfs".to_owned(), "1".to_owned()],
            metrics: Some("/metrics".to_owned()),
        }
    }

    fn health(initialising_is_healthy: bool, verbose: bool) -> Route {
        health_of(Whom::First, initialising_is_healthy, verbose)
    }

    fn health_of(of: Whom, initialising_is_healthy: bool, verbose: bool) -> Route {
        Route::Health(Question {
            of,
            initialising_is_healthy,
            verbose,
        })
    }

    #[test]
    fn targets_are_routed_by_their_path_alone() {
        let table = [
            ("/healthz", health(false, false)),
            ("/healthz?", health(false, false)),
            ("/healthz?a=b", health(false, false)),
            ("/healthz?verbose", health(false, true)),
            ("/healthz?a&verbose=1", health(false, true)),
            ("/healthz?verbose=false", health(false, false)),
            ("/healthz?verbosely", health(false, false)),
            ("/readyz", health(false, false)),
            ("/livez", health(true, false)),
            ("http://node:9808/healthz", health(false, false)),
            ("HTTP://node/livez?verbose", health(true, true)),
            ("/healthz/nfs", health_of(Whom::Extra(0), false, false)),
            ("/livez/1?verbose", health_of(Whom::Extra(1), true, true)),
            ("/readyz/all", health_of(Whom::All, false, false)),
            ("/healthz/0", Route::Unknown),
            ("/healthz/", Route::Unknown),
            ("/healthz/nfs/", Route::Unknown),
            ("/healthz//nfs", Route::Unknown),
            ("/healthznfs", Route::Unknown),
            ("/metrics", Route::Metrics),
            ("/metrics?x", Route::Metrics),
            ("", Route::Unknown),
            ("*", Route::Unknown),
            ("/", Route::Unknown),
            ("http://", Route::Unknown),
            ("http://node", Route::Unknown),
            ("http://healthz", Route::Unknown),
            ("/healthz/", Route::Unknown),
            ("//healthz", Route::Unknown),
            ("/HEALTHZ", Route::Unknown),
            ("/healthz\u{e9}", Route::Unknown),
        ];
        for (target, route) in table {
            assert_eq!(paths().route(target), route, "{target}");
        }
    }

    #[test]
    fn what_the_door_asks_for_is_understood_behind_it() {
        let mut routes = vec![Route::Metrics, Route::Unknown];
        for of in [Whom::First, Whom::Extra(0), Whom::Extra(17), Whom::All] {
            for initialising_is_healthy in [false, true] {
                for verbose in [false, true] {
                    routes.push(health_of(of, initialising_is_healthy, verbose));
                }
            }
        }
        for route in routes {
            assert_eq!(Route::of_target(&route.target()), route);
        }
    }

    #[test]
    fn a_listener_serves_only_what_it_is_for() {
        let metrics_alone = Paths {
            health: false,
            extra: vec!["nfs".to_owned()],
            metrics: Some("/m".to_owned()),
        };
        assert_eq!(metrics_alone.route("/healthz/nfs"), Route::Unknown);
        assert_eq!(metrics_alone.route("/healthz/all"), Route::Unknown);
        assert_eq!(metrics_alone.route("/healthz"), Route::Unknown);
        assert_eq!(metrics_alone.route("/m"), Route::Metrics);
        let health_alone = Paths {
            health: true,
            extra: Vec::new(),
            metrics: None,
        };
        assert_eq!(health_alone.route("/healthz/all"), Route::Unknown);
        assert_eq!(health_alone.route("/metrics"), Route::Unknown);
    }

    #[test]
    fn outcomes_become_upstream_s_statuses_and_bodies() {
        let strict = Question {
            of: Whom::First,
            initialising_is_healthy: false,
            verbose: false,
        };
        let lenient = Question {
            initialising_is_healthy: true,
            ..strict
        };
        let call = Err(ProbeError::Call(CallError::new(Code(9), "no\ndisk\x07")));
        let connect = Err(ProbeError::Connect(ConnectError {
            address: "/csi/csi.sock".to_owned(),
            cause: "connection refused".to_owned(),
            reason: Reason::Refused,
            passing: true,
        }));
        let table = [
            (strict, Ok(Readiness::Ready), 200, "ok"),
            (
                strict,
                Ok(Readiness::NotReady),
                500,
                "driver responded but is not ready",
            ),
            (
                lenient,
                Ok(Readiness::NotReady),
                200,
                "ok (driver responded but is not ready)",
            ),
            (
                lenient,
                Ok(Readiness::NotServing(2)),
                500,
                "driver responded but its health is NOT_SERVING",
            ),
            (
                strict,
                call.clone(),
                500,
                "rpc error: code = FailedPrecondition desc = no\\ndisk\\x07",
            ),
            (
                lenient,
                call,
                500,
                "rpc error: code = FailedPrecondition desc = no\\ndisk\\x07",
            ),
            (
                strict,
                connect,
                500,
                "cannot connect to /csi/csi.sock: connection refused",
            ),
        ];
        for (question, outcome, status, body) in table {
            assert_eq!(answer(question, &outcome), (status, body.to_owned()));
        }
    }

    #[test]
    fn a_person_is_told_who_where_how_long_and_since_when() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_165_932_172);
        let mut details = Details {
            driver: "hostpath.csi.k8s.io".to_owned(),
            address: "/csi/csi.sock".to_owned(),
            took: Duration::from_nanos(1_234_567),
            last_success: Some(Duration::from_millis(61_500)),
            now,
        };
        assert_eq!(
            verbose("ok", None, &details),
            "result: ok\n\
             driver: hostpath.csi.k8s.io\n\
             address: /csi/csi.sock\n\
             took: 1.234ms\n\
             last success: 2026-11-20T09:11:10.672Z (1m1.5s ago)\n"
        );
        details.last_success = None;
        assert!(verbose("ok", None, &details).contains("last success: never since"));
        // By a clock that was set back since, it was before its beginning.
        details.last_success = Some(Duration::from_hours(876_000));
        assert!(verbose("ok", None, &details).contains("1970-01-01T00:00:00.000Z (876000h"));
    }

    #[test]
    fn all_are_healthy_or_those_that_are_not_are_named() {
        let answer = |name: &str, status, body: &str| (name.to_owned(), (status, body.to_owned()));
        let mut answers = vec![answer("a", 200, "ok"), answer("b", 200, "ok (x)")];
        assert_eq!(answer_for_all(&answers), (200, "ok".to_owned()));
        answers.push(answer("c", 500, "gone"));
        answers.push(answer("d", 500, "hangs"));
        assert_eq!(
            answer_for_all(&answers),
            (500, "c: gone; d: hangs".to_owned())
        );
    }

    #[test]
    fn a_name_is_a_path_s_and_a_label_s() {
        for name in [
            "nfs",
            "a",
            "0",
            "rook-ceph.rbd.csi.ceph.com",
            "a_b",
            &"x".repeat(63),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "all",
            "-a",
            ".",
            "..",
            "a/b",
            "a b",
            "a?b",
            "\u{e9}",
            &"x".repeat(64),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
