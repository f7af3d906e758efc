//! The flags that say where health and metrics are served.

use std::ffi::OsString;

use program::flags::{Flag, Warning, empty_address_variable};

use crate::ListenAddress;

/// The values of these flags. An empty address counts as not given, as upstream.
#[derive(Debug, Default)]
pub struct Listeners {
    /// `--http-endpoint`.
    pub http_endpoint: Option<ListenAddress>,
    /// `--metrics-address`.
    pub metrics_address: Option<ListenAddress>,
    /// `--metrics-path`.
    pub metrics_path: Option<String>,
}

/// The path of the metrics where the flag is not given.
pub const DEFAULT_METRICS_PATH: &str = "/metrics";

impl Listeners {
    /// The two flags that were given and exclude each other: the metrics have one address. What
    /// is said about them differs, as upstream's programs do not say it in the same words.
    #[must_use]
    pub fn conflict(&self) -> Option<[&'static str; 2]> {
        let both = self.http_endpoint.is_some() && self.metrics_address.is_some();
        both.then_some(["--metrics-address", "--http-endpoint"])
    }

    /// The warning about an address without a host that a variable should have given one.
    #[must_use]
    pub fn warning(&self, environment: &[(OsString, OsString)]) -> Option<Warning> {
        let given = [
            ("--http-endpoint", &self.http_endpoint),
            ("--metrics-address", &self.metrics_address),
        ];
        let (flag, address) = given.into_iter().find_map(|(flag, address)| {
            let address = address.as_ref()?;
            address.host.is_empty().then_some((flag, address))
        })?;
        let variable = empty_address_variable(environment)?;
        Some(Warning {
            message: "Serving on every address of the pod",
            reason: format!(
                "{flag}={address} has no host, maybe because the variable {variable} is set and \
                 empty; if every address is meant, ignore this"
            ),
        })
    }
}

/// The raw values of a program that has these flags.
pub trait ListenerFlags: Sized + 'static {
    /// The paths of the program's health, which the metrics cannot have.
    const HEALTH_PATHS: &'static [&'static str];

    /// Where the values go.
    fn listeners(&mut self) -> &mut Listeners;

    /// All of them.
    const LISTENER_FLAGS: &'static [Flag<Self>] = &[
        Flag::new(
            "--http-endpoint",
            "HOST:PORT",
            "Serve health and metrics on this address, such as :9808 or 127.0.0.1:9808.",
            |raw: &mut Self, given| given.put(&mut raw.listeners().http_endpoint, listen_address),
        ),
        Flag::new(
            "--metrics-address",
            "HOST:PORT",
            "Serve only metrics on this address. Deprecated upstream in favour of \
             --http-endpoint; cannot be used with it.",
            |raw: &mut Self, given| given.put(&mut raw.listeners().metrics_address, listen_address),
        ),
        Flag::new(
            "--metrics-path",
            "PATH",
            "Path of the metrics.",
            |raw: &mut Self, given| {
                given.put(&mut raw.listeners().metrics_path, |text| {
                    metrics_path(text, Self::HEALTH_PATHS)
                })
            },
        )
        .or_default(DEFAULT_METRICS_PATH),
    ];
}

fn listen_address(text: &str) -> Result<Option<ListenAddress>, String> {
    match text {
        "" => Ok(None),
        text => ListenAddress::parse(text).map(Some),
    }
}

fn metrics_path(text: &str, health_paths: &[&str]) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("it must begin with /, such as /metrics".to_owned());
    }
    if health_paths.contains(&text) {
        return Err("that is a health path; choose another, such as /metrics".to_owned());
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#'))
    {
        Some(bad) => Err(format!(
            "{bad:?} cannot be part of a path; write one such as /metrics"
        )),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(http_endpoint: &str, metrics_address: &str) -> Listeners {
        Listeners {
            http_endpoint: listen_address(http_endpoint).unwrap(),
            metrics_address: listen_address(metrics_address).unwrap(),
            metrics_path: None,
        }
    }

    #[test]
    fn the_metrics_have_one_address() {
        for (http_endpoint, metrics_address, excludes) in [
            ("", "", false),
            (":1", "", false),
            ("", ":1", false),
            (":1", ":2", true),
        ] {
            let conflict = listeners(http_endpoint, metrics_address).conflict();
            assert_eq!(conflict.is_some(), excludes, "{conflict:?}");
        }
    }

    #[test]
    fn a_host_that_a_variable_should_have_given_is_missed() {
        let environment = |value: &str| [(OsString::from("POD_IP"), OsString::from(value))];
        for (http_endpoint, metrics_address, flag) in [
            (":1", "", "--http-endpoint=:1"),
            ("", ":1", "--metrics-address=:1"),
            ("127.0.0.1:1", ":2", "--metrics-address=:2"),
        ] {
            let listeners = listeners(http_endpoint, metrics_address);
            let reason = listeners.warning(&environment("")).unwrap().reason;
            assert!(
                reason.contains(flag) && reason.contains("POD_IP"),
                "{reason}"
            );
            assert_eq!(listeners.warning(&environment("10.0.0.1")), None);
        }
        assert_eq!(listeners("127.0.0.1:1", "").warning(&environment("")), None);
    }

    #[test]
    fn the_path_of_the_metrics_is_no_health_path() {
        let path = |text| metrics_path(text, &["/healthz"]);
        assert_eq!(path("/m"), Ok("/m".to_owned()));
        for (text, word) in [
            ("", "must begin with /"),
            ("m", "must begin with /"),
            ("/healthz", "health path"),
            ("/m?x", "'?'"),
            ("/m m", "' '"),
        ] {
            let message = path(text).unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
