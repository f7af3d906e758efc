//! The first and the last things that every program does.

use std::ffi::OsString;
use std::hash::RandomState;
use std::io::Write as _;
use std::time::SystemTime;

use crate::Program;
use crate::environment;
use crate::exit::{self, Exit};
use crate::logging::{self, Format};
use crate::panics;
use crate::signal;

/// What a program starts with.
pub struct Start {
    /// When the process started.
    pub started: SystemTime,
    /// All variables of the environment, also those that [`run`] has removed: flags may name them
    /// in warnings.
    pub environment: Vec<(OsString, OsString)>,
}

/// Runs a program whose own variables are these, and ends the process with its exit code. A panic
/// in it is reported like any other failure.
///
/// # Safety
///
/// This must be the first thread, and it must not have started another one: variables that are
/// not `own` are removed from the environment ([`environment::clean`]).
#[allow(unsafe_code, reason = "environment::clean, see Safety")]
pub unsafe fn run(program: &'static Program, own: &[&str], main: fn(&Start) -> Exit) -> ! {
    let start = Start {
        started: SystemTime::now(),
        environment: std::env::vars_os().collect(),
    };
    // SAFETY: the caller promises it.
    unsafe { environment::clean(own) };
    panics::install_hook();
    let exit = panics::catch(|| main(&start))
        .unwrap_or_else(|panic| report_panic(program, &panic.to_string()));
    // Not by returning from main: the C library would run C++'s destructors, which gRPC's thread
    // still uses, and that thread is not waited for.
    signal::exit_at_once(exit)
}

/// Why a process without random bytes cannot run.
pub const NO_RANDOM_BYTES: &str =
    "no source of random bytes: getrandom(2) is refused and /dev/urandom cannot be read";

/// Whether the standard library finds random bytes for the keys of its hash tables, which grpcio
/// and prometheus use. Where it finds none it panics, and the machine's fault would look like a
/// bug of this program. The standard library itself is asked, because it has its own order of
/// sources.
#[must_use]
pub fn has_random_bytes() -> bool {
    panics::catch(RandomState::new).is_ok()
}

/// Logs why the process fails and leaves the reason for kubelet. Gives the exit code back.
#[must_use]
pub fn fail(exit: Exit, what: &str, reason: &str) -> Exit {
    exit::clean_up();
    exit::write_termination_message(reason);
    fail_quietly(exit, what, reason)
}

/// Logs why the process fails, and leaves no trace for kubelet: for a command that runs in another
/// program's container. Gives the exit code back.
#[must_use]
pub fn fail_quietly(exit: Exit, what: &str, reason: &str) -> Exit {
    log::error!(err = reason; "{what}");
    logging::flush();
    exit
}

fn report_panic(program: &'static Program, panic: &str) -> Exit {
    exit::clean_up();
    exit::write_termination_message(panic);
    let is_logged = panics::catch(|| {
        // Has no effect if logging was started before the panic.
        logging::init(program, Format::Text, 0);
        fail_quietly(Exit::CANNOT_RUN, "Panic, this is a bug", panic)
    });
    is_logged.unwrap_or_else(|_| {
        // Logging itself panics.
        let _ = writeln!(std::io::stderr(), "{}: {panic}", program.name);
        Exit::CANNOT_RUN
    })
}

/// Prints a text to stdout. A closed stdout is no error: its other end does not want to read it.
#[must_use]
pub fn print(text: &str) -> Exit {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
    Exit::CLEAN
}
