//! The values as given, and what they come to together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::table::{self, Flag};
use super::{
    Command, Extra, MetricsAt, Options, Periodic, boolean, converted, format, listen_address,
    metrics_path, unsigned, value_of, verbosity,
};
use crate::address::{self, CsiAddress, ListenAddress};
use crate::duration;
use crate::exit::Exit;
use crate::health;
use crate::logging::Format;
use crate::probe::{HEALTH_CHECK_PATH, Method};

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
}

/// Looks up a variable.
type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

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
            "--health-port" => self.health_port = Some(value_of(flag, value, address::port)?),
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
    pub(super) fn command(self, variable: Variable<'_>) -> Result<Command, (Exit, String)> {
        let bad = |message| (Exit::BadFlags, message);
        if let Some(file) = &self.install {
            let what = "--install copies this program and does nothing else";
            if self.once {
                return Err(bad(format!("{what}; leave out --once")));
            }
            self.is_alone(what).map_err(bad)?;
            return Ok(Command::Install(file.clone()));
        }
        if self.once {
            let what = "--once makes one probe of one driver and serves nothing";
            self.is_alone(what).map_err(bad)?;
            return self
                .options(None, variable)
                .map(|options| Command::Once(Box::new(options)))
                .map_err(bad);
        }
        self.check_listeners()?;
        let periodic = self.periodic(variable).map_err(bad)?;
        self.options(periodic, variable)
            .map(|options| Command::Serve(Box::new(options)))
            .map_err(bad)
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

    fn periodic(&self, variable: Variable<'_>) -> Result<Option<Periodic>, String> {
        let interval = or_variable(
            self.interval,
            "--interval",
            duration::parse_positive,
            variable,
        )?;
        let retries = or_variable(self.retries, "--retries", retries, variable)?;
        if interval.is_none() && retries.is_none() && self.health_file.is_none() {
            return Ok(None);
        }
        if !self.extra.is_empty() {
            return Err(
                "--extra-csi-address needs somebody who asks for each driver over HTTP; \
                 leave out --interval, --retries and --health-file, and their variables"
                    .to_owned(),
            );
        }
        Ok(Some(Periodic {
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            retries: retries.unwrap_or(DEFAULT_RETRIES),
            health_file: self.health_file.clone(),
        }))
    }

    fn options(
        self,
        periodic: Option<Periodic>,
        variable: Variable<'_>,
    ) -> Result<Options, String> {
        let csi_address = one_of(
            ("--csi-address", self.csi_address),
            ("--endpoint", self.endpoint),
        )?;
        let csi_address = or_variable(csi_address, "--csi-address", CsiAddress::parse, variable)?;
        let metrics_path = self.metrics_path.unwrap_or_else(|| "/metrics".to_owned());
        if !self.extra.is_empty() && health::is_health_path(&metrics_path) {
            return Err(format!(
                "--metrics-path={metrics_path} is where another driver's health is asked for; \
                 choose another, such as /metrics"
            ));
        }
        let timeout = one_of(
            ("--probe-timeout", self.probe_timeout.map(Timeout)),
            ("--timeout", self.timeout.map(Timeout)),
        )?;
        let timeout = or_variable(
            timeout.map(|timeout| timeout.0),
            "--probe-timeout",
            duration::parse_positive,
            variable,
        )?;
        let path = or_variable(self.probe_path, "--probe-path", probe_path, variable)?;
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
            method: method(path, self.service)?,
            health,
            metrics,
            metrics_path,
            periodic,
            verbosity: self.verbosity,
            format: self.format,
            without_effect: self.without_effect,
        })
    }
}

/// Upstream's words, which somebody may search for.
fn both_set(one: &str, other: &str) -> (Exit, String) {
    (
        Exit::CannotRun,
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

/// The value of this flag, or else of the variable that stands for it.
fn or_variable<T>(
    given: Option<T>,
    flag: &str,
    convert: fn(&str) -> Result<T, String>,
    variable: Variable<'_>,
) -> Result<Option<T>, String> {
    let name = table::variable(flag);
    match (given, variable(name).filter(|value| !value.is_empty())) {
        (None, Some(value)) => converted(name, value, convert).map(Some),
        (given, _) => Ok(given),
    }
}

fn method(path: Option<String>, service: Option<String>) -> Result<Method, String> {
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
    health::check_name(name)?;
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
