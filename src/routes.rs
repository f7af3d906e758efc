//! What a request asks for: from its target to a route. Pure.

/// Upstream's only path. 200 if the driver answers and is ready.
pub const HEALTHZ: &str = "/healthz";
/// As [`HEALTHZ`], and also 200 while the driver is initialising.
pub const LIVEZ: &str = "/livez";
/// As [`HEALTHZ`].
pub const READYZ: &str = "/readyz";

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The driver's health.
    Health(Question),
    /// The metrics.
    Metrics,
}

/// A question about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose health.
    pub of: Target,
    /// Whether a driver that is still initialising counts as healthy.
    pub initialising_is_healthy: bool,
    /// Whether the answer has details for a person.
    pub verbose: bool,
}

/// Whose health a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The driver of `--csi-address`.
    Main,
    /// One of `--extra-csi-address`, by its index.
    Named(usize),
    /// All of them.
    All,
}

/// The name that stands for all drivers.
const ALL: &str = "all";

/// Which paths a listener serves.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Whether the health paths are served.
    pub health: bool,
    /// The names of the drivers of `--extra-csi-address`.
    pub extra: Vec<String>,
    /// The path of the metrics, if they are served.
    pub metrics: Option<String>,
}

impl Paths {
    /// Finds the route of a request's target, which depends on its path alone, except for
    /// `?verbose`.
    #[must_use]
    pub fn route(&self, path: &str, query: &str) -> Option<Route> {
        let index = |name: &str| self.extra.iter().position(|extra| extra == name);
        let route = route(path, query, self.metrics.as_deref(), index)?;
        let is_served = match route {
            Route::Metrics => true,
            Route::Health(question) => {
                // With a single driver, "all" is no name.
                self.health && (question.of != Target::All || !self.extra.is_empty())
            }
        };
        is_served.then_some(route)
    }
}

fn route(
    path: &str,
    query: &str,
    metrics: Option<&str>,
    index: impl Fn(&str) -> Option<usize>,
) -> Option<Route> {
    if metrics == Some(path) {
        return Some(Route::Metrics);
    }
    let (kind, name) = health_path(path)?;
    let of = match name {
        None => Target::Main,
        Some(ALL) => Target::All,
        Some(name) => Target::Named(index(name)?),
    };
    Some(Route::Health(Question {
        of,
        initialising_is_healthy: kind == LIVEZ,
        verbose: is_verbose(query),
    }))
}

/// Splits `/healthz/NAME` into the path of the kind of health and the name, if there is one.
fn health_path(path: &str) -> Option<(&'static str, Option<&str>)> {
    [HEALTHZ, READYZ, LIVEZ]
        .into_iter()
        .find_map(|kind| match path.strip_prefix(kind)? {
            "" => Some((kind, None)),
            rest => rest.strip_prefix('/').map(|name| (kind, Some(name))),
        })
}

/// Whether a path is one of the health paths, of any driver.
#[must_use]
pub fn is_health_path(path: &str) -> bool {
    health_path(path).is_some()
}

/// Checks the name of a driver in paths.
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

fn is_verbose(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name == "verbose" && !matches!(value, "0" | "false")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route_of(paths: &Paths, target: &str) -> Option<Route> {
        let (path, query) = front::head::path_and_query(target);
        paths.route(path, query)
    }

    fn paths() -> Paths {
        Paths {
            health: true,
            extra: vec!["nfs".to_owned(), "1".to_owned()],
            metrics: Some("/metrics".to_owned()),
        }
    }

    fn health(initialising_is_healthy: bool, verbose: bool) -> Route {
        health_of(Target::Main, initialising_is_healthy, verbose)
    }

    fn health_of(of: Target, initialising_is_healthy: bool, verbose: bool) -> Route {
        Route::Health(Question {
            of,
            initialising_is_healthy,
            verbose,
        })
    }

    #[test]
    fn targets_are_routed_by_their_path_alone() {
        let table = [
            ("/healthz", Some(health(false, false))),
            ("/healthz?", Some(health(false, false))),
            ("/healthz?a=b", Some(health(false, false))),
            ("/healthz?verbose", Some(health(false, true))),
            ("/healthz?a&verbose=1", Some(health(false, true))),
            ("/healthz?verbose=false", Some(health(false, false))),
            ("/healthz?verbosely", Some(health(false, false))),
            ("/readyz", Some(health(false, false))),
            ("/livez", Some(health(true, false))),
            ("http://node:9808/healthz", Some(health(false, false))),
            ("HTTP://node/livez?verbose", Some(health(true, true))),
            (
                "/healthz/nfs",
                Some(health_of(Target::Named(0), false, false)),
            ),
            (
                "/livez/1?verbose",
                Some(health_of(Target::Named(1), true, true)),
            ),
            ("/readyz/all", Some(health_of(Target::All, false, false))),
            ("/healthz/0", None),
            ("/healthz/", None),
            ("/healthz/nfs/", None),
            ("/healthz//nfs", None),
            ("/healthznfs", None),
            ("/metrics", Some(Route::Metrics)),
            ("/metrics?x", Some(Route::Metrics)),
            ("", None),
            ("*", None),
            ("/", None),
            ("http://", None),
            ("http://node", None),
            ("http://healthz", None),
            ("/healthz/", None),
            ("//healthz", None),
            ("/HEALTHZ", None),
            ("/healthz\u{e9}", None),
        ];
        for (target, route) in table {
            assert_eq!(route_of(&paths(), target), route, "{target}");
        }
    }

    #[test]
    fn a_listener_serves_only_what_it_is_for() {
        let metrics_alone = Paths {
            health: false,
            extra: vec!["nfs".to_owned()],
            metrics: Some("/m".to_owned()),
        };
        assert_eq!(route_of(&metrics_alone, "/healthz/nfs"), None);
        assert_eq!(route_of(&metrics_alone, "/healthz/all"), None);
        assert_eq!(route_of(&metrics_alone, "/healthz"), None);
        assert_eq!(route_of(&metrics_alone, "/m"), Some(Route::Metrics));
        let health_alone = Paths {
            health: true,
            extra: Vec::new(),
            metrics: None,
        };
        assert_eq!(route_of(&health_alone, "/healthz/all"), None);
        assert_eq!(route_of(&health_alone, "/metrics"), None);
    }

    #[test]
    fn a_name_fits_a_path_and_a_label() {
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
