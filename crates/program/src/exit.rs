//! How the process ends: its exit codes, and the reason left for
//! `kubectl describe pod`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::escape;

/// Where kubelet reads a container's last words from:
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
const TERMINATION_LOG: &str = "/dev/termination-log";

/// An exit code: those that all programs share, and further ones of each program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// A clean stop, or a command such as `--help` that has done what it was asked.
    pub const CLEAN: Exit = Exit(0);
    /// The process could not run, or could not go on: a port that is taken, flags that
    /// contradict each other, a gRPC call that never ends.
    pub const CANNOT_RUN: Exit = Exit(1);
    /// A flag is unknown or its value is bad. (A bad variable is a warning.)
    pub const BAD_FLAGS: Exit = Exit(2);

    /// A further code, of one program's own.
    #[must_use]
    pub const fn of_program(code: u8) -> Exit {
        Exit(code)
    }

    /// The number that the shell and kubelet see.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
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
        let _ = writeln!(file, "{}", escape::one_line(reason));
    }
}
