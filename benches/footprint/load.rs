//! How many threads the sidecar has while many clients send requests at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::unistd::Pid;

use crate::sidecar::Sidecar;
use crate::{Result, http, proc};

/// How many clients send requests at once.
pub const CLIENTS: u32 = 16;

/// How often the threads are counted. A thread with a shorter life may be missed.
const SAMPLE: Duration = Duration::from_millis(1);

/// Runs `act` and counts threads meanwhile. Returns its result, and the most threads.
pub fn most_threads<T>(pid: Pid, act: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let is_over = AtomicBool::new(false);
    let most = AtomicU64::new(0);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // If it has ended, `act` gives the better reason.
                most.fetch_max(proc::threads(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(SAMPLE);
            }
        });
        let done = act();
        is_over.store(true, Ordering::Relaxed);
        done
    });
    Ok((done?, most.into_inner()))
}

/// Has each client make so many probes, and returns the most threads meanwhile.
pub fn threads(sidecar: &mut Sidecar, probes: u32) -> Result<u64> {
    let (pid, address) = (sidecar.pid, sidecar.address);
    let ((), most) = most_threads(pid, || ask_at_once(address, probes))
        .map_err(|reason| sidecar.describe(&reason))?;
    Ok(most)
}

fn ask_at_once(address: SocketAddr, probes: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope
                    .spawn(move || (0..probes).try_for_each(|_| http::healthz(address).map(|_| ())))
            })
            .collect();
        clients.into_iter().try_for_each(|client| {
            client
                .join()
                .unwrap_or_else(|_| Err("a client of this program has panicked".to_owned()))
        })
    })
}
