//! Sidecars that nobody asks anything: how often they wake up.
//!
//! The kernel counts context switches by thread, and forgets a thread's with the
//! thread. So all threads are looked at twenty times a second, and what was seen last
//! of one that has ended stays in the sum. Missing is what a thread did between the
//! last look and its end, and all of one that lived between two looks: of threads that
//! go on, which is all that a sidecar at rest has, nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::{Result, number, proc};

/// How long after the last question rest begins: tiny_http ends the threads that it
/// no longer needs after five seconds.
pub const SETTLE: Duration = Duration::from_secs(8);

const SAMPLE: Duration = Duration::from_millis(50);

/// What was seen of one process.
pub struct Idle {
    pub switches_a_second: f64,
    /// At the end.
    pub threads: u64,
}

struct Watched {
    pid: Pid,
    at_first: BTreeMap<String, u64>,
    at_last: BTreeMap<String, u64>,
}

/// Waits, then looks at all processes for so long. Side by side: they are at rest,
/// and do not disturb each other.
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
