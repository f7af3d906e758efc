//! stderr behind a queue and a thread of its own: a log collector that hangs
//! with a full pipe stops this one thread and nothing else. What finds the queue
//! full is counted and told of once there is room again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How many lines wait at most. A line is cut to a few kilobytes, see `logging`.
const QUEUE: usize = 64;

const STACK: usize = 64 * 1024;

/// The end of the queue that takes lines and never blocks.
#[derive(Clone)]
pub struct Queue {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Lines taken and not written yet.
    waiting: Mutex<usize>,
    written: Condvar,
    lost: AtomicU64,
}

impl Queue {
    /// Starts the thread; `lost` is told how many lines were lost when there is
    /// room again. Where no thread can be had, `None`: stderr is written to
    /// directly then.
    pub fn start(lost: fn(u64)) -> Option<Queue> {
        let (lines, queued) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        thread::Builder::new()
            .name("stderr".to_owned())
            .stack_size(STACK)
            .spawn({
                let state = Arc::clone(&state);
                move || write_all(&queued, &state, lost)
            })
            .ok()?;
        Some(Queue { lines, state })
    }

    /// Waits until all lines are written, or for `at_most`.
    pub fn flush(&self, at_most: Duration) {
        let waiting = self.state.lock();
        let written = &self.state.written;
        // Whether it timed out or not, what follows is the end.
        drop(written.wait_timeout_while(waiting, at_most, |waiting| *waiting > 0));
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all(queued: &Receiver<Vec<u8>>, state: &State, lost: fn(u64)) {
    // No deadline: without lines there is nothing to write.
    for line in queued {
        // Nobody is left to be told that stderr is closed.
        let _ = io::stderr().write_all(&line);
        *state.lock() -= 1;
        state.written.notify_all();
        match state.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => lost(count),
        }
    }
}

impl Write for Queue {
    /// Takes a whole line, or counts it as lost.
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
