//! Ends a process whose gRPC call never ends.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Shared, wait};

/// The watchdog's patience with a call that does not end, from the moment a waiter found it
/// overdue, in ticks of its own that are each counted once however long they took. Time on the
/// clock jumps over a SIGSTOP, a frozen cgroup and heavy throttling, and none of these may look
/// like a call that never ends.
///
/// A call is cancelled at its deadline, and ends then or never. Connecting is not counted:
/// connect(2) ends in time, and a lookup of the host's name ends when the resolver gives up, which
/// an administrator may have set to minutes (resolv.conf(5), `timeout` and `attempts`). A new
/// process would look the name up again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The length of a tick.
    pub tick: Duration,
    /// How many of them.
    pub ticks: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            tick: Duration::from_secs(1),
            ticks: 10,
        }
    }
}

impl Shared {
    /// The watchdog: sleeps until a waiter finds a probe overdue.
    pub(super) fn watch(&self, stuck: &dyn Fn(&str)) {
        loop {
            let mut state = self.lock();
            let probe = loop {
                match state.overdue.take() {
                    Some(probe) => break probe,
                    // Without a deadline: only a waiter can find a probe overdue.
                    None => {
                        state = self
                            .overdue
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            if let Some(reason) = self.outlasts_patience(probe) {
                stuck(&reason);
            }
        }
    }

    /// Watches a probe to its end, or until there is no patience left.
    fn outlasts_patience(&self, probe: u64) -> Option<String> {
        let mut ticks = 0;
        loop {
            let tick_ends = Instant::now() + self.patience.tick;
            let mut state = self.lock();
            let is_connecting = loop {
                let running = match &state.running {
                    Some(running) if state.begun == probe => running,
                    _ => return None,
                };
                let left = tick_ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break running.is_connecting();
                }
                state = wait(&self.changed, state, left);
            };
            drop(state);
            if is_connecting {
                continue;
            }
            ticks += 1;
            if ticks >= self.patience.ticks {
                return Some(format!(
                    "a gRPC call to {} has not ended {ticks} s after its deadline, and never will",
                    self.address
                ));
            }
        }
    }
}
