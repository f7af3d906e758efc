//! The flags: their names, values, defaults and words. The one place that the
//! parser and the help are made from.

use super::{boolean, unsigned};
use program::duration;

/// A flag.
pub struct Flag {
    /// Its name with two dashes.
    pub name: &'static str,
    /// What its value is called in the help; empty for a bool.
    pub value: &'static str,
    /// Its default, empty where there is none.
    pub default: &'static str,
    /// The environment variable that stands for it, weaker than the flag itself;
    /// empty where there is none.
    pub variable: &'static str,
    /// What it does; empty for a second name, which the help leaves out.
    pub words: &'static str,
    /// Whether a value is acceptable, for flags whose value is not used.
    pub check: fn(&str) -> Result<(), String>,
    /// Where the help shows it.
    pub group: Group,
}

/// The parts of the help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What it probes.
    Probe,
    /// Where it answers.
    Http,
    /// What it does in place of serving, or in addition.
    Ways,
    /// Logs.
    Logs,
    /// Accepted, so that manifests written for upstream go on working.
    WithoutEffect,
}

impl Flag {
    /// Whether it never takes the next word.
    pub fn is_bool(&self) -> bool {
        self.value.is_empty()
    }

    /// How it is written: `--probe-timeout=DURATION`.
    pub fn usage(&self) -> String {
        if self.is_bool() {
            self.name.to_owned()
        } else {
            format!("{}={}", self.name, self.value)
        }
    }
}

/// Finds a flag by its name without dashes.
pub fn find(name: &[u8]) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .find(|flag| flag.name.as_bytes().strip_prefix(b"--") == Some(name))
}

/// The variables that stand for flags.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let variables = FLAGS.iter().map(|flag| flag.variable);
    variables.filter(|variable| !variable.is_empty())
}

/// The variable that stands for this flag; empty where there is none.
pub fn variable(name: &str) -> &'static str {
    let flag = FLAGS.iter().find(|flag| flag.name == name);
    flag.map_or("", |flag| flag.variable)
}

/// What this flag is where it is not given; empty where there is none.
pub fn default(name: &str) -> &'static str {
    let flag = FLAGS.iter().find(|flag| flag.name == name);
    flag.map_or("", |flag| flag.default)
}

const fn flag(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    words: &'static str,
    group: Group,
) -> Flag {
    Flag {
        name,
        value,
        default,
        variable: "",
        words,
        check: anything,
        group,
    }
}

impl Flag {
    const fn or_variable(self, variable: &'static str) -> Flag {
        Flag { variable, ..self }
    }
}

/// A flag that is accepted and does nothing.
const fn old(
    name: &'static str,
    value: &'static str,
    check: fn(&str) -> Result<(), String>,
) -> Flag {
    Flag {
        name,
        value,
        default: "",
        variable: "",
        words: "",
        check,
        group: Group::WithoutEffect,
    }
}

/// All flags, in the help's order.
pub const FLAGS: &[Flag] = &[
    flag(
        "--csi-address",
        "ADDRESS",
        "/run/csi/socket",
        "Where the CSI driver listens: /path, unix:///path, unix:relative/path, \
         unix-abstract:name, tcp://host:port, host:port or dns:///host:port.",
        Group::Probe,
    )
    .or_variable("CSI_ENDPOINT"),
    flag(
        "--endpoint",
        "ADDRESS",
        "",
        "Another name for --csi-address.",
        Group::Probe,
    ),
    flag(
        "--extra-csi-address",
        "NAME=ADDRESS",
        "",
        "Watch a further driver; may be given again. /healthz/NAME answers for \
         it, /healthz/all for all. Not together with --interval and the like.",
        Group::Probe,
    ),
    flag(
        "--probe-timeout",
        "DURATION",
        "3s",
        "One deadline over connecting and calling Probe, such as 500ms, 3s or 1m30s; \
         longer than zero. Keep it below the timeoutSeconds of kubelet's probe.",
        Group::Probe,
    )
    .or_variable("LIVENESS_PROBE_TIMEOUT"),
    flag(
        "--timeout",
        "DURATION",
        "",
        "Another name for --probe-timeout.",
        Group::Probe,
    ),
    flag(
        "--probe-path",
        "PATH",
        "/csi.v1.Identity/Probe",
        "The gRPC method to call. /grpc.health.v1.Health/Check is healthy when it \
         answers SERVING, any other method when it answers an empty request with OK.",
        Group::Probe,
    )
    .or_variable("LIVENESS_PROBE_PATH"),
    flag(
        "--service",
        "NAME",
        "",
        "The service that /grpc.health.v1.Health/Check is asked about; the whole \
         server where it is not given.",
        Group::Probe,
    ),
    flag(
        "--health-port",
        "PORT",
        "9808",
        "Serve the health paths on this TCP port of every address, without metrics. \
         Upstream calls it deprecated in favour of --http-endpoint.",
        Group::Http,
    ),
    flag(
        "--http-endpoint",
        "HOST:PORT",
        "",
        "Serve the health paths and the metrics on this address, such as :9808 or \
         127.0.0.1:9808. Excludes a --health-port other than 9808 and --metrics-address.",
        Group::Http,
    ),
    flag(
        "--metrics-address",
        "HOST:PORT",
        "",
        "Serve the metrics, and nothing else, on this address. Upstream calls it \
         deprecated in favour of --http-endpoint.",
        Group::Http,
    ),
    flag(
        "--metrics-path",
        "PATH",
        "/metrics",
        "The path of the metrics.",
        Group::Http,
    ),
    flag(
        "--once",
        "",
        "",
        "Make one probe, print ok or the reason on stdout, and exit with 0, 3, 4 or 5. \
         For exec probes; serves nothing.",
        Group::Ways,
    ),
    flag(
        "--install",
        "FILE",
        "",
        "Copy this program to FILE with its run bit, whole or not at all, and exit. \
         For an init container: the image has no cp.",
        Group::Ways,
    ),
    flag(
        "--interval",
        "DURATION",
        "10s",
        "Probe at this pace, too, and serve HTTP only where --http-endpoint or \
         --health-port is given. --retries and --health-file turn this on as well; a \
         variable alone does not.",
        Group::Ways,
    )
    .or_variable("LIVENESS_PROBE_INTERVAL"),
    flag(
        "--retries",
        "N",
        "3",
        "Exit with 1 after so many failed probes in a row at that pace.",
        Group::Ways,
    )
    .or_variable("LIVENESS_PROBE_RETRIES"),
    flag(
        "--health-file",
        "FILE",
        "",
        "Create FILE on the first success; remove it after --retries consecutive \
         failures and on exit.",
        Group::Ways,
    ),
    flag(
        "--v",
        "N",
        "0",
        "Verbosity, 0 to 10. Below 5 only changes of state are logged, from 5 on every \
         probe and request, at 10 the inside of gRPC, too.",
        Group::Logs,
    ),
    flag(
        "--logging-format",
        "text|json",
        "text",
        "The form of the log lines on stderr: klog's text, or JSON.",
        Group::Logs,
    ),
    flag(
        "--version",
        "",
        "",
        "Print name, version and revision on stdout, and exit.",
        Group::Logs,
    ),
    flag(
        "--help",
        "",
        "",
        "Print this on stdout, and exit.",
        Group::Logs,
    ),
    flag("--h", "", "", "", Group::Logs),
    old("--automaxprocs", "", a_bool),
    old("--vmodule", "PATTERN=N,...", patterns),
    old("--log-flush-frequency", "DURATION", a_duration),
    old("--log-text-split-stream", "", a_bool),
    old("--log-json-split-stream", "", a_bool),
    old("--log-text-info-buffer-size", "QUANTITY", quantity),
    old("--log-json-info-buffer-size", "QUANTITY", quantity),
    old("--connection-timeout", "DURATION", a_duration),
    old("--alsologtostderr", "", a_bool),
    old("--logtostderr", "", a_bool),
    old("--stderrthreshold", "SEVERITY", severity),
    old("--log_dir", "DIRECTORY", anything),
    old("--log_file", "FILE", anything),
    old("--log_file_max_size", "MEGABYTES", a_number),
    old("--log_backtrace_at", "FILE:LINE", trace_location),
    old("--one_output", "", a_bool),
    old("--skip_headers", "", a_bool),
    old("--skip_log_headers", "", a_bool),
    old("--add_dir_header", "", a_bool),
];

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
