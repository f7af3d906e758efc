//! The command line: Go's flag syntax over pico-args, upstream's flags, and
//! the [`Options`] they come to. Pure: nothing is read but the words given.

mod help;
mod table;
mod words;

use std::ffi::OsString;
use std::time::Duration;

use crate::address::{self, CsiAddress, ListenAddress};
use crate::duration;
use crate::exit::Exit;
use crate::health;
use crate::logging::{Format, VERBOSITY_MAX};
use table::Flag;
use words::Words;

pub use help::{help, version};

const DEFAULT_HEALTH_PORT: u16 = 9808;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve probes.
    Serve(Box<Options>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The options of a process that serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the driver listens.
    pub csi_address: CsiAddress,
    /// One deadline over connect and call.
    pub probe_timeout: Duration,
    /// Where the health paths are served.
    pub health: ListenAddress,
    /// Where the metrics are served.
    pub metrics: MetricsAt,
    /// The metrics' path.
    pub metrics_path: String,
    /// Verbosity, 0 to 10.
    pub verbosity: u8,
    /// The log lines' form.
    pub format: Format,
    /// Flags that were given and have no effect here.
    pub without_effect: Vec<&'static str>,
}

/// Where the metrics are served.
#[derive(Debug, PartialEq, Eq)]
pub enum MetricsAt {
    /// Nowhere.
    Nowhere,
    /// With the health paths.
    WithHealth,
    /// Alone on this address.
    Alone(ListenAddress),
}

/// A command line that cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub struct FlagError {
    /// What it makes the process exit with.
    pub exit: Exit,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The log form chosen before the error, so that the error has it too.
    pub format: Format,
}

/// The flags' values as given, before they are looked at together.
struct Raw {
    csi_address: CsiAddress,
    probe_timeout: Duration,
    health_port: u16,
    http_endpoint: Option<ListenAddress>,
    metrics_address: Option<ListenAddress>,
    metrics_path: String,
    verbosity: u8,
    format: Format,
    without_effect: Vec<&'static str>,
}

impl Default for Raw {
    fn default() -> Raw {
        Raw {
            csi_address: CsiAddress::Path("/run/csi/socket".into()),
            probe_timeout: Duration::from_secs(3),
            health_port: DEFAULT_HEALTH_PORT,
            http_endpoint: None,
            metrics_address: None,
            metrics_path: "/metrics".to_owned(),
            verbosity: 0,
            format: Format::Text,
            without_effect: Vec::new(),
        }
    }
}

/// Parses the words after the program's name.
///
/// # Errors
///
/// Names the flag, the value and what would be right.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, FlagError> {
    let mut raw = Raw::default();
    let command = read(arguments, &mut raw).map_err(|message| (Exit::BadFlags, message));
    let format = raw.format;
    command
        .and_then(|command| match command {
            Some(command) => Ok(command),
            None => raw
                .validated()
                .map(|options| Command::Serve(Box::new(options))),
        })
        .map_err(|(exit, message)| FlagError {
            exit,
            message,
            format,
        })
}

/// Reads all words into `raw`. `--help` and `--version` end it where they
/// stand, so that nothing behind them can make them fail.
fn read(
    arguments: impl IntoIterator<Item = OsString>,
    raw: &mut Raw,
) -> Result<Option<Command>, String> {
    let mut words = Words::new(arguments);
    while let Some((flag, value)) = words.next_flag()? {
        match flag.name {
            "--help" | "--h" => {
                if value_of(flag, value, boolean)? {
                    return Ok(Some(Command::Help));
                }
            }
            "--version" => {
                if value_of(flag, value, boolean)? {
                    return Ok(Some(Command::Version));
                }
            }
            _ => raw.set(flag, value)?,
        }
    }
    Ok(None)
}

impl Raw {
    fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<(), String> {
        match flag.name {
            "--csi-address" => self.csi_address = value_of(flag, value, CsiAddress::parse)?,
            "--probe-timeout" => {
                self.probe_timeout = value_of(flag, value, duration::parse_positive)?;
            }
            "--health-port" => self.health_port = value_of(flag, value, address::port)?,
            "--http-endpoint" => self.http_endpoint = value_of(flag, value, listen_address)?,
            "--metrics-address" => self.metrics_address = value_of(flag, value, listen_address)?,
            "--metrics-path" => self.metrics_path = value_of(flag, value, metrics_path)?,
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

    /// Looks at the flags together.
    fn validated(self) -> Result<Options, (Exit, String)> {
        if self.http_endpoint.is_some() {
            // As upstream, the default's own value is let through.
            if self.health_port != DEFAULT_HEALTH_PORT {
                return Err(both_set("--health-port", "--http-endpoint"));
            }
            if self.metrics_address.is_some() {
                return Err(both_set("--metrics-address", "--http-endpoint"));
            }
        }
        let (health, metrics) = match (self.http_endpoint, self.metrics_address) {
            (Some(endpoint), _) => (endpoint, MetricsAt::WithHealth),
            (None, alone) => (
                ListenAddress::on_every_interface(self.health_port),
                alone.map_or(MetricsAt::Nowhere, MetricsAt::Alone),
            ),
        };
        Ok(Options {
            csi_address: self.csi_address,
            probe_timeout: self.probe_timeout,
            health,
            metrics,
            metrics_path: self.metrics_path,
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

/// Has pico-args convert one pair of flag and value. It never sees the command
/// line itself, whose syntax is not Go's there: the first of two wins, a bool
/// takes no value, an empty value is refused.
fn value_of<T>(
    flag: &'static Flag,
    value: OsString,
    convert: fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    let given = value.to_string_lossy().into_owned();
    pico_args::Arguments::from_vec(vec![flag.name.into(), value])
        .value_from_fn(flag.name, convert)
        .map_err(|error| {
            let reason = match error {
                pico_args::Error::Utf8ArgumentParsingFailed { cause, .. } => cause,
                pico_args::Error::NonUtf8Argument => "it is not UTF-8".to_owned(),
                other => other.to_string(),
            };
            format!("invalid value {given:?} for {}: {reason}", flag.name)
        })
}

/// Empty means not given, as upstream.
fn listen_address(text: &str) -> Result<Option<ListenAddress>, String> {
    match text {
        "" => Ok(None),
        text => ListenAddress::parse(text).map(Some),
    }
}

fn metrics_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("it must begin with /, such as /metrics".to_owned());
    }
    if [health::HEALTHZ, health::LIVEZ, health::READYZ].contains(&text) {
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

fn verbosity(text: &str) -> Result<u8, String> {
    let number = unsigned(text)?;
    Ok(u8::try_from(number).map_or(VERBOSITY_MAX, |number| number.min(VERBOSITY_MAX)))
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("it must be text or json".to_owned()),
    }
}

/// Go's strconv.ParseBool.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// A number without a sign; more digits than fit mean the largest.
fn unsigned(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it must be a number, 0 or more".to_owned());
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
