//! Opens the standard streams that were closed when this program was started, so that no socket
//! gets their descriptors.
//!
//! A socket with descriptor 2 would receive the log. The standard library opens `/dev/null` for
//! this before `main`, but it aborts if it cannot, as in a container with a bare `/dev`
//! (`sanitize_standard_fds` in std's sys/pal/unix/mod.rs).

#![allow(
    unsafe_code,
    reason = "runs before main and the standard library, see SAFETY"
)]

use std::ffi::c_int;

/// The C library calls this function before `main`.
// SAFETY: the section holds addresses of functions without arguments (ELF, "Initialization and
// Termination Functions"). glibc passes arguments all the same, which such a function ignores.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = open_closed_streams;

/// Opens the reading end of a pipe for each closed stream. A pipe needs no file, which could be
/// missing. Reading from it returns end of file, and writing to it fails with EBADF, which the
/// standard library treats as success.
extern "C" fn open_closed_streams() {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        let mut ends: [c_int; 2] = [-1; 2];
        // SAFETY: the system calls take numbers, and an array of two that pipe(2) fills. pipe(2)
        // returns the lowest free descriptors, so the first is `stream`, because all below it are
        // open. The one that is closed here came from pipe(2).
        unsafe {
            let is_open = libc::fcntl(stream, libc::F_GETFD) != -1;
            if !is_open && libc::pipe(ends.as_mut_ptr()) == 0 {
                libc::close(ends[1]);
            }
        }
    }
}
