//! SIGTERM and SIGINT, and the end that waits for nobody. The owner of the package
//! signal-hook.
//!
//! Handlers, not the default action: PID 1, which this is in a container, has
//! none, and the kernel drops what it does not handle (pid_namespaces(7)).

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{self, Exit};

/// The signals that ask this process to stop.
pub struct Stop(Signals);

impl Stop {
    /// Installs the handlers. From here on no stop signal is lost.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn install() -> io::Result<Stop> {
        Signals::new([SIGTERM, SIGINT]).map(Stop)
    }

    /// Waits for a stop signal and names it. No deadline: this is what the main
    /// thread is for.
    pub fn wait(&mut self) -> &'static str {
        match self.0.forever().next() {
            Some(SIGINT) => "SIGINT",
            _ => "SIGTERM",
        }
    }
}

/// Ends the process now, from any thread and without running destructors or
/// atexit handlers: gRPC's thread is still at work, and what is wedged would
/// be waited for.
pub fn exit_at_once(exit: Exit) -> ! {
    exit::clean_up();
    signal_hook::low_level::exit(i32::from(exit.code()))
}
