//! How many requests are under way, so that a stop can let them finish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts the requests under way.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_stopping: AtomicBool,
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Counts a request until the guard is dropped.
    pub(super) fn enter(&self) -> Guard {
        *self.0.lock() += 1;
        Guard(self.clone())
    }

    /// Whether nobody new is to be let in.
    pub(super) fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Relaxed)
    }

    /// Lets nobody new in, and waits until no request is under way, or for
    /// `at_most`.
    pub fn drain(&self, at_most: Duration) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
        // Whether it timed out or not, what follows is the end.
        drop(
            self.0
                .fewer
                .wait_timeout_while(self.0.lock(), at_most, |count| *count > 0),
        );
    }
}

/// A request under way.
pub(super) struct Guard(UnderWay);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.0.lock() -= 1;
        self.0.0.fewer.notify_all();
    }
}
