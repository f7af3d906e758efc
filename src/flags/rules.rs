//! The rules between values: what they ask for together, and which of them exclude each other.

use std::ffi::OsString;
use std::time::Duration;

use csi::CsiAddress;
use csi::flags::default_address;
use front::ListenAddress;
use front::flags::DEFAULT_METRICS_PATH;
use program::duration;
use program::exit::Exit;
use program::flags::{Variables, one_of};

use super::raw::Raw;
use super::table::{self, CSI_ADDRESS, INTERVAL, PROBE_PATH, PROBE_TIMEOUT, RETRIES};
use super::{Command, MetricsAt, Options, Periodic};
use crate::method::{HEALTH_CHECK_PATH, Method};
use crate::routes;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_HEALTH_PORT: u16 = 9808;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_RETRIES: u32 = 3;

impl Raw {
    /// The command that these values make together with the variables behind them.
    pub(super) fn command(
        mut self,
        environment: &[(OsString, OsString)],
    ) -> Result<Command, (Exit, String)> {
        let bad = |message| (Exit::BAD_FLAGS, message);
        if let Some(to) = self.install.take() {
            let reason = "--install copies this program and does nothing else";
            if self.once {
                return Err(bad(format!("{reason}; leave out --once")));
            }
            self.check_alone(reason).map_err(bad)?;
            let warnings = self.logs.warnings;
            return Ok(Command::Install { to, warnings });
        }
        let mut variables = Variables::of(environment);
        if self.once {
            self.check_alone("--once makes one probe of one driver and serves nothing")
                .map_err(bad)?;
            return self
                .options(None, variables)
                .map(|options| Command::Once(Box::new(options)))
                .map_err(bad);
        }
        self.check_listeners()
            .map_err(|message| (Exit::CANNOT_RUN, message))?;
        let warning = self.listeners.warning(environment);
        self.logs.warnings.extend(warning);
        let periodic = self.periodic(&mut variables).map_err(bad)?;
        self.options(periodic, variables)
            .map(|options| Command::Serve(Box::new(options)))
            .map_err(bad)
    }

    /// Checks that no flag was given for a process that serves or goes on.
    fn check_alone(&self, reason: &str) -> Result<(), String> {
        let others = [
            ("--extra-csi-address", !self.extra.is_empty()),
            ("--health-port", self.health_port.is_some()),
            ("--http-endpoint", self.listeners.http_endpoint.is_some()),
            (
                "--metrics-address",
                self.listeners.metrics_address.is_some(),
            ),
            ("--interval", self.interval.is_some()),
            ("--retries", self.retries.is_some()),
            ("--health-file", self.health_file.is_some()),
        ];
        match others.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(format!("{reason}; leave out {name}")),
            None => Ok(()),
        }
    }

    fn check_listeners(&self) -> Result<(), String> {
        // As upstream, the default port may be given.
        let is_other_port = |port| port != DEFAULT_HEALTH_PORT;
        let conflict = match self.listeners.http_endpoint {
            Some(_) if self.health_port.is_some_and(is_other_port) => {
                Some(["--health-port", "--http-endpoint"])
            }
            _ => self.listeners.conflict(),
        };
        match conflict {
            // Upstream's words, so that a search for them finds what is written about it.
            Some([one, other]) => Err(format!(
                "Only one of `{one}` and `{other}` can be explicitly set"
            )),
            None => Ok(()),
        }
    }

    /// Only flags turn the periodic probe on. If a variable did, one that is meant for another
    /// container would take `/healthz` away.
    fn periodic(&self, variables: &mut Variables<'_>) -> Result<Option<Periodic>, String> {
        if self.interval.is_none() && self.retries.is_none() && self.health_file.is_none() {
            let why = if self.extra.is_empty() {
                "give --interval, --retries or --health-file to probe periodically; without \
                 them HTTP is served"
            } else {
                "there is no periodic probe with --extra-csi-address; HTTP is served"
            };
            variables.has_no_effect(&INTERVAL, why);
            variables.has_no_effect(&RETRIES, why);
            return Ok(None);
        }
        if !self.extra.is_empty() {
            return Err(
                "--extra-csi-address serves the health of each driver over HTTP alone; leave \
                 out --interval, --retries and --health-file"
                    .to_owned(),
            );
        }
        let interval = variables.or(self.interval, &INTERVAL, duration::parse_positive);
        let retries = variables.or(self.retries, &RETRIES, table::retries);
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
        let csi_address = self.addresses.given()?;
        let csi_address = variables.or(csi_address, &CSI_ADDRESS, CsiAddress::parse_endpoint);
        let metrics_path = self
            .listeners
            .metrics_path
            .unwrap_or_else(|| DEFAULT_METRICS_PATH.to_owned());
        if !self.extra.is_empty() && routes::is_health_path(&metrics_path) {
            return Err(format!(
                "--metrics-path={metrics_path} is the health path of another driver; choose \
                 another, such as /metrics"
            ));
        }
        let timeout = one_of(
            ("--probe-timeout", self.probe_timeout),
            ("--timeout", self.timeout),
            |timeout| duration::format(*timeout),
        )?;
        let timeout = variables.or(timeout, &PROBE_TIMEOUT, duration::parse_positive);
        let method = method(self.probe_path, self.service, &mut variables)?;
        let serves_health = self.health_port.is_some() || periodic.is_none();
        let (health, metrics) = match (self.listeners.http_endpoint, self.listeners.metrics_address)
        {
            (Some(endpoint), _) => (Some(endpoint), MetricsAt::WithHealth),
            (None, alone) => (
                serves_health.then(|| {
                    let port = self.health_port.unwrap_or(DEFAULT_HEALTH_PORT);
                    ListenAddress::on_every_interface(port)
                }),
                alone.map_or(MetricsAt::Nowhere, MetricsAt::Alone),
            ),
        };
        Ok(Options {
            csi_address: csi_address.unwrap_or_else(default_address),
            extra: self.extra,
            probe_timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            method,
            health,
            metrics,
            metrics_path,
            periodic,
            verbosity: self.logs.verbosity,
            format: self.logs.format,
            without_effect: self.logs.without_effect,
            warnings: [self.logs.warnings, variables.warnings].concat(),
        })
    }
}

fn method(
    path: Option<String>,
    service: Option<String>,
    variables: &mut Variables<'_>,
) -> Result<Method, String> {
    let path = match (path, &service) {
        // Only one method has a service. The flag is stronger than the variable, so that
        // method is called even if the variable names another one or none.
        (None, Some(_)) if variables.value(&PROBE_PATH).is_some() => {
            let instead = format!("{HEALTH_CHECK_PATH} is called, because --service is given");
            let path = variables.converted(&PROBE_PATH, health_check_path, &instead);
            Some(path.unwrap_or_else(|| HEALTH_CHECK_PATH.to_owned()))
        }
        (path, _) => variables.or(path, &PROBE_PATH, table::probe_path),
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

/// The path of the one method that has a service.
fn health_check_path(text: &str) -> Result<String, String> {
    match table::probe_path(text)? {
        path if path == HEALTH_CHECK_PATH => Ok(path),
        _ => Err(format!(
            "it must be {HEALTH_CHECK_PATH}, because no other method asks about a service"
        )),
    }
}
