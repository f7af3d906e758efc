//! How the process ends: its exit codes, and the reason left for
//! `kubectl describe pod`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::text;

/// Where kubelet reads a container's last words from:
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A clean stop, `--help`, `--version`, `--install`; with `--once`, healthy.
    Clean = 0,
    /// It could not run, or could not go on: a port that is taken, flags that
    /// contradict each other, a wedged gRPC, too many failed probes in a row.
    CannotRun = 1,
    /// A flag is unknown or its value is bad. (Of a variable that is a warning.)
    BadFlags = 2,
    /// With `--once`: there was no connection to the driver.
    NoConnection = 3,
    /// With `--once`: the call failed or timed out.
    CallFailed = 4,
    /// With `--once`: the driver answered, and is not ready.
    NotReady = 5,
}

impl Exit {
    /// The number that the shell and kubelet see.
    #[must_use]
    #[allow(
        clippy::as_conversions,
        reason = "the numbers stand above, and Rust has no other way to them"
    )]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What is not to outlive this process.
static LEFT_BEHIND: OnceLock<PathBuf> = OnceLock::new();

/// Has a file removed at the end of this process, whatever ends it but a SIGKILL.
pub fn remove_at_the_end(path: &Path) {
    // There is one at most.
    let _ = LEFT_BEHIND.set(path.to_owned());
}

/// Removes what [`remove_at_the_end`] was told of.
pub fn clean_up() {
    if let Some(path) = LEFT_BEHIND.get() {
        // It may not be there, and nobody is left to hear of another reason.
        let _ = fs::remove_file(path);
    }
}

/// Leaves the reason of a failing end, one line, where kubelet looks. Best
/// effort: outside Kubernetes there is no such file, and none is made.
pub fn last_words(reason: &str) {
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        // Whatever else lies at that path must not make a dying process wait.
        .custom_flags(libc::O_NONBLOCK)
        .open(TERMINATION_LOG);
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{}", text::one_line(reason));
    }
}
