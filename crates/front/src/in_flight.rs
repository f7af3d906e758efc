//! How many requests are in flight, so that a stop can let them finish.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use program::threads;

/// Counts the requests in flight.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_stopping: AtomicBool,
    /// Wakes the event loop once the process stops.
    wakes: OnceLock<PipeWriter>,
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, usize> {
        threads::lock(&self.count)
    }
}

impl InFlight {
    /// Counts a request until the guard is dropped.
    pub(crate) fn enter(&self) -> Guard {
        *self.0.lock() += 1;
        Guard(self.clone())
    }

    /// A pipe that can be read once the process stops. There is one event loop, which asks for it
    /// once.
    ///
    /// # Errors
    ///
    /// That of pipe(2).
    pub(crate) fn on_stop(&self) -> io::Result<PipeReader> {
        let (on_stop, wakes) = io::pipe()?;
        self.0
            .wakes
            .set(wakes)
            .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
        Ok(on_stop)
    }

    /// Whether the process stops: no connection is accepted any more, and no request is kept whose
    /// client has finished sending.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Relaxed)
    }

    /// Stops accepting connections, and waits until no request is in flight, but for `at_most`.
    pub fn drain(&self, at_most: Duration) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
        if let Some(mut wakes) = self.0.wakes.get() {
            // An empty pipe has room, and without its reader there is no event loop to wake.
            let _ = wakes.write_all(&[0]);
        }
        // The process ends now, whether it timed out or not.
        drop(
            self.0
                .fewer
                .wait_timeout_while(self.0.lock(), at_most, |count| *count > 0),
        );
    }
}

/// A request in flight.
pub(crate) struct Guard(InFlight);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.0.lock() -= 1;
        self.0.0.fewer.notify_all();
    }
}
