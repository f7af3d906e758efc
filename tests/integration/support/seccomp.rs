//! System calls that fail as a test says, by seccomp(2).
#![allow(unsafe_code, reason = "what runs between fork and exec, see SAFETY")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Has each of these system calls fail with this error, in what `command` runs.
pub fn refuse(command: &mut Command, calls: &[i64], error: i32) {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let refusal = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    // SAFETY: the filter is ready, and installing it makes two system calls and allocates
    // nothing.
    unsafe {
        command.pre_exec(move || {
            seccompiler::apply_filter(&filter)
                .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        });
    }
}
