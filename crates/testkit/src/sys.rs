//! The system calls that the standard library has no function for.
#![allow(unsafe_code, reason = "system calls, each with SAFETY")]

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;

/// Returns whether the tests run as root.
pub fn is_root() -> bool {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sends a signal to a process that a test has started.
pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: kill(2) has no preconditions. The pid is that of a child that has not been
    // waited for, so no other process has it.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Makes the accept queue of a listener as short as possible: it holds one connection.
pub fn shorten_queue(listener: &UnixListener) {
    // SAFETY: the descriptor is the listener's, which is alive.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// A thread that ptrace(2) has stopped, as if it had died.
pub struct FrozenThread(i32);

impl FrozenThread {
    /// Stops a thread. The calling thread becomes its tracer, so the value must stay on the
    /// calling thread.
    pub fn freeze(tid: i32) -> FrozenThread {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: both requests pass no data, and the thread belongs to a child process.
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
        // SAFETY: waitpid(2) accepts a null pointer for the status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL | flags) }
    }
}

/// Raises the soft limit of descriptors of this process to the hard limit.
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

/// Binds a socket to this address and lets the kernel choose the port at connect(2). bind(2)
/// alone would take a port that no other connection has, to any destination.
pub fn bind_without_port(socket: &socket2::Socket, address: std::net::Ipv4Addr) {
    let yes: libc::c_int = 1;
    // SAFETY: setsockopt(2) reads an int, and gets a pointer to one and its size.
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
