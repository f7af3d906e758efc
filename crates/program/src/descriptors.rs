//! How many descriptors this process may have, and how many it has.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;

/// The soft limit, RLIMIT_NOFILE. Asked of the kernel and not read from /proc, which a
/// container may lack: with a guess in its place the front would take descriptors that the
/// driver's connection needs.
#[must_use]
#[allow(unsafe_code, reason = "std has no getrlimit(2); see SAFETY")]
pub fn limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a rlimit that lives on this stack.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result != 0 {
        // It is refused by a seccomp filter at most. This is what POSIX systems usually give.
        return 1024;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// How many are open. Without /proc it is the lowest number that is free, because each
/// descriptor gets the lowest one (open(2)) and nothing has been closed yet at a start.
#[must_use]
pub fn open() -> usize {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        return entries.count();
    }
    let pipe = io::pipe().ok();
    pipe.and_then(|(reader, _)| usize::try_from(reader.as_raw_fd()).ok())
        .unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_limit_and_is_within_it() {
        let (open, limit) = (open(), limit());
        assert!(open >= 3 && open < limit, "{open} of {limit}");
    }
}
