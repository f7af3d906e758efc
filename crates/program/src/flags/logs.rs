//! The flags that every program has: its logs, its help and its version, and those that old
//! manifests give to sidecars and that have no effect here.

use super::{Flag, Print, Warning, boolean, unsigned};
use crate::duration;
use crate::logging::{Format, VERBOSITY_MAX};

/// How a program logs, and what it has to log about its own command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// `--v`, 0 to 10.
    pub verbosity: u8,
    /// `--logging-format`.
    pub format: Format,
    /// Flags that were given and have no effect.
    pub without_effect: Vec<&'static str>,
    /// Probable mistakes.
    pub warnings: Vec<Warning>,
}

/// The raw values of a program that has these flags.
pub trait LogFlags: Sized + 'static {
    /// Where the values go.
    fn logs(&mut self) -> &mut Logs;

    /// Flags with an effect.
    const LOG_FLAGS: &'static [Flag<Self>] = &[
        Flag::new(
            "--v",
            "N",
            "Log verbosity, 0 to 10. Below 5, only changes of state are logged; from 5, also \
             every call and request; at 10, also the internals of gRPC.",
            |raw: &mut Self, given| given.put(&mut raw.logs().verbosity, verbosity),
        )
        .or_default("0"),
        Flag::new(
            "--logging-format",
            "text|json",
            "Format of the log on stderr: klog's text or JSON.",
            |raw: &mut Self, given| given.put(&mut raw.logs().format, format),
        )
        .or_default("text"),
        Flag::printing(
            "--version",
            "Print the name, version and revision, and exit.",
            Print::Version,
        ),
        Flag::printing("--help", "Print this help and exit.", Print::Help),
        Flag::printing("--h", "", Print::Help),
    ];

    /// Flags without effect: those of Go programs, of component-base's logs, and of klog's
    /// older versions.
    const OLD_LOG_FLAGS: &'static [Flag<Self>] = &[
        Flag::without_effect("--automaxprocs", "", a_bool),
        Flag::without_effect("--vmodule", "PATTERN=N,...", patterns),
        Flag::without_effect("--log-flush-frequency", "DURATION", a_duration),
        Flag::without_effect("--log-text-split-stream", "", a_bool),
        Flag::without_effect("--log-json-split-stream", "", a_bool),
        Flag::without_effect("--log-text-info-buffer-size", "QUANTITY", quantity),
        Flag::without_effect("--log-json-info-buffer-size", "QUANTITY", quantity),
        Flag::without_effect("--alsologtostderr", "", a_bool),
        Flag::without_effect("--logtostderr", "", a_bool),
        Flag::without_effect("--stderrthreshold", "SEVERITY", severity),
        Flag::without_effect("--log_dir", "DIRECTORY", anything),
        Flag::without_effect("--log_file", "FILE", anything),
        Flag::without_effect("--log_file_max_size", "MEGABYTES", a_number),
        Flag::without_effect("--log_backtrace_at", "FILE:LINE", trace_location),
        Flag::without_effect("--one_output", "", a_bool),
        Flag::without_effect("--skip_headers", "", a_bool),
        Flag::without_effect("--skip_log_headers", "", a_bool),
        Flag::without_effect("--add_dir_header", "", a_bool),
    ];
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

#[allow(clippy::unnecessary_wraps, reason = "one of the checks that may fail")]
fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn a_bool(text: &str) -> Result<(), String> {
    boolean(text).map(drop)
}

fn a_duration(text: &str) -> Result<(), String> {
    duration::parse(text).map(drop)
}

fn a_number(text: &str) -> Result<(), String> {
    unsigned(text).map(drop)
}

/// klog: a severity by name or number.
fn severity(text: &str) -> Result<(), String> {
    let name = text.to_ascii_uppercase();
    if ["INFO", "WARNING", "ERROR", "FATAL"].contains(&name.as_str()) || unsigned(text).is_ok() {
        return Ok(());
    }
    Err("it must be INFO, WARNING, ERROR or FATAL, or a number".to_owned())
}

/// klog's `file.go:234`; empty means none.
fn trace_location(text: &str) -> Result<(), String> {
    let is_location = text
        .rsplit_once(':')
        .is_some_and(|(file, line)| !file.is_empty() && unsigned(line).is_ok_and(|line| line > 0));
    if text.is_empty() || is_location {
        return Ok(());
    }
    Err("it must be a file and a line, such as main.go:137".to_owned())
}

/// klog's comma-separated `pattern=level` pairs; empty items are passed over.
fn patterns(text: &str) -> Result<(), String> {
    let is_pair = |item: &str| {
        item.split_once('=')
            .is_some_and(|(pattern, level)| !pattern.is_empty() && unsigned(level).is_ok())
    };
    if text.split(',').all(|item| item.is_empty() || is_pair(item)) {
        return Ok(());
    }
    Err("it must be pairs of file pattern and level, such as main=3,server=5".to_owned())
}

/// A Kubernetes quantity of bytes: a decimal number, and a suffix or exponent
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
fn quantity(text: &str) -> Result<(), String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_number = number.bytes().any(|byte| byte.is_ascii_digit())
        && number.bytes().filter(|byte| *byte == b'.').count() <= 1;
    let is_exponent = suffix
        .strip_prefix(['e', 'E'])
        .map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits))
        .is_some_and(|digits| unsigned(digits).is_ok());
    let is_suffix = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ]
    .contains(&suffix);
    if is_number && (is_suffix || is_exponent) {
        return Ok(());
    }
    Err("it must be a quantity of bytes, such as 0, 512k or 1Mi".to_owned())
}
