//! Instructions in user mode, which valgrind counts. Unlike times they are the same on a busy
//! machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::sidecar::{Binary, Sidecar};

/// How many probes the shorter and the longer process make. Both include start and end, which
/// cancel out.
const SHORT: u32 = 100;
const LONG: u32 = 600;

/// How long a start or an end may take: valgrind makes everything some fifty times slower.
const PATIENCE: Duration = Duration::from_mins(1);

/// Counts the instructions of one probe.
pub fn per_probe(binary: &Binary, socket: &Path) -> Result<u64> {
    let [short, long] = [SHORT, LONG].map(|probes| of_a_process(binary, socket, probes));
    let (short, long) = (short?, long?);
    long.checked_sub(short)
        .map(|more| more / u64::from(LONG - SHORT))
        .ok_or_else(|| {
            format!(
                "{LONG} probes took {long} instructions and {SHORT} probes {short}, which cannot be"
            )
        })
}

/// Counts the instructions of a process from its start to its end.
fn of_a_process(binary: &Binary, socket: &Path, probes: u32) -> Result<u64> {
    let file = PathBuf::from(format!("target/bench/callgrind.{}.out", std::process::id()));
    std::fs::create_dir_all("target/bench")
        .map_err(|error| format!("cannot make target/bench: {error}"))?;
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&binary.path)
        // The default of a second is too short for valgrind on a busy machine.
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
