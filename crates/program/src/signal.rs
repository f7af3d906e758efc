//! SIGTERM and SIGINT, and the end that waits for nobody. The owner of the package
//! signal-hook.
//!
//! Handlers, not the default action: PID 1, which this is in a container, has
//! none, and the kernel drops what it does not handle (pid_namespaces(7)).

use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use crate::exit::{self, Exit};
use crate::poll::{Interest, Round};

/// The signals that ask this process to stop.
const STOPS: [(i32, &str); 2] = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")];

/// Waits for a signal that asks this process to stop.
pub struct Stop {
    /// A byte for each. A pipe, and not signal-hook's iterator, which is a pair of Unix
    /// sockets: a security profile may refuse those (`server::over_tcp`).
    bytes: PipeReader,
    /// The last one's place in [`STOPS`].
    last: Arc<AtomicUsize>,
}

impl Stop {
    /// Installs the handlers. From here on no stop signal is lost.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn install() -> io::Result<Stop> {
        let (bytes, end) = io::pipe()?;
        let last = Arc::new(AtomicUsize::new(0));
        for (place, (signal, _)) in STOPS.iter().enumerate() {
            // In this order: it is known which one came before anybody is woken.
            flag::register_usize(*signal, Arc::clone(&last), place)?;
            pipe::register(*signal, end.try_clone()?)?;
        }
        Ok(Stop { bytes, last })
    }

    /// Waits at most so long for a stop signal, and says whether one has come. It stays for
    /// [`Stop::wait`].
    #[must_use]
    pub fn comes_within(&self, at_most: Duration) -> bool {
        let mut round = Round::default();
        let bytes = round.add(self.bytes.as_fd(), Interest::Read);
        // Twice: a signal's handler interrupts the first wait, which then has nothing ready,
        // and has written its byte by the second.
        [at_most, Duration::ZERO]
            .into_iter()
            .any(|time| round.wait(Some(time)).is_ok() && round.is_ready(bytes))
    }

    /// Waits for a stop signal and names it. No deadline: this is what the main
    /// thread is for.
    pub fn wait(&mut self) -> &'static str {
        // The handlers keep the other end, so there is neither an end nor an error.
        let _ = self.bytes.read_exact(&mut [0]);
        let last = self.last.load(Ordering::SeqCst);
        STOPS.get(last).map_or("SIGTERM", |(_, name)| name)
    }
}

/// Ends the process now, from any thread and without running destructors or
/// atexit handlers: gRPC's thread is still at work, and what is wedged would
/// be waited for.
pub fn exit_at_once(exit: Exit) -> ! {
    exit::clean_up();
    signal_hook::low_level::exit(i32::from(exit.code()))
}
