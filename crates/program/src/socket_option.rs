//! setsockopt(2) for options that neither the standard library nor socket2 supports.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Sets a socket option whose value is an int.
///
/// # Errors
///
/// The error of setsockopt(2).
#[allow(unsafe_code, reason = "no package here has these options; see SAFETY")]
pub fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: setsockopt(2) reads `length` bytes, which is the size of `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
