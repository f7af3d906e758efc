//! SIGTERM and SIGINT, and the end of the process. Only this module uses the package signal-hook.
//!
//! The program needs handlers, because in a container it is PID 1, for which the kernel ignores a
//! signal that has no handler (pid_namespaces(7)).

use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use crate::exit::{self, Exit};
use crate::poll::{Interest, Round};

/// The signals that stop this process, with their names.
const STOPS: [(i32, &str); 2] = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")];

/// Waits for one of the signals that stop this process.
pub struct Stop {
    /// The handlers write one byte for each signal. Rejected: signal-hook's iterator, which needs a
    /// pair of Unix sockets, because a security profile may refuse these.
    bytes: PipeReader,
    /// The index in [`STOPS`] of the last signal.
    last: Arc<AtomicUsize>,
}

impl Stop {
    /// Installs the handlers. After this, no such signal is lost.
    ///
    /// # Errors
    ///
    /// The kernel refuses a pipe or a handler.
    pub fn install() -> io::Result<Stop> {
        let (bytes, end) = io::pipe()?;
        let last = Arc::new(AtomicUsize::new(0));
        for (index, (signal, _)) in STOPS.iter().enumerate() {
            // Handlers run in the order of their registration, and `last` must be set before a byte
            // wakes the reader.
            flag::register_usize(*signal, Arc::clone(&last), index)?;
            pipe::register(*signal, end.try_clone()?)?;
        }
        Ok(Stop { bytes, last })
    }

    /// Waits at most `at_most` for a signal, and returns whether one has arrived. It does not
    /// consume the signal, so [`Stop::wait`] returns it, too.
    #[must_use]
    pub fn comes_within(&self, at_most: Duration) -> bool {
        let mut round = Round::default();
        let bytes = round.add(self.bytes.as_fd(), Interest::Read);
        // The handler interrupts the first wait, which then returns without an event. The second
        // wait finds the byte that the handler has written.
        [at_most, Duration::ZERO]
            .into_iter()
            .any(|time| round.wait(Some(time)).is_ok() && round.is_ready(bytes))
    }

    /// Waits for a signal without a deadline, and returns its name.
    pub fn wait(&mut self) -> &'static str {
        // The handlers hold the writing end, so there is neither an end of file nor an error.
        let _ = self.bytes.read_exact(&mut [0]);
        let last = self.last.load(Ordering::SeqCst);
        STOPS.get(last).map_or("SIGTERM", |(_, name)| name)
    }
}

/// Ends the process at once, from any thread. It runs neither destructors nor atexit handlers,
/// because gRPC's thread still uses what they destroy, and they would wait for a thread that is
/// stuck.
pub fn exit_at_once(exit: Exit) -> ! {
    exit::clean_up();
    signal_hook::low_level::exit(i32::from(exit.code()))
}
