//! Measures a sidecar from outside, as one process among others. `make bench` prints what it
//! takes, beside a peer; `make guard` compares that with the record.
//!
//! It does not use this package's library, because it measures the file of any sidecar, such as
//! one that is written in Go.

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

/// The error is a sentence for a person.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` passes this argument; `cargo test --all-targets`, which also runs this
    // program, does not.
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

/// Prints the step that begins, for the person who waits.
fn progress(step: &str) {
    eprintln!("== {step}");
}
