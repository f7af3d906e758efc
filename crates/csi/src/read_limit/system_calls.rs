//! recvmsg(2), sendmsg(2) and epoll_ctl(2), by which gRPC's C-core reads, writes and
//! watches its sockets, and nobody else in this program, but for musl's resolver. Defined
//! here they are found before the C library's; whatever is not about a driver's socket
//! goes to the kernel as it is.

#![allow(unsafe_code, reason = "the C library's functions, see SAFETY at each")]

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::os::fd::RawFd;
use std::ptr;

use libc::{epoll_event, iovec, msghdr, ssize_t};

const EPOLLOUT: u32 = libc::EPOLLOUT.cast_unsigned();

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

/// epoll_ctl(2), which asks for no word of a driver's socket that has room: it always has.
/// The kernel would say it each time the driver reads, and wake gRPC's thread for it.
///
/// # Safety
///
/// As of epoll_ctl(2).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    what: c_int,
    socket: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: the caller gives an event that nobody changes meanwhile, or null.
    let mut asked = unsafe { event.as_ref() }.copied();
    if let Some(asked) = &mut asked
        && super::is_driver(socket)
    {
        asked.events &= !EPOLLOUT;
    }
    let asked = asked.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the event is this function's own, and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_ctl,
            c_long::from(epoll),
            c_long::from(what),
            c_long::from(socket),
            asked,
        )
    };
    c_int::try_from(result).unwrap_or(-1)
}

/// epoll_create1(2): musl has it in one object file with the one before, so that whoever
/// defines that defines this.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn epoll_create1(flags: c_int) -> c_int {
    // SAFETY: takes a number and gives one.
    let result = unsafe { libc::syscall(libc::SYS_epoll_create1, c_long::from(flags)) };
    c_int::try_from(result).unwrap_or(-1)
}

/// epoll_wait(2), likewise.
///
/// # Safety
///
/// As of epoll_wait(2).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: the caller's events, as many as it says. Without a signal mask, whose size
    // then does not matter, it is the same as epoll_wait(2), which not every machine has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait,
            c_long::from(epoll),
            events,
            c_long::from(most),
            c_long::from(timeout),
            ptr::null::<c_void>(),
            0_usize,
        )
    };
    c_int::try_from(result).unwrap_or(-1)
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
