//! Threads, and locks that outlive a panic of one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Starts a thread that is not waited for.
///
/// # Errors
///
/// When the system has no thread to give; the error names the thread.
pub fn spawn(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), String> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start the thread {name:?}: {error}"))
}

/// Locks a value. A panic of a thread that held the lock is passed over, so each change under it
/// has to be complete in itself.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
