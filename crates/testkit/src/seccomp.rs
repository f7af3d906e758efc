//! System calls that the kernel refuses, as a container's security profile makes it.
#![allow(unsafe_code, reason = "a filter between fork and exec, see SAFETY")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// A system call, or those of its uses that have a certain argument.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// All uses of it.
    All(libc::c_long),
    /// Those where the argument of this number is this value.
    Is(libc::c_long, u8, u64),
    /// Those where the argument of this number is larger than this value.
    Exceeds(libc::c_long, u8, u64),
}

impl From<libc::c_long> for Call {
    fn from(number: libc::c_long) -> Call {
        Call::All(number)
    }
}

/// bind(2) to the address of a Unix socket. A filter sees no more of an address than its
/// length, and these are longer than 28 bytes, which those of TCP are not.
pub const BINDS_UNIX: Call = Call::Exceeds(libc::SYS_bind, 2, 28);
/// connect(2) to the address of a Unix socket, known in the same way.
pub const CONNECTS_UNIX: Call = Call::Exceeds(libc::SYS_connect, 2, 28);

/// Makes these calls fail with this errno in the program that the command starts.
pub fn refuse<C: Copy + Into<Call>>(command: &mut Command, calls: &[C], errno: i32) {
    let calls: Vec<Call> = calls.iter().map(|call| (*call).into()).collect();
    let program = compile(&calls, errno);
    // SAFETY: between fork(2) and exec this makes two system calls, and allocates no memory
    // unless it fails.
    unsafe {
        command.pre_exec(move || {
            apply_filter(&program).map_err(|error| io::Error::other(error.to_string()))
        });
    }
}

/// Makes connect(2) to this socket fail with this errno, as a security module makes it. The
/// filter knows the socket by the length of its address.
pub fn refuse_to_connect(command: &mut Command, path: &str, errno: i32) {
    // The address family stands before the path, and a null byte after it (unix(7)).
    let length = u64::try_from(2 + path.len() + 1).unwrap();
    refuse(command, &[Call::Is(libc::SYS_connect, 2, length)], errno);
}

fn compile(calls: &[Call], errno: i32) -> BpfProgram {
    let condition = |argument, operator, value| {
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        let (number, rule) = match *call {
            Call::All(number) => (number, None),
            Call::Is(number, argument, value) => {
                (number, Some(condition(argument, SeccompCmpOp::Eq, value)))
            }
            Call::Exceeds(number, argument, value) => {
                (number, Some(condition(argument, SeccompCmpOp::Gt, value)))
            }
        };
        rules.entry(number).or_default().extend(rule);
    }
    let target: TargetArch = std::env::consts::ARCH
        .try_into()
        .expect("a known processor");
    let errno = SeccompAction::Errno(u32::try_from(errno).unwrap());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, target)
        .and_then(BpfProgram::try_from)
        .unwrap()
}
