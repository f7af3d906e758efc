//! recvmsg(2) and sendmsg(2), by which gRPC's C-core reads and writes its sockets. musl's resolver
//! is the only other caller in this program. The linker takes these definitions before those of
//! the C library. They pass each call to the kernel unchanged if it is not about a driver's socket.
//!
//! Rejected: replacing `epoll_ctl` as well, to remove EPOLLOUT. The socket always has room, so
//! C-core has no use for that event, and the kernel wakes gRPC's thread with it each time the
//! driver reads. It would need `epoll_create1` and `epoll_wait`, too, which musl has in the same
//! object file, and a probe stays within the bound on its processor time without it
//! (docs/footprint.md).

#![allow(unsafe_code, reason = "the C library's functions, see SAFETY at each")]

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::os::fd::RawFd;

use libc::{iovec, msghdr, ssize_t};

/// The kernel's `struct user_msghdr`. The C library's `msghdr` may differ: musl's counts are
/// shorter, and callers do not initialise the padding behind them.
#[repr(C)]
struct KernelMsghdr {
    name: *mut c_void,
    name_length: c_uint,
    parts: *mut iovec,
    parts_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_uint,
}

/// Converts a count of C, whose type differs between platforms. No such type is larger than a
/// usize.
fn to_usize<T: TryInto<usize>>(count: T) -> usize {
    count.try_into().unwrap_or_default()
}

/// Converts a count back to C's type, in which it fits because it came in that type.
fn from_usize<T: TryFrom<usize> + Default>(count: usize) -> T {
    T::try_from(count).unwrap_or_default()
}

impl KernelMsghdr {
    fn new(message: &msghdr) -> KernelMsghdr {
        KernelMsghdr {
            name: message.msg_name,
            name_length: message.msg_namelen,
            parts: message.msg_iov,
            parts_count: to_usize(message.msg_iovlen),
            control: message.msg_control,
            control_length: to_usize(message.msg_controllen),
            flags: 0,
        }
    }

    /// The number of bytes in all parts.
    fn length(&self) -> ssize_t {
        if self.parts.is_null() {
            return 0;
        }
        // SAFETY: pointer and count are those that the caller of sendmsg(2) passed.
        let parts = unsafe { std::slice::from_raw_parts(self.parts, self.parts_count) };
        from_usize(parts.iter().map(|part| part.iov_len).sum())
    }
}

/// recvmsg(2), which counts what it reads from a driver's socket, and reports end of file once the
/// driver has sent its limit.
///
/// # Safety
///
/// The caller's duties are those of recvmsg(2).
// SAFETY: name, arguments and result are those of the function in POSIX.
#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(socket: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let is_data = flags & libc::MSG_ERRQUEUE == 0;
    // SAFETY: the caller passes a msghdr, and nothing else uses it during this call.
    let message = unsafe { &mut *message };
    // musl's resolver asks for the sender's address, and gRPC does not.
    if is_data && message.msg_name.is_null() && super::is_exhausted(socket) {
        return 0;
    }
    let mut header = KernelMsghdr::new(message);
    // SAFETY: the pointers in `header` are those of the caller's msghdr, which outlives this call.
    let received = unsafe {
        libc::syscall(
            libc::SYS_recvmsg,
            c_long::from(socket),
            &raw mut header,
            c_long::from(flags),
        )
    };
    if received >= 0 {
        message.msg_namelen = header.name_length;
        message.msg_controllen = from_usize(header.control_length);
        message.msg_flags = from_usize(to_usize(header.flags));
        if is_data {
            super::count_read(socket, to_usize(received));
        }
    }
    // syscall(2) reports an error as the caller expects it: -1, and errno.
    ssize_t::try_from(received).unwrap_or(-1)
}

/// sendmsg(2), which pretends success on a driver's socket if the driver does not read, and after
/// the driver's reply.
///
/// # Safety
///
/// The caller's duties are those of sendmsg(2).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // Only musl's resolver sets MSG_FASTOPEN, and its socket may have the descriptor that a
    // driver's socket had. This comes before the system call, because it may change errno.
    let is_grpc = flags & libc::MSG_FASTOPEN == 0 && super::is_driver(socket);
    // SAFETY: the caller passes a msghdr, and nothing changes it during this call.
    let header = KernelMsghdr::new(unsafe { &*message });
    if is_grpc && super::is_answered(socket) {
        return header.length();
    }
    // SAFETY: the pointers in `header` are those of the caller's msghdr. The kernel only reads it.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendmsg,
            c_long::from(socket),
            &raw const header,
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
    // This is load-bearing for linked/unthreaded.rs: on EAGAIN or ENOBUFS C-core would poll for up
    // to ten seconds in its one thread, and the calls of all drivers would wait. So gRPC never gets
    // either error from a driver's socket.
    if sent < 0 && is_grpc && is_refused() {
        // SAFETY: shutdown(2) takes two numbers. The socket is open, because its owner calls this.
        unsafe { libc::shutdown(socket, libc::SHUT_RD) };
        return header.length();
    }
    ssize_t::try_from(sent).unwrap_or(-1)
}

/// The inode of a socket, which identifies it while it is open; 0 if fstat(2) fails.
pub(super) fn inode(socket: RawFd) -> u64 {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat(2) writes one stat, which `status` has room for.
    let result = unsafe { libc::fstat(socket, status.as_mut_ptr()) };
    if result != 0 {
        return 0;
    }
    // SAFETY: fstat(2) has succeeded, so all of `status` is written.
    unsafe { status.assume_init() }.st_ino
}

/// Whether a socket has bytes to read. It is false if the descriptor is closed.
pub(super) fn has_bytes(socket: RawFd) -> bool {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD writes one int, which `bytes` is (ioctl_tty(2), tcp(7), unix(7)).
    let result = unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut bytes) };
    result == 0 && bytes > 0
}
