//! The number of descriptors that this process may open, and the number that it has open.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;

/// The soft limit on open descriptors, RLIMIT_NOFILE. It comes from the kernel and not from /proc,
/// which a container may lack: a listener that guessed too high a limit would use up the
/// descriptors that a driver's connection needs.
#[must_use]
#[allow(unsafe_code, reason = "std has no getrlimit(2); see SAFETY")]
pub fn limit() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local rlimit.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result != 0 {
        // Only a seccomp filter can refuse getrlimit(2). 1024 is the usual soft limit.
        return 1024;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// The number of open descriptors. Without /proc this is the lowest free descriptor: the kernel
/// hands out the lowest one (open(2)), and at the start of a program none has been closed yet. It
/// is 64 if no descriptor is free.
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
    fn this_process_has_fewer_descriptors_open_than_its_limit() {
        let (open, limit) = (open(), limit());
        assert!(open >= 3 && open < limit, "{open} of {limit}");
    }
}
