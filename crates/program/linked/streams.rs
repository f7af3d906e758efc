//! Standard streams that were closed when this program was started: their numbers are taken
//! before anything else can get them.
//!
//! A socket with the number 2 would be sent the log. The standard library sees to that
//! before `main`, with `/dev/null`, and aborts where that cannot be opened: in a container
//! with a `/dev` of its own making (`sanitize_standard_fds` in std's sys/pal/unix/mod.rs).

#![allow(
    unsafe_code,
    reason = "before main and the standard library, see SAFETY"
)]

use std::ffi::c_int;

/// Has the C library call this before `main`.
// SAFETY: the section holds addresses of functions without arguments (ELF, "Initialization
// and Termination Functions"); glibc passes some, which do no harm.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = take_closed_numbers;

/// Puts the reading end of a pipe in place of each stream that is closed: a file of any kind
/// could be missing here. Nothing comes out of it, and what is written to it is refused with
/// EBADF, which the standard library takes for written.
extern "C" fn take_closed_numbers() {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        let mut ends: [c_int; 2] = [-1; 2];
        // SAFETY: system calls with numbers and an array of two of them, which pipe(2) fills.
        // It takes the lowest numbers there are, and those below this one are taken. What is
        // closed is its own.
        unsafe {
            let is_open = libc::fcntl(stream, libc::F_GETFD) != -1;
            if !is_open && libc::pipe(ends.as_mut_ptr()) == 0 {
                libc::close(ends[1]);
            }
        }
    }
}
