//! `make guard`: whether the static binary still takes what the record says.
//!
//! No times: machines and their other work differ. What is left is steady enough for
//! bounds of some per cent, memory as the middle of several processes'.

use std::path::Path;
use std::time::Duration;

use crate::driver::Driver;
use crate::record::{self, FIGURES, Values};
use crate::settings::{Common, architecture, is_update};
use crate::sidecar::Binary;
use crate::{Result, idle, instructions, number, proc, progress, settings, work};

/// Processes that are looked at. The least of their threads counts: tiny_http adds one
/// where it finds itself behind, which a busy machine makes it; a thread more in the code
/// is one more in each process. How many there are under load is chance, and is not
/// recorded: `make bench` tells.
const LIVES: u32 = 7;

/// Measures, and compares with the record or writes it.
pub fn run() -> Result<()> {
    let (common, path, update) = (Common::read()?, settings::record(), is_update()?);
    let architecture = architecture()?;
    let text = std::fs::read_to_string(&path);
    // A record that cannot be read is told before minutes are spent.
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
            figure.words,
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
    progress(&format!("{LIVES} times {} probes", work::PROBES));
    let mut resident = Vec::new();
    let mut lives = Vec::new();
    for _ in 0..LIVES {
        let (mut sidecar, _) = work::start(&binary, &driver.socket)?;
        sidecar.probes(work::PROBES)?;
        // Not what is anonymous of it: four pages, by which processes differ, are 5 %.
        resident.push(proc::memory(sidecar.pid)?.resident);
        lives.push(sidecar);
    }
    progress(&format!("idle, {:?}", idle::SETTLE));
    let pids: Vec<_> = lives.iter().map(|sidecar| sidecar.pid).collect();
    let idle = idle::watch(&pids, Duration::ZERO)?;
    drop(lives);
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

/// Of an odd count.
fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
