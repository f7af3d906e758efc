//! Probes one after the other, and the time, processor time and memory that they take.

use std::path::Path;
use std::time::Duration;

use crate::sidecar::{Binary, Sidecar};
use crate::{Result, number, proc};

/// How many probes are made before memory is read, and how many are timed after these.
pub const PROBES: u32 = 1_000;

/// Sidecars that are compared alternate in blocks of so many probes, so that a disturbance of the
/// machine affects both.
const BLOCK: u32 = 100;

/// How long a sidecar may take until its first 200.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait before the starts: while the kernel cleans up thousands of connections of the
/// run before, starts take three times as long.
const CALM: Duration = Duration::from_secs(3);

/// How long to wait between starts, for the process before to end.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the program without a wrapper.
pub fn start(binary: &Binary, socket: &Path) -> Result<(Sidecar, Duration)> {
    Sidecar::start(&binary.name, binary.command(), socket, PATIENCE)
}

/// The cost of one probe.
pub struct Cost {
    /// In microseconds.
    pub cpu: f64,
    pub p50: f64,
    pub p99: f64,
}

/// Makes the probes that are timed, alternating between the sidecars.
pub fn cost(sidecars: &mut [Sidecar]) -> Result<Vec<Cost>> {
    let mut spent = vec![(Duration::ZERO, Vec::new()); sidecars.len()];
    for _ in 0..PROBES / BLOCK {
        for (sidecar, (cpu, times)) in sidecars.iter_mut().zip(&mut spent) {
            let before = proc::cpu(sidecar.pid)?;
            times.extend(sidecar.probes(BLOCK)?);
            *cpu += proc::cpu(sidecar.pid)?.saturating_sub(before);
        }
    }
    Ok(spent
        .into_iter()
        .map(|(cpu, mut times)| {
            times.sort();
            Cost {
                cpu: microseconds(cpu) / f64::from(PROBES),
                p50: microseconds(percentile(&times, 50)),
                p99: microseconds(percentile(&times, 99)),
            }
        })
        .collect())
}

/// The time that so many in a hundred of the sorted times do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Memory after the first and after the last probe.
pub struct Grown {
    pub at_first: proc::Memory,
    pub at_last: proc::Memory,
}

/// Measures memory after the first thousand probes, and after `probes`.
pub fn grow(binary: &Binary, socket: &Path, probes: u32) -> Result<Grown> {
    let (mut sidecar, _) = start(binary, socket)?;
    sidecar.probes(PROBES)?;
    let at_first = proc::memory(sidecar.pid)?;
    for _ in PROBES..probes {
        sidecar.healthz()?;
    }
    Ok(Grown {
        at_first,
        at_last: proc::memory(sidecar.pid)?,
    })
}

/// The median time from a start to the first 200, in milliseconds, over so many starts of each
/// program. The programs alternate.
pub fn start_times(binaries: &[&Binary], socket: &Path, starts: u32) -> Result<Vec<f64>> {
    let mut times = vec![Vec::new(); binaries.len()];
    std::thread::sleep(CALM);
    for _ in 0..starts {
        for (binary, times) in binaries.iter().zip(&mut times) {
            std::thread::sleep(PAUSE);
            let (_, took) = start(binary, socket)?;
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    Ok(times.iter().map(|times| number::median(times)).collect())
}
