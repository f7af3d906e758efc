//! The command line: Go's flag syntax over pico-args, upstream's flags, the
//! variables that stand for some of them, and the [`Options`] they come to. Pure:
//! nothing is read but the words and variables given.

mod go_syntax;
mod help;
mod kubernetes;
mod raw;
mod table;
mod variables;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::method::Method;
use crate::routes;
use csi::CsiAddress;
use front::ListenAddress;
use go_syntax::Words;
use program::exit::Exit;
use program::logging::{Format, VERBOSITY_MAX};
use raw::Raw;
use table::Flag;

pub use help::{help, version};
pub use table::variables;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve probes, or make them at a pace, or both.
    Serve(Box<Options>),
    /// Make one probe.
    Once(Box<Options>),
    /// Copy this program there.
    Install {
        /// The file that it becomes.
        to: PathBuf,
        /// What is to be logged before.
        warnings: Vec<Warning>,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The options of a process that probes.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the driver listens.
    pub csi_address: CsiAddress,
    /// Further drivers.
    pub extra: Vec<Extra>,
    /// One deadline over connect and call.
    pub probe_timeout: Duration,
    /// What the driver is asked.
    pub method: Method,
    /// Where the health paths are served, if anywhere.
    pub health: Option<ListenAddress>,
    /// Where the metrics are served.
    pub metrics: MetricsAt,
    /// The metrics' path.
    pub metrics_path: String,
    /// Probes at a pace of its own.
    pub periodic: Option<Periodic>,
    /// Verbosity, 0 to 10.
    pub verbosity: u8,
    /// The log lines' form.
    pub format: Format,
    /// Flags that were given and have no effect here.
    pub without_effect: Vec<&'static str>,
    /// What is to be logged at the start.
    pub warnings: Vec<Warning>,
}

/// What was probably not meant, and does not keep the process from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The log line's message.
    pub what: &'static str,
    /// The flag or variable, its value, and what would be right.
    pub reason: String,
}

/// A further driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// What it is called in paths, and in metrics until it has told its name.
    pub name: String,
    /// Where it listens.
    pub address: CsiAddress,
}

/// Probes at a pace of the process' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periodic {
    /// From the beginning of one probe to that of the next.
    pub interval: Duration,
    /// How many failures in a row end the process.
    pub retries: u32,
    /// A file that is there while the driver counts as healthy.
    pub health_file: Option<PathBuf>,
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
    /// Whether a single probe was asked for: then this is a guest in another
    /// program's container, and its last words are no business of kubelet's.
    pub is_once: bool,
}

/// Parses the words after the program's name. `environment` has the names and values
/// of all variables.
///
/// # Errors
///
/// Names the flag, the value and what would be right. A variable is never the reason.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &[(OsString, OsString)],
) -> Result<Command, FlagError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Also where the command line fails before it gets there.
    let is_once = arguments.iter().any(|word| {
        let flag = word.to_str().and_then(|word| word.strip_prefix('-'));
        let flag = flag.map(|flag| flag.strip_prefix('-').unwrap_or(flag));
        flag.is_some_and(|flag| match flag.strip_prefix("once=") {
            Some(value) => boolean(value) != Ok(false),
            None => flag == "once",
        })
    });
    let mut raw = Raw::default();
    let command = read(arguments, &mut raw).map_err(|message| (Exit::BAD_FLAGS, message));
    let format = raw.format;
    command
        .and_then(|command| match command {
            Some(command) => Ok(command),
            None => raw.command(environment),
        })
        .map_err(|(exit, message)| FlagError {
            exit,
            message,
            format,
            is_once,
        })
}

/// Reads all words into `raw`. `--help` and `--version` end it where they
/// stand, so that nothing behind them can make them fail.
fn read(arguments: Vec<OsString>, raw: &mut Raw) -> Result<Option<Command>, String> {
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
            _ => {
                let warning = kubernetes::warning(flag.name, &value);
                raw.set(flag, value)?;
                raw.warnings.extend(warning);
            }
        }
    }
    if words.empty_at_end > 0 {
        raw.warnings.push(Warning {
            what: "Empty arguments at the end of the command line",
            reason: format!(
                "they have no effect ({} of them); charts render them from an empty list",
                words.empty_at_end
            ),
        });
    }
    Ok(None)
}

/// Has pico-args convert one pair of flag and value. It never sees the command
/// line itself, whose syntax is not Go's there: the first of two wins, a bool
/// takes no value, an empty value is refused.
fn value_of<T>(
    flag: &'static Flag,
    value: OsString,
    convert: fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    converted(flag.name, value, convert)
}

/// As [`value_of`], for whatever the value was given by.
fn converted<T>(
    name: &'static str,
    value: OsString,
    convert: fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    /// pico-args takes a pair by a flag's name; a variable has none.
    const ANY: &str = "--value";
    let given = value.to_string_lossy().into_owned();
    pico_args::Arguments::from_vec(vec![ANY.into(), value])
        .value_from_fn(ANY, convert)
        .map_err(|error| {
            let reason = match error {
                pico_args::Error::Utf8ArgumentParsingFailed { cause, .. } => cause,
                pico_args::Error::NonUtf8Argument => "it is not UTF-8".to_owned(),
                other => other.to_string(),
            };
            let message = format!("invalid value {given:?} for {name}: {reason}");
            match kubernetes::unexpanded(&given) {
                Some(hint) => format!("{message}; {hint}"),
                None => message,
            }
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
    if [routes::HEALTHZ, routes::LIVEZ, routes::READYZ].contains(&text) {
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
