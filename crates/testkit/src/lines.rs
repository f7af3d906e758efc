//! The output lines of a process, collected while they come.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::wait::PATIENCE;

/// The lines of one stream so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the stream to its end, in a thread.
    pub fn collect(stream: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let collected = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                collected.lock().push(line);
                collected.0.1.notify_all();
            }
        });
        lines
    }

    /// Returns a copy of all lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Waits for the first line that contains `words`. It skips the first `from` lines.
    pub fn wait_for(&self, from: usize, words: &str) -> String {
        self.wait_until(&format!("a line with {words:?}"), |lines| {
            let line = lines.iter().skip(from).find(|line| line.contains(words));
            line.cloned()
        })
    }

    /// Returns how many lines contain `words`.
    pub fn count(&self, words: &str) -> usize {
        count(&self.lock(), words)
    }

    /// Waits until at least `least` lines contain `words`.
    pub fn wait_for_count(&self, words: &str, least: usize) {
        self.wait_until(&format!("{least} lines with {words:?}"), |lines| {
            (count(lines, words) >= least).then_some(())
        });
    }

    fn wait_until<T>(&self, what: &str, found: impl Fn(&[String]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lock();
        loop {
            if let Some(found) = found(&lines) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The process prints its lines when the panic drops it, so the lock must
                // not be held then.
                drop(lines);
                panic!("never came: {what}");
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.contains(words)).count()
}
