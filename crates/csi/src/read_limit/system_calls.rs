//! recvmsg(2) and sendmsg(2), by which gRPC's C-core reads and writes its sockets. In this
//! program only musl's resolver calls them as well. The linker finds them here before those of
//! the C library, and a call that is not about a driver's socket goes to the kernel as it is.
//!
//! Rejected: `epoll_ctl` beside them, which takes EPOLLOUT away from a driver's socket. The
//! socket always has room, so C-core has no use for the event, and the kernel wakes gRPC's
//! thread with it each time the driver reads. That was here before, with `epoll_create1` and
//! `epoll_wait`, which musl has in the same object file. A probe stays well within
//! the bound on its processor time without it (docs/footprint.md).

#![allow(unsafe_code, reason = "the C library's functions, see SAFETY at each")]

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::os::fd::RawFd;

use libc::{iovec, msghdr, ssize_t};

/// `struct user_msghdr`, as the kernel has it. That of the C library may be another:
/// musl's counts are shorter, with padding that nobody initialises.
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_length: c_uint,
    parts: *mut iovec,
    parts_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_uint,
}

/// Counts in C are of a different type on each platform; none is larger than a usize.
fn count<T: TryInto<usize>>(count: T) -> usize {
    count.try_into().unwrap_or_default()
}

/// One that was given in the same type before.
fn given<T: TryFrom<usize> + Default>(count: usize) -> T {
    T::try_from(count).unwrap_or_default()
}

impl Message {
    fn new(message: &msghdr) -> Message {
        Message {
            name: message.msg_name,
            name_length: message.msg_namelen,
            parts: message.msg_iov,
            parts_count: count(message.msg_iovlen),
            control: message.msg_control,
            control_length: count(message.msg_controllen),
            flags: 0,
        }
    }

    /// How many bytes its parts have.
    fn length(&self) -> ssize_t {
        if self.parts.is_null() {
            return 0;
        }
        // SAFETY: as many as the caller of sendmsg(2) has said, which are its own.
        let parts = unsafe { std::slice::from_raw_parts(self.parts, self.parts_count) };
        given(parts.iter().map(|part| part.iov_len).sum())
    }
}

/// recvmsg(2), which tells `super` what came.
///
/// # Safety
///
/// As of recvmsg(2).
// SAFETY: the name, arguments and result are those of the function in POSIX.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(socket: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let is_data = flags & libc::MSG_ERRQUEUE == 0;
    // SAFETY: the caller gives a msghdr that nobody else uses meanwhile.
    let message = unsafe { &mut *message };
    // musl's resolver asks from whom it comes, gRPC does not.
    if is_data && message.msg_name.is_null() && super::is_exhausted(socket) {
        return 0;
    }
    let mut asked = Message::new(message);
    // SAFETY: what it points to is the caller's msghdr's, and lives as long as that.
    let received = unsafe {
        libc::syscall(
            libc::SYS_recvmsg,
            c_long::from(socket),
            &raw mut asked,
            c_long::from(flags),
        )
    };
    if received >= 0 {
        message.msg_namelen = asked.name_length;
        message.msg_controllen = given(asked.control_length);
        message.msg_flags = given(count(asked.flags));
        if is_data {
            super::count_read(socket, count(received));
        }
    }
    // An error is -1 here, too, and its number where the caller looks for it.
    ssize_t::try_from(received).unwrap_or(-1)
}

/// sendmsg(2), which does as if what a driver does not take had been sent, and what comes after
/// its answer, too.
///
/// # Safety
///
/// As of sendmsg(2).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // With that flag it is musl's resolver that sends, maybe to where a driver was before.
    // Asked first, for it may change errno.
    let is_grpc = flags & libc::MSG_FASTOPEN == 0 && super::is_driver(socket);
    // SAFETY: the caller gives a msghdr that nobody changes meanwhile.
    let asked = Message::new(unsafe { &*message });
    if is_grpc && super::is_answered(socket) {
        return asked.length();
    }
    // SAFETY: what it points to is the caller's msghdr's, and is only read.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendmsg,
            c_long::from(socket),
            &raw const asked,
            c_long::from(flags),
        )
    };
    let is_refused = || {
        let error = std::io::Error::last_os_error().raw_os_error();
        matches!(
            error,
            Some(libc::EAGAIN | libc::EPIPE | libc::ECONNRESET | libc::ENOBUFS | libc::ENOMEM)
        )
    };
    // linked/unthreaded.rs stands on this: for EAGAIN or ENOBUFS C-core would poll for up to ten
    // seconds in the one thread that serves the calls of all drivers.
    if sent < 0 && is_grpc && is_refused() {
        // SAFETY: takes two numbers. The socket is the caller's, and open.
        unsafe { libc::shutdown(socket, libc::SHUT_RD) };
        return asked.length();
    }
    ssize_t::try_from(sent).unwrap_or(-1)
}

/// The number by which the kernel knows a socket while it is open; 0 if it does not tell.
pub(super) fn inode(socket: RawFd) -> u64 {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: writes a stat, which this is.
    let result = unsafe { libc::fstat(socket, status.as_mut_ptr()) };
    if result != 0 {
        return 0;
    }
    // SAFETY: fstat(2) has succeeded, and so has written all of it.
    unsafe { status.assume_init() }.st_ino
}

/// Whether there are bytes to read. A number that is no socket any more has none.
pub(super) fn has_bytes(socket: RawFd) -> bool {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD (ioctl_tty(2), tcp(7), unix(7)) writes an int, which this is.
    let result = unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut bytes) };
    result == 0 && bytes > 0
}
