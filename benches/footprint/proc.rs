//! What the kernel reports about another process (proc_pid_status(5), clock_getcpuclockid(3)).

use std::collections::BTreeMap;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Result;

/// Resident memory, in KiB.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

fn number(status: &str, field: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn status(pid: Pid) -> Result<String> {
    read(&format!("/proc/{pid}/status"))
}

/// The resident memory now. The kernel's count may be behind by some pages for each processor.
pub fn memory(pid: Pid) -> Result<Memory> {
    let status = status(pid)?;
    let field = |name: &str| {
        number(&status, name)
            .ok_or_else(|| format!("/proc/{pid}/status has no {name}; the process has ended"))
    };
    Ok(Memory {
        resident: field("VmRSS")?,
        anonymous: field("RssAnon")?,
    })
}

/// How many threads there are now.
pub fn threads(pid: Pid) -> Result<u64> {
    number(&status(pid)?, "Threads").ok_or_else(|| format!("/proc/{pid}/status has no Threads"))
}

/// The processor time of all threads, including those that have ended, in user and kernel mode.
/// It is exact to nanoseconds; `/proc/<pid>/stat` counts hundredths of a second, which are some
/// per cent of a thousand probes.
pub fn cpu(pid: Pid) -> Result<Duration> {
    clock_getcpuclockid(pid)
        .and_then(clock_gettime)
        .map(Duration::from)
        .map_err(|error| format!("cannot read the CPU clock of process {pid}: {error}"))
}

/// How often each thread has been switched away from, voluntarily or not.
pub fn switches(pid: Pid) -> Result<BTreeMap<String, u64>> {
    let path = format!("/proc/{pid}/task");
    let tasks = std::fs::read_dir(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(tasks
        .flatten()
        // A thread may end meanwhile.
        .filter_map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let sum = number(&status, "voluntary_ctxt_switches")?
                + number(&status, "nonvoluntary_ctxt_switches")?;
            Some((task.file_name().to_string_lossy().into_owned(), sum))
        })
        .collect())
}

/// The text of a file of the kernel, or nothing.
pub fn text_of(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}
