//! The system calls that the standard library has no word for.
#![allow(unsafe_code, reason = "system calls, each with SAFETY")]

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;

pub fn is_root() -> bool {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Signals a process that a test has started.
pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: kill(2) has no preconditions; the pid is that of a child that has
    // not been waited for, so it is nobody else's.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Makes the accept queue of a listener as short as can be: one connection.
pub fn shorten_queue(listener: &UnixListener) {
    // SAFETY: the descriptor is the listener's, which is alive.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// A thread held still by ptrace(2), as if it had died.
pub struct FrozenThread(i32);

impl FrozenThread {
    /// To be kept, and reaped, on the thread that calls this: it is the tracer.
    pub fn freeze(tid: i32) -> FrozenThread {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: requests without data, on a thread of a child of ours.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, tid, none, none), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, tid, none, none), 0);
        }
        let frozen = FrozenThread(tid);
        assert_eq!(frozen.wait(0), tid);
        frozen
    }

    /// Lets the kernel forget the thread, if it has ended.
    pub fn reap(&self) {
        self.wait(libc::WNOHANG);
    }

    fn wait(&self, flags: i32) -> i32 {
        // SAFETY: waitpid(2) may be given no place for the status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL | flags) }
    }
}

/// Lets this process have as many descriptors as it may.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a rlimit that lives on this stack.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Has a socket's connections come from this address, with a port that is chosen when it
/// connects: bind(2) alone would want one that no other connection has, to anywhere.
pub fn bind_without_port(socket: &socket2::Socket, address: std::net::Ipv4Addr) {
    let yes: libc::c_int = 1;
    // SAFETY: reads an int, which this is, and as many bytes as one has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            libc::socklen_t::try_from(size_of_val(&yes)).unwrap(),
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let address = std::net::SocketAddr::from((address, 0));
    socket.bind(&address.into()).unwrap();
}
