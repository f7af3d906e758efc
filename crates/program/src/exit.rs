//! The exit codes, the termination message that `kubectl describe pod` shows, and the file to
//! remove before the process ends.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::escape;

/// The file from which kubelet reads a container's termination message:
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
const TERMINATION_LOG: &str = "/dev/termination-log";

/// An exit code. All programs share the ones below, and each may have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// A clean stop, or a command such as `--help` that has succeeded.
    pub const CLEAN: Exit = Exit(0);
    /// The process cannot start or cannot continue. For example, a port is in use, flags contradict
    /// each other, or a gRPC call does not end.
    pub const CANNOT_RUN: Exit = Exit(1);
    /// A flag is unknown or its value is bad.
    pub const BAD_FLAGS: Exit = Exit(2);

    /// A code that only one program has.
    #[must_use]
    pub const fn of_program(code: u8) -> Exit {
        Exit(code)
    }

    /// The exit code as a number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// The file that must not outlive this process.
static REMOVE_AT_EXIT: OnceLock<PathBuf> = OnceLock::new();

/// Makes [`clean_up`] remove a file. Each way to end the process calls it, except for a signal that
/// has no handler, such as SIGKILL.
pub fn remove_at_exit(path: &Path) {
    // A program has at most one such file, so this never fails.
    let _ = REMOVE_AT_EXIT.set(path.to_owned());
}

/// Removes the file that was passed to [`remove_at_exit`].
pub fn clean_up() {
    if let Some(path) = REMOVE_AT_EXIT.get() {
        // The file may not exist, and a process that ends cannot react to another error.
        let _ = fs::remove_file(path);
    }
}

/// Writes the reason of a failure as one line into the file that kubelet reads. It does nothing if
/// there is no such file, which is so outside Kubernetes.
pub fn write_termination_message(reason: &str) {
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        // A FIFO at that path must not block a process that ends.
        .custom_flags(libc::O_NONBLOCK)
        .open(TERMINATION_LOG);
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{}", escape::one_line(reason));
    }
}
