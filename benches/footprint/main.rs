//! Measures a sidecar from outside, as a process among others: `make bench` prints
//! what it takes, side by side with a peer; `make guard` holds it to the record.
//!
//! It does not use this package's library: what is measured is a file, of whatever
//! it was made.

mod cgroup;
mod crowd;
mod driver;
mod figure;
mod guard;
mod http;
mod idle;
mod instructions;
mod limit;
mod load;
mod machine;
mod measure;
mod number;
mod proc;
mod record;
mod report;
mod settings;
mod sidecar;
mod table;
mod work;

use std::process::ExitCode;

/// What went wrong, for a person.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo gives it in `cargo bench`, and not where `cargo test --all-targets` runs
    // what it has built.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("footprint: nothing is measured in a test; run: make bench, make guard");
        return ExitCode::SUCCESS;
    }
    let modes: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| *argument != "--bench")
        .collect();
    let done = match modes[..] {
        ["measure"] => measure::run(),
        ["guard"] => guard::run(),
        _ => Err(format!(
            "the arguments are {modes:?}; right would be one of: measure, guard"
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever waits which step is under way.
fn progress(step: &str) {
    eprintln!("== {step}");
}
