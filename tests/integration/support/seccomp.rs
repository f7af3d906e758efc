//! System calls that fail as a test says, by seccomp(2).
#![allow(unsafe_code, reason = "what runs between fork and exec, see SAFETY")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Has each of these system calls fail with this error, in what `command` runs.
pub fn refuse(command: &mut Command, calls: &[i64], error: i32) {
    install(
        command,
        calls.iter().map(|call| (*call, Vec::new())).collect(),
        error,
    );
}

/// Has connect(2) to this socket fail with this error, as a security module has it. It is
/// known by the length of its address.
pub fn refuse_to_connect(command: &mut Command, path: &str, error: i32) {
    // The family before it, and a null byte behind it (unix(7)).
    let length = u64::try_from(2 + path.len() + 1).unwrap();
    let condition =
        SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, length).unwrap();
    let rule = SeccompRule::new(vec![condition]).unwrap();
    let rules = BTreeMap::from([(libc::SYS_connect, vec![rule])]);
    install(command, rules, error);
}

fn install(command: &mut Command, rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) {
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
