//! livenessprobe: answers kubelet's /healthz from a CSI driver's Probe.

// In the program and not in a library, for the linker: see docs/c-core.md.
#[path = "../crates/csi/linked/mod.rs"]
mod linked;
#[path = "../crates/program/linked/streams.rs"]
mod streams;

use std::ffi::OsString;
use std::hash::RandomState;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use csi_livenessprobe::flags::{self, Command, Options};
use csi_livenessprobe::sidecar::{NotServing, Sidecar};
use csi_livenessprobe::{PROGRAM, install, once};
use program::exit::{self, Exit};
use program::flags::Warning;
use program::logging::{self, Format};
use program::signal::{self, Stop};
use program::{environment, panics};

#[allow(unsafe_code, reason = "see SAFETY")]
fn main() {
    let started = SystemTime::now();
    // All of it, for what the flags say of variables that do not stay.
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let own: Vec<&str> = flags::variables().collect();
    // SAFETY: this is the first thread, and it has started no other one yet.
    unsafe { environment::clean(&own) };
    panics::install_hook();
    let exit = panics::caught(|| run(started, environment))
        .unwrap_or_else(|panic| broken(&panic.to_string()));
    // Not by returning: the C library would run C++'s destructors, which gRPC's thread
    // still uses, and that thread is not waited for.
    signal::exit_at_once(exit)
}

fn run(started: SystemTime, environment: Vec<(OsString, OsString)>) -> Exit {
    let command = flags::parse(std::env::args_os().skip(1), &environment);
    drop(environment);
    match command {
        Ok(Command::Serve(options)) => serve(&options, started),
        Ok(Command::Once(options)) => probe_once(&options),
        Ok(Command::Install { to, warnings }) => put(&to, &warnings),
        Ok(Command::Help) => print(&flags::help()),
        Ok(Command::Version) => print(&flags::version()),
        Err(error) => {
            logging::init(&PROGRAM, error.format, 0);
            let message = format!("Bad command line, see {} --help", PROGRAM.name);
            if error.is_once {
                complain(error.exit, &message, &error.message)
            } else {
                fail(error.exit, &message, &error.message)
            }
        }
    }
}

fn serve(options: &Options, started: SystemTime) -> Exit {
    // First of all: what comes before it is lost, see `signal`.
    let stop = Stop::install();
    logging::init(&PROGRAM, options.format, options.verbosity);
    log::info!(version = flags::version().trim_end(); "Starting");
    if !options.without_effect.is_empty() {
        let names = options.without_effect.join(" ");
        log::warn!(flags = names; "Flags accepted without effect");
    }
    warn(&options.warnings);
    let mut stop = match stop {
        Ok(stop) => stop,
        Err(error) => {
            return fail(
                Exit::CANNOT_RUN,
                "Cannot handle signals",
                &error.to_string(),
            );
        }
    };
    if !has_random_bytes() {
        return fail(Exit::CANNOT_RUN, "Cannot run", NO_RANDOM_BYTES);
    }
    let stops_within = |at_most| stop.comes_within(at_most);
    let sidecar = match Sidecar::start(options, started, &stops_within) {
        Ok(sidecar) => Some(sidecar),
        Err(NotServing::Stopped) => None,
        Err(NotServing::Failed(reason)) => return fail(Exit::CANNOT_RUN, "Cannot run", &reason),
    };
    let signal = stop.wait();
    log::info!(signal = signal; "Stopping");
    if let Some(sidecar) = &sidecar {
        sidecar.stop();
    }
    logging::flush();
    // Before anything is dropped: gRPC's thread is still at work.
    signal::exit_at_once(Exit::CLEAN)
}

const NO_RANDOM_BYTES: &str =
    "no source of random bytes: getrandom(2) is refused and /dev/urandom cannot be read";

/// Whether the standard library finds random bytes for the keys of its hash tables, which
/// grpcio and prometheus use. Where it finds none it panics, and the machine's fault would
/// look like a bug of this program. It is asked for them, and no source by its name, because
/// it has its own order of sources.
fn has_random_bytes() -> bool {
    panics::caught(RandomState::new).is_ok()
}

/// A guest in another program's container, so it leaves nothing behind.
fn probe_once(options: &Options) -> Exit {
    logging::init(&PROGRAM, options.format, options.verbosity);
    warn(&options.warnings);
    let exit = if has_random_bytes() {
        once::run(options)
    } else {
        // Where it prints each reason.
        print(&format!("{NO_RANDOM_BYTES}\n"));
        Exit::CANNOT_RUN
    };
    logging::flush();
    exit
}

fn put(to: &Path, warnings: &[Warning]) -> Exit {
    logging::init(&PROGRAM, Format::Text, 0);
    warn(warnings);
    match install::install(to) {
        Ok(()) => {
            logging::flush();
            Exit::CLEAN
        }
        Err(reason) => fail(Exit::CANNOT_RUN, "Cannot install", &reason),
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        log::warn!(reason = warning.reason; "{}", warning.message);
    }
}

fn fail(exit: Exit, what: &str, reason: &str) -> Exit {
    exit::clean_up();
    exit::last_words(reason);
    complain(exit, what, reason)
}

fn complain(exit: Exit, what: &str, reason: &str) -> Exit {
    log::error!(err = reason; "{what}");
    logging::flush();
    exit
}

/// Ends a process whose main thread has panicked, with the reason where each end has it.
fn broken(panic: &str) -> Exit {
    exit::clean_up();
    exit::last_words(panic);
    let is_logged = panics::caught(|| {
        // Without effect if the panic came after it.
        logging::init(&PROGRAM, Format::Text, 0);
        complain(Exit::CANNOT_RUN, "Panic, this is a bug", panic)
    });
    is_logged.unwrap_or_else(|_| {
        // Logging is what does not work.
        let _ = writeln!(std::io::stderr(), "livenessprobe: {panic}");
        Exit::CANNOT_RUN
    })
}

/// A closed stdout is no error: its other end does not want to read this.
fn print(text: &str) -> Exit {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
    Exit::CLEAN
}
