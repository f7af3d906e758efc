//! What the command line asks for: the sidecar, one probe, a copy of the program, or a text.

use std::path::Path;
use std::time::SystemTime;

use program::exit::Exit;
use program::flags::Warning;
use program::logging::{self, Format};
use program::signal::{self, Stop};
use program::start::{self, Start, fail, print};

use crate::PROGRAM;
use crate::flags::{self, Command, Options};
use crate::install;
use crate::once;
use crate::sidecar::{NotServing, Sidecar};

/// Runs the program.
#[must_use]
pub fn run(start: &Start) -> Exit {
    let command = flags::parse(std::env::args_os().skip(1), &start.environment);
    match command {
        Ok(Command::Serve(options)) => serve(&options, start.started),
        Ok(Command::Once(options)) => probe_once(&options),
        Ok(Command::Install { to, warnings }) => install(&to, &warnings),
        Ok(Command::Help) => print(&flags::help()),
        Ok(Command::Version) => print(&flags::version()),
        Err(error) => {
            logging::init(&PROGRAM, error.format, 0);
            let what = &format!("Bad command line, see {} --help", PROGRAM.name);
            if error.is_once {
                start::fail_quietly(error.exit, what, &error.message)
            } else {
                fail(error.exit, what, &error.message)
            }
        }
    }
}

fn serve(options: &Options, started: SystemTime) -> Exit {
    // Before anything else: a signal that comes earlier is lost, see `signal`.
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
    if !start::has_random_bytes() {
        return fail(Exit::CANNOT_RUN, "Cannot run", start::NO_RANDOM_BYTES);
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
    // Before anything is dropped, because gRPC's thread still works.
    signal::exit_at_once(Exit::CLEAN)
}

/// Makes one probe. It may run in another program's container, so it leaves nothing behind.
fn probe_once(options: &Options) -> Exit {
    logging::init(&PROGRAM, options.format, options.verbosity);
    warn(&options.warnings);
    let exit = if start::has_random_bytes() {
        once::run(options)
    } else {
        // On stdout, where it prints every reason.
        let _ = print(&format!("{}\n", start::NO_RANDOM_BYTES));
        Exit::CANNOT_RUN
    };
    logging::flush();
    exit
}

fn install(to: &Path, warnings: &[Warning]) -> Exit {
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
