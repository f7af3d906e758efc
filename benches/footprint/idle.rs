//! How often sidecars wake up while no client sends a request.
//!
//! The kernel counts context switches for each thread, and forgets them when the thread ends. So
//! all threads are sampled twenty times a second, and the last count of a thread that has ended
//! stays in the sum. The sum misses what a thread did after its last sample, and threads that
//! lived between two samples. An idle sidecar has no such threads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::{Result, number, proc};

/// How long after the last request the measurement begins: tiny_http ends threads that it no
/// longer needs after five seconds.
pub const SETTLE: Duration = Duration::from_secs(8);

const SAMPLE: Duration = Duration::from_millis(50);

/// What was measured of one process.
pub struct Idle {
    pub switches_a_second: f64,
    /// How many threads it had at the end.
    pub threads: u64,
}

struct Watched {
    pid: Pid,
    at_first: BTreeMap<String, u64>,
    at_last: BTreeMap<String, u64>,
}

/// Waits until the processes are idle, and then samples all of them for `time`. They can be
/// measured at the same time, because idle processes do not disturb each other.
pub fn watch(pids: &[Pid], time: Duration) -> Result<Vec<Idle>> {
    std::thread::sleep(SETTLE);
    let mut watched = pids
        .iter()
        .map(|pid| {
            let at_first = proc::switches(*pid)?;
            Ok(Watched {
                pid: *pid,
                at_last: at_first.clone(),
                at_first,
            })
        })
        .collect::<Result<Vec<Watched>>>()?;
    let began = Instant::now();
    while began.elapsed() < time {
        std::thread::sleep(SAMPLE);
        for process in &mut watched {
            process.at_last.extend(proc::switches(process.pid)?);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    watched
        .iter()
        .map(|process| {
            let before: u64 = process.at_first.values().sum();
            let after: u64 = process.at_last.values().sum();
            Ok(Idle {
                switches_a_second: number::float(after.saturating_sub(before)) / seconds,
                threads: proc::threads(process.pid)?,
            })
        })
        .collect()
}
