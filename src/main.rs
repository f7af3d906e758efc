//! livenessprobe: answers kubelet's /healthz from a CSI driver's Probe.

mod c_core;
#[cfg(target_env = "musl")]
mod heap;
mod streams;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use csi_livenessprobe::exit::{self, Exit};
use csi_livenessprobe::flags::{self, Command, Options};
use csi_livenessprobe::logging::{self, Format};
use csi_livenessprobe::sidecar::Sidecar;
use csi_livenessprobe::signal::{self, Stop};
use csi_livenessprobe::{install, once, panics};

fn main() -> ExitCode {
    let started = SystemTime::now();
    panics::install_hook();
    let variable = |name: &str| std::env::var_os(name);
    let exit = match flags::parse(std::env::args_os().skip(1), &variable) {
        Ok(Command::Serve(options)) => serve(&options, started),
        Ok(Command::Once(options)) => probe_once(&options),
        Ok(Command::Install(to)) => put(&to),
        Ok(Command::Help) => print(&flags::help()),
        Ok(Command::Version) => print(&flags::version()),
        Err(error) => {
            logging::init(error.format, 0);
            let what = "Bad command line, see livenessprobe --help";
            if error.is_guest {
                complain(error.exit, what, &error.message)
            } else {
                fail(error.exit, what, &error.message)
            }
        }
    };
    exit.into()
}

fn serve(options: &Options, started: SystemTime) -> Exit {
    // First of all: what comes before it is lost, see `signal`.
    let stop = Stop::install();
    logging::init(options.format, options.verbosity);
    log::info!(version = flags::version().trim_end(); "Starting");
    if !options.without_effect.is_empty() {
        let names = options.without_effect.join(" ");
        log::warn!(flags = names; "Flags accepted without effect");
    }
    let mut stop = match stop {
        Ok(stop) => stop,
        Err(error) => {
            return fail(Exit::CannotRun, "Cannot handle signals", &error.to_string());
        }
    };
    let sidecar = match Sidecar::start(options, started) {
        Ok(sidecar) => sidecar,
        Err(reason) => return fail(Exit::CannotRun, "Cannot run", &reason),
    };
    let signal = stop.wait();
    log::info!(signal = signal; "Stopping");
    sidecar.stop();
    logging::flush();
    signal::exit_at_once(Exit::Clean)
}

/// A guest in another program's container, so it leaves nothing behind.
fn probe_once(options: &Options) -> Exit {
    logging::init(options.format, options.verbosity);
    let exit = once::run(options);
    logging::flush();
    // gRPC's thread ends with the process, and is not waited for.
    signal::exit_at_once(exit)
}

fn put(to: &Path) -> Exit {
    logging::init(Format::Text, 0);
    match install::install(to) {
        Ok(()) => Exit::Clean,
        Err(reason) => fail(Exit::CannotRun, "Cannot install", &reason),
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

/// Whoever has closed stdout does not want to read it: no error.
fn print(text: &str) -> Exit {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Clean
}
