//! The command line of this program: the [`Options`] that its flags, and the variables that
//! stand for some of them, come to. Pure: nothing is read but the arguments and variables that
//! the caller passes.

mod raw;
mod rules;
mod table;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::PROGRAM;
use crate::method::Method;
use csi::CsiAddress;
use front::ListenAddress;
use program::exit::Exit;
use program::flags::{Print, Warning, boolean};
use program::logging::Format;
use raw::Raw;
use table::TABLE;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve health, or probe periodically, or both.
    Serve(Box<Options>),
    /// Make one probe.
    Once(Box<Options>),
    /// Copy this program.
    Install {
        /// The file that the copy becomes.
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
    /// The deadline of a probe, connecting included.
    pub probe_timeout: Duration,
    /// The method that a probe calls.
    pub method: Method,
    /// Where the health paths are served, if anywhere.
    pub health: Option<ListenAddress>,
    /// Where the metrics are served.
    pub metrics: MetricsAt,
    /// The path of the metrics.
    pub metrics_path: String,
    /// The periodic probe, if there is one.
    pub periodic: Option<Periodic>,
    /// Verbosity, 0 to 10.
    pub verbosity: u8,
    /// The format of log lines.
    pub format: Format,
    /// Flags that were given and have no effect.
    pub without_effect: Vec<&'static str>,
    /// What is to be logged at the start.
    pub warnings: Vec<Warning>,
}

/// A further driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// Its name in paths, and in metrics until the driver's own name is known.
    pub name: String,
    /// Where it listens.
    pub address: CsiAddress,
}

/// Probes that the process makes without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periodic {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The number of consecutive failures that ends the process.
    pub retries: u32,
    /// A file that exists while the driver counts as healthy.
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
    /// The exit code of the process.
    pub exit: Exit,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The log format that was chosen before the error, which the error has as well.
    pub format: Format,
    /// Whether a single probe was asked for. This process then runs in the container of another
    /// program, and must not leave its last words for kubelet there.
    pub is_once: bool,
}

/// Parses the arguments after the program's name. `environment` has the names and values of all
/// variables.
///
/// # Errors
///
/// Names the flag, the value and what would be right. A variable is never the reason.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &[(OsString, OsString)],
) -> Result<Command, FlagError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The reading may fail before it comes to the flag.
    let is_once = arguments.iter().any(|word| is_once(word));
    let mut raw = Raw::default();
    let read = program::flags::read(&TABLE, arguments, &mut raw);
    let format = raw.logs.format;
    match read {
        Ok(Some(Print::Help)) => Ok(Command::Help),
        Ok(Some(Print::Version)) => Ok(Command::Version),
        Ok(None) => raw.command(environment),
        Err(message) => Err((Exit::BAD_FLAGS, message)),
    }
    .map_err(|(exit, message)| FlagError {
        exit,
        message,
        format,
        is_once,
    })
}

/// Whether an argument is `--once`, with any value but false.
fn is_once(word: &OsStr) -> bool {
    let flag = word.to_str().and_then(|word| word.strip_prefix('-'));
    let flag = flag.map(|flag| flag.strip_prefix('-').unwrap_or(flag));
    flag.is_some_and(|flag| match flag.strip_prefix("once=") {
        Some(value) => boolean(value) != Ok(false),
        None => flag == "once",
    })
}

/// The variables that stand for flags.
pub fn variables() -> impl Iterator<Item = &'static str> {
    TABLE.variables()
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    TABLE.help(&PROGRAM)
}

/// The text of `--version`: name, semantic version, revision.
#[must_use]
pub fn version() -> String {
    program::flags::version(&PROGRAM)
}

#[cfg(test)]
mod tests;
