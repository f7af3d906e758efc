//! Writes log lines to stderr on a thread of its own, behind a queue. If a log collector hangs and
//! stderr's pipe is full, only that thread blocks. A line that finds the queue full is lost; lost
//! lines are counted, and the count is logged once there is room again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::threads;

/// The most lines that wait. Each has at most a few kilobytes, see `logging`.
const QUEUE: usize = 64;

const STACK: usize = 64 * 1024;

/// The sending end of the queue, which never blocks.
#[derive(Clone)]
pub struct Queue {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The lines that are queued and not written yet.
    waiting: Mutex<usize>,
    written: Condvar,
    lost: AtomicU64,
}

impl Queue {
    /// Starts the thread. It calls `on_lost` with the number of lost lines once there is room
    /// again. Returns `None` if the kernel refuses the thread; the caller then writes to stderr
    /// itself.
    pub fn start(on_lost: fn(u64)) -> Option<Queue> {
        let (lines, queued) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        threads::spawn("stderr", STACK, {
            let state = Arc::clone(&state);
            move || write_all(&queued, &state, on_lost)
        })
        .ok()?;
        Some(Queue { lines, state })
    }

    /// Waits until all lines are written, but at most for `at_most`.
    pub fn flush(&self, at_most: Duration) {
        let waiting = self.state.lock();
        let written = &self.state.written;
        // The process ends next, whether this timed out or not.
        drop(written.wait_timeout_while(waiting, at_most, |waiting| *waiting > 0));
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, usize> {
        threads::lock(&self.waiting)
    }
}

fn write_all(queued: &Receiver<Vec<u8>>, state: &State, on_lost: fn(u64)) {
    for line in queued {
        // An error of stderr cannot be logged anywhere.
        let _ = io::stderr().write_all(&line);
        *state.lock() -= 1;
        state.written.notify_all();
        match state.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => on_lost(count),
        }
    }
}

impl Write for Queue {
    /// Queues a whole line, or counts it as lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        *self.state.lock() += 1;
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                *self.state.lock() -= 1;
                self.state.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
