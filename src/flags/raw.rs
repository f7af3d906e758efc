//! The values as given, and what they come to together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::kubernetes;
use super::table::Flag;
use super::variables::Variables;
use super::{
    Command, Extra, MetricsAt, Options, Periodic, Warning, boolean, format, listen_address,
    metrics_path, unsigned, value_of, verbosity,
};
use crate::method::{HEALTH_CHECK_PATH, Method};
use crate::routes;
use csi::CsiAddress;
use front::ListenAddress;
use program::duration;
use program::exit::Exit;
use program::logging::Format;

const DEFAULT_HEALTH_PORT: u16 = 9808;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_RETRIES: u32 = 3;

/// Drivers besides the first. Each has threads and descriptors of its own, and more
/// of them than this are on no node.
const EXTRA_MAX: usize = 64;

/// Each flag's last value; of those with two names, each name's.
#[derive(Default)]
pub(super) struct Raw {
    csi_address: Option<CsiAddress>,
    endpoint: Option<CsiAddress>,
    extra: Vec<Extra>,
    probe_timeout: Option<Duration>,
    timeout: Option<Duration>,
    probe_path: Option<String>,
    service: Option<String>,
    health_port: Option<u16>,
    http_endpoint: Option<ListenAddress>,
    metrics_address: Option<ListenAddress>,
    metrics_path: Option<String>,
    once: bool,
    install: Option<PathBuf>,
    interval: Option<Duration>,
    retries: Option<u32>,
    health_file: Option<PathBuf>,
    verbosity: u8,
    pub(super) format: Format,
    without_effect: Vec<&'static str>,
    pub(super) warnings: Vec<Warning>,
}

impl Raw {
    pub(super) fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<(), String> {
        match flag.name {
            "--csi-address" => self.csi_address = Some(value_of(flag, value, CsiAddress::parse)?),
            "--endpoint" => self.endpoint = Some(value_of(flag, value, CsiAddress::parse)?),
            "--extra-csi-address" => self.add(value_of(flag, value, extra)?)?,
            "--probe-timeout" => {
                self.probe_timeout = Some(value_of(flag, value, duration::parse_positive)?);
            }
            "--timeout" => self.timeout = Some(value_of(flag, value, duration::parse_positive)?),
            "--probe-path" => self.probe_path = Some(value_of(flag, value, probe_path)?),
            "--service" => self.service = Some(value_of(flag, value, service)?),
            "--health-port" => {
                self.health_port = Some(value_of(flag, value, program::host_port::port)?);
            }
            "--http-endpoint" => self.http_endpoint = value_of(flag, value, listen_address)?,
            "--metrics-address" => self.metrics_address = value_of(flag, value, listen_address)?,
            "--metrics-path" => self.metrics_path = Some(value_of(flag, value, metrics_path)?),
            "--once" => self.once = value_of(flag, value, boolean)?,
            "--install" => self.install = Some(value_of(flag, value, file)?),
            "--interval" => self.interval = Some(value_of(flag, value, duration::parse_positive)?),
            "--retries" => self.retries = Some(value_of(flag, value, retries)?),
            "--health-file" => self.health_file = Some(value_of(flag, value, file)?),
            "--v" => self.verbosity = value_of(flag, value, verbosity)?,
            "--logging-format" => self.format = value_of(flag, value, format)?,
            name => {
                // The value is checked all the same: a typo in an old manifest
                // was an error there, too.
                value_of(flag, value, flag.check)?;
                if !self.without_effect.contains(&name) {
                    self.without_effect.push(name);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, extra: Extra) -> Result<(), String> {
        if self.extra.iter().any(|other| other.name == extra.name) {
            return Err(format!(
                "--extra-csi-address gives the name {:?} twice; each driver needs its own",
                extra.name
            ));
        }
        if self.extra.len() == EXTRA_MAX {
            return Err(format!(
                "--extra-csi-address is given more than {EXTRA_MAX} times; start another process"
            ));
        }
        self.extra.push(extra);
        Ok(())
    }

    /// Looks at the values together, and at the variables behind them.
    pub(super) fn command(
        mut self,
        environment: &[(OsString, OsString)],
    ) -> Result<Command, (Exit, String)> {
        let bad = |message| (Exit::BAD_FLAGS, message);
        if let Some(to) = self.install.take() {
            let what = "--install copies this program and does nothing else";
            if self.once {
                return Err(bad(format!("{what}; leave out --once")));
            }
            self.is_alone(what).map_err(bad)?;
            let warnings = self.warnings;
            return Ok(Command::Install { to, warnings });
        }
        let mut variables = Variables::of(environment);
        if self.once {
            let what = "--once makes one probe of one driver and serves nothing";
            self.is_alone(what).map_err(bad)?;
            return self
                .options(None, variables)
                .map(|options| Command::Once(Box::new(options)))
                .map_err(bad);
        }
        self.check_listeners()?;
        self.warn_of_every_address(environment);
        let periodic = self.periodic(&mut variables).map_err(bad)?;
        self.options(periodic, variables)
            .map(|options| Command::Serve(Box::new(options)))
            .map_err(bad)
    }

    /// Warns of an address whose host may have been meant to be a variable's value.
    fn warn_of_every_address(&mut self, environment: &[(OsString, OsString)]) {
        let given = [
            ("--http-endpoint", &self.http_endpoint),
            ("--metrics-address", &self.metrics_address),
        ];
        let without_host = given.into_iter().find_map(|(flag, address)| {
            let address = address.as_ref()?;
            address.host.is_empty().then(|| format!("{flag}={address}"))
        });
        if let Some(given) = without_host
            && let Some(name) = kubernetes::emptied(environment)
        {
            self.warnings.push(Warning {
                what: "Serving on every address of the pod",
                reason: format!(
                    "{given} has no host, maybe because the variable {name} is set and empty; \
                     if every address is meant, this is as it should be"
                ),
            });
        }
    }

    /// Whether nothing is asked for that serves or goes on, for what does not.
    fn is_alone(&self, what: &str) -> Result<(), String> {
        let others = [
            ("--extra-csi-address", !self.extra.is_empty()),
            ("--health-port", self.health_port.is_some()),
            ("--http-endpoint", self.http_endpoint.is_some()),
            ("--metrics-address", self.metrics_address.is_some()),
            ("--interval", self.interval.is_some()),
            ("--retries", self.retries.is_some()),
            ("--health-file", self.health_file.is_some()),
        ];
        match others.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(format!("{what}; leave out {name}")),
            None => Ok(()),
        }
    }

    fn check_listeners(&self) -> Result<(), (Exit, String)> {
        if self.http_endpoint.is_none() {
            return Ok(());
        }
        // As upstream, the default's own value is let through.
        if self
            .health_port
            .is_some_and(|port| port != DEFAULT_HEALTH_PORT)
        {
            return Err(both_set("--health-port", "--http-endpoint"));
        }
        if self.metrics_address.is_some() {
            return Err(both_set("--metrics-address", "--http-endpoint"));
        }
        Ok(())
    }

    /// Flags alone turn probing at a pace on: where a variable did, one that was meant
    /// for another container would take `/healthz` away.
    fn periodic(&self, variables: &mut Variables<'_>) -> Result<Option<Periodic>, String> {
        if self.interval.is_none() && self.retries.is_none() && self.health_file.is_none() {
            let why = if self.extra.is_empty() {
                "give --interval, --retries or --health-file to have probes at a pace; HTTP \
                 is served without them"
            } else {
                "there are no probes at a pace with --extra-csi-address; HTTP is served"
            };
            variables.has_no_effect("--interval", why);
            variables.has_no_effect("--retries", why);
            return Ok(None);
        }
        if !self.extra.is_empty() {
            return Err(
                "--extra-csi-address needs somebody who asks for each driver over HTTP; \
                 leave out --interval, --retries and --health-file"
                    .to_owned(),
            );
        }
        let interval = variables.or(self.interval, "--interval", duration::parse_positive);
        let retries = variables.or(self.retries, "--retries", retries);
        Ok(Some(Periodic {
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            retries: retries.unwrap_or(DEFAULT_RETRIES),
            health_file: self.health_file.clone(),
        }))
    }

    fn options(
        self,
        periodic: Option<Periodic>,
        mut variables: Variables<'_>,
    ) -> Result<Options, String> {
        let csi_address = one_of(
            ("--csi-address", self.csi_address),
            ("--endpoint", self.endpoint),
        )?;
        let csi_address = variables.or(csi_address, "--csi-address", CsiAddress::parse_endpoint);
        let metrics_path = self.metrics_path.unwrap_or_else(|| "/metrics".to_owned());
        if !self.extra.is_empty() && routes::is_health_path(&metrics_path) {
            return Err(format!(
                "--metrics-path={metrics_path} is where another driver's health is asked for; \
                 choose another, such as /metrics"
            ));
        }
        let timeout = one_of(
            ("--probe-timeout", self.probe_timeout.map(Timeout)),
            ("--timeout", self.timeout.map(Timeout)),
        )?;
        let timeout = variables.or(
            timeout.map(|timeout| timeout.0),
            "--probe-timeout",
            duration::parse_positive,
        );
        let method = method(self.probe_path, self.service, &mut variables)?;
        let is_asked_for = self.health_port.is_some() || periodic.is_none();
        let (health, metrics) = match (self.http_endpoint, self.metrics_address) {
            (Some(endpoint), _) => (Some(endpoint), MetricsAt::WithHealth),
            (None, alone) => (
                is_asked_for.then(|| {
                    let port = self.health_port.unwrap_or(DEFAULT_HEALTH_PORT);
                    ListenAddress::on_every_interface(port)
                }),
                alone.map_or(MetricsAt::Nowhere, MetricsAt::Alone),
            ),
        };
        Ok(Options {
            csi_address: csi_address.unwrap_or_else(|| CsiAddress::Path("/run/csi/socket".into())),
            extra: self.extra,
            probe_timeout: timeout.unwrap_or(Duration::from_secs(3)),
            method,
            health,
            metrics,
            metrics_path,
            periodic,
            verbosity: self.verbosity,
            format: self.format,
            without_effect: self.without_effect,
            warnings: [self.warnings, variables.warnings].concat(),
        })
    }
}

/// Upstream's words, which somebody may search for.
fn both_set(one: &str, other: &str) -> (Exit, String) {
    (
        Exit::CANNOT_RUN,
        format!("Only one of `{one}` and `{other}` can be explicitly set"),
    )
}

/// The value of a flag that has two names.
fn one_of<T: PartialEq + std::fmt::Display>(
    (name, value): (&str, Option<T>),
    (other_name, other_value): (&str, Option<T>),
) -> Result<Option<T>, String> {
    match (value, other_value) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "{name}={one} and {other_name}={other}: two names for one thing, with different \
             values; leave out one of them"
        )),
        (one, other) => Ok(one.or(other)),
    }
}

/// A duration in Go's words.
#[derive(PartialEq)]
struct Timeout(Duration);

impl std::fmt::Display for Timeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&duration::format(self.0))
    }
}

fn method(
    path: Option<String>,
    service: Option<String>,
    variables: &mut Variables<'_>,
) -> Result<Method, String> {
    let path = match (path, &service) {
        // One method alone goes with the flag, so it is called although the variable names
        // another one, or none.
        (None, Some(_)) if variables.for_flag("--probe-path").is_some() => {
            let instead = format!("{HEALTH_CHECK_PATH} is called, because --service is given");
            let path = variables.understood("--probe-path", health_check_path, &instead);
            Some(path.unwrap_or_else(|| HEALTH_CHECK_PATH.to_owned()))
        }
        (path, _) => variables.or(path, "--probe-path", probe_path),
    };
    let method = path.map_or(Method::Identity, |path| Method::of_path(&path));
    match (method, service) {
        (Method::Health { .. }, Some(service)) => Ok(Method::Health { service }),
        (_, Some(service)) => Err(format!(
            "--service={service} needs --probe-path={HEALTH_CHECK_PATH}; no other method asks \
             about a service"
        )),
        (method, None) => Ok(method),
    }
}

/// The one method that goes with a service.
fn health_check_path(text: &str) -> Result<String, String> {
    match probe_path(text)? {
        path if path == HEALTH_CHECK_PATH => Ok(path),
        _ => Err(format!(
            "it must be {HEALTH_CHECK_PATH}, because no other method asks about a service"
        )),
    }
}

fn probe_path(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_path = text
        .strip_prefix('/')
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(service, method)| is_name(service) && is_name(method));
    if !is_path {
        return Err(format!(
            "it must be /service/method, such as /csi.v1.Identity/Probe or {HEALTH_CHECK_PATH}"
        ));
    }
    Ok(text.to_owned())
}

/// A service's name: what gRPC's own registries hold, and nothing that a header
/// or a log line could trip over.
fn service(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => Err(format!("{bad:?} cannot be part of a service's name")),
        None => Ok(text.to_owned()),
    }
}

fn extra(text: &str) -> Result<Extra, String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("it must be NAME=ADDRESS, such as nfs=/csi-nfs/csi.sock")?;
    routes::check_name(name)?;
    Ok(Extra {
        name: name.to_owned(),
        address: CsiAddress::parse(address)?,
    })
}

fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty; name a file".to_owned()),
        text if text.ends_with('/') => Err("it names a directory; name the file in it".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

fn retries(text: &str) -> Result<u32, String> {
    match unsigned(text) {
        Ok(0) => Err("it must be 1 or more".to_owned()),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err("it must be a number, 1 or more".to_owned()),
    }
}
