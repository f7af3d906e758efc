//! `make guard`: compares what the static binary takes with the record.
//!
//! It measures no times, because machines and their other work differ. All other figures are
//! steady enough for bounds of some per cent; for memory, the median of several processes is.

use std::path::Path;
use std::time::Duration;

use crate::driver::Driver;
use crate::record::{self, FIGURES, Values};
use crate::settings::{Common, architecture, is_update};
use crate::sidecar::Binary;
use crate::{Result, idle, instructions, number, proc, progress, settings, work};

/// How many processes are measured. Of their threads the minimum counts: on a busy machine
/// tiny_http may add a thread to one of them, while a thread that the code adds is in all of
/// them. How many threads there are under load depends on chance, so only `make bench` shows it.
const PROCESSES: u32 = 7;

/// Measures, and then compares with the record or writes it.
pub fn run() -> Result<()> {
    let (common, path, update) = (Common::read()?, settings::record(), is_update()?);
    let architecture = architecture()?;
    let text = std::fs::read_to_string(&path);
    // A record that cannot be read is reported before minutes of measuring.
    let recorded = match (&text, update) {
        (_, true) => None,
        (Ok(text), false) => {
            Some(record::read(text, architecture).map_err(|reason| in_file(&path, &reason))?)
        }
        (Err(error), false) => {
            return Err(in_file(
                &path,
                &format!("{error}; make guard UPDATE=1 writes it"),
            ));
        }
    };
    let measured = measured(&common)?;
    for figure in &FIGURES {
        let value = measured.get(figure.key).copied().unwrap_or(0);
        println!(
            "{}: {}",
            figure.description,
            number::show(number::float(value), 0)
        );
    }
    let Some(recorded) = recorded else {
        let old = text.ok();
        let new = record::updated(old.as_deref(), architecture, &measured)
            .map_err(|reason| in_file(&path, &reason))?;
        std::fs::write(&path, new).map_err(|error| in_file(&path, &error.to_string()))?;
        println!("written to {}", path.display());
        return Ok(());
    };
    let differences = record::differences(&recorded, &measured);
    if differences.is_empty() {
        println!("as {} says", path.display());
        return Ok(());
    }
    Err(format!(
        "{} is not what {} says:\n  {}\nIf this is meant: make guard UPDATE=1 writes the record, and the commit says why.",
        common.binary.display(),
        path.display(),
        differences.join("\n  ")
    ))
}

fn in_file(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}

fn measured(common: &Common) -> Result<Values> {
    let binary = Binary {
        name: "the sidecar".to_owned(),
        path: common.binary.clone(),
    };
    let driver = Driver::start(&common.driver)?;
    progress(&format!("{PROCESSES} times {} probes", work::PROBES));
    let mut resident = Vec::new();
    let mut sidecars = Vec::new();
    for _ in 0..PROCESSES {
        let (mut sidecar, _) = work::start(&binary, &driver.socket)?;
        sidecar.probes(work::PROBES)?;
        // Not the anonymous part: processes differ by four pages, which are 5 % of it.
        resident.push(proc::memory(sidecar.pid)?.resident);
        sidecars.push(sidecar);
    }
    progress(&format!("idle, {:?}", idle::SETTLE));
    let pids: Vec<_> = sidecars.iter().map(|sidecar| sidecar.pid).collect();
    let idle = idle::watch(&pids, Duration::ZERO)?;
    drop(sidecars);
    progress("instructions, counted by valgrind");
    let instructions = instructions::per_probe(&binary, &driver.socket)?;
    let bytes = std::fs::metadata(&binary.path)
        .map_err(|error| in_file(&binary.path, &error.to_string()))?
        .len();
    Ok(Values::from([
        ("file_bytes", bytes),
        ("resident_kib", middle(resident)),
        ("threads_idle", least(idle.iter().map(|idle| idle.threads))),
        ("instructions_per_probe", instructions),
    ]))
}

fn least(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().min().unwrap_or(0)
}

/// The median of an odd number of values.
fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
