//! Instructions in user mode, counted by valgrind: unlike times they are the same on
//! a busy machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::sidecar::{Binary, Sidecar};

/// Probes of the short and of the long life; start and end are in both.
const SHORT: u32 = 100;
const LONG: u32 = 600;

/// valgrind makes everything some fifty times slower.
const PATIENCE: Duration = Duration::from_mins(1);

/// What one probe takes more.
pub fn per_probe(binary: &Binary, socket: &Path) -> Result<u64> {
    let [short, long] = [SHORT, LONG].map(|probes| of_a_life(binary, socket, probes));
    let (short, long) = (short?, long?);
    long.checked_sub(short)
        .map(|more| more / u64::from(LONG - SHORT))
        .ok_or_else(|| {
            format!(
                "{LONG} probes took {long} instructions and {SHORT} probes {short}, which cannot be"
            )
        })
}

/// From start to end.
fn of_a_life(binary: &Binary, socket: &Path, probes: u32) -> Result<u64> {
    let file = PathBuf::from(format!("target/bench/callgrind.{}.out", std::process::id()));
    std::fs::create_dir_all("target/bench")
        .map_err(|error| format!("cannot make target/bench: {error}"))?;
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&binary.path)
        // The default is a second, and a busy machine slow enough.
        .arg("--probe-timeout=10s");
    let (mut sidecar, _) = Sidecar::start("valgrind", command, socket, PATIENCE)?;
    sidecar.probes(probes)?;
    sidecar.end(PATIENCE)?;
    let counted = std::fs::read_to_string(&file)
        .map_err(|error| format!("valgrind has not written {}: {error}", file.display()))?;
    let _ = std::fs::remove_file(&file);
    counted
        .lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
        .ok_or_else(|| "valgrind's file has no totals".to_owned())
}
