//! The machine on which the figures were measured.

use crate::proc::text_of;

/// The names and values of its facts.
pub fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism()
        .map_or_else(|error| error.to_string(), |cores| cores.to_string());
    vec![
        ("kernel", text_of("/proc/sys/kernel/osrelease")),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("processor", of("/proc/cpuinfo", "model name")),
        ("cores", cores),
        ("memory", of("/proc/meminfo", "MemTotal")),
    ]
}

/// How many threads wanted a processor in the last 1, 5 and 15 minutes. Other work on the machine
/// disturbs times more than anything else.
pub fn load() -> String {
    let load = text_of("/proc/loadavg");
    load.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The value of the first line with this name. ARM's processors have no model name.
fn of(path: &str, name: &str) -> String {
    let text = text_of(path);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}
