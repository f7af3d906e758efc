//! connect(2) to a driver with a deadline, which the standard library lacks for Unix sockets.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use program::{lookup, socket_option};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::CsiAddress;

/// The longest wait for room in a Unix socket's accept queue. The kernel's timers are the coarser
/// the longer they are (kernel/time/timer.c, "granularity"): one of 2.9 s may fire a quarter of a
/// second late, and the caller's deadline would pass meanwhile.
const UNIX_WAIT: Duration = Duration::from_millis(200);

/// Connects to the driver, and waits no longer than `until`.
///
/// # Errors
///
/// The error of connect(2), or of the lookup of the host. It is EAGAIN if the accept queue of a
/// Unix socket stays full, which may be before `until`.
pub fn connect(address: &CsiAddress, until: Instant) -> io::Result<OwnedFd> {
    match address {
        CsiAddress::Path(path) => connect_unix(&SockAddr::unix(path)?, until),
        CsiAddress::Abstract(name) => connect_unix(&SockAddr::unix(format!("\0{name}"))?, until),
        CsiAddress::Tcp { host, port } => connect_tcp(host, *port, until),
    }
}

/// Connects to a Unix socket. connect(2) blocks while the accept queue of the listener is full, and
/// the kernel bounds that wait by SO_SNDTIMEO (`unix_stream_connect`).
///
/// Rejected: a non-blocking connect, because it fails with EAGAIN at once if the queue is full, and
/// there is no event to poll for.
fn connect_unix(address: &SockAddr, until: Instant) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A kernel before 6.16 cannot, and SECURITY.md says what follows from that.
    let _ = refuse_descriptors(&socket);
    if socket
        .set_write_timeout(Some(left(until)?.min(UNIX_WAIT)))
        .is_err()
    {
        // A seccomp profile refuses setsockopt(2). A wait without a bound is worse than none.
        socket.set_nonblocking(true)?;
    }
    // The timeout stays set. It does not matter to gRPC, which makes its sockets non-blocking.
    socket.connect(address)?;
    Ok(socket.into())
}

/// Has the kernel refuse descriptors that the other side passes over this socket (`SCM_RIGHTS`,
/// unix(7)). No code here wants them, and the thread that receives the bytes closes the
/// descriptors: if one of them is a connection that lingers, the driver decides how long close(2)
/// takes, even for a non-blocking reader. Returns false if the kernel is older than Linux 6.16 and
/// cannot.
fn refuse_descriptors(socket: &Socket) -> bool {
    /// The number in asm-generic/socket.h, which holds for each architecture that is built.
    const SO_PASSRIGHTS: libc::c_int = 83;
    socket_option::set(socket.as_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, 0).is_ok()
}

fn connect_tcp(host: &str, port: u16, until: Instant) -> io::Result<OwnedFd> {
    let addresses = lookup::look_up(host, port)?;
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        let left = match left(until) {
            Ok(left) => left,
            // The error of an address says more than that the time is over.
            Err(over) => return Err(last.unwrap_or(over)),
        };
        match TcpStream::connect_timeout(address, share(left, addresses.len() - number)) {
            Ok(stream) => {
                // Without this option the call only takes a little longer.
                let _ = stream.set_nodelay(true);
                return Ok(stream.into());
            }
            Err(error) => last = Some(more_informative(last, error)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address")))
}

/// The part of the time left that the next of so many addresses gets: all of it for the last
/// address, and half for any other. So an address that drops packets, such as one of IPv6 in a
/// network that does not forward IPv6, leaves time for the others. ureq does the same in its
/// `try_connect`.
///
/// Rejected: connecting to all at once (RFC 8305), which costs one more connection each time.
fn share(left: Duration, addresses: usize) -> Duration {
    if addresses > 1 { left / 2 } else { left }
}

/// Chooses the error that says more about the driver, out of those of two addresses. That this
/// machine cannot reach any address of a kind says least, and a timeout says little.
fn more_informative(before: Option<io::Error>, error: io::Error) -> io::Error {
    let rank = |error: &io::Error| match error.raw_os_error() {
        Some(code) if lookup::NOT_HERE.contains(&code) || code == libc::ENETUNREACH => 0,
        _ if error.kind() == io::ErrorKind::TimedOut => 1,
        _ => 2,
    };
    match before {
        Some(before) if rank(&before) > rank(&error) => before,
        _ => error,
    }
}

/// The time left until `until`, or an error once there is none, because to the kernel a timeout of
/// zero means no timeout.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    // A timeval counts microseconds, so anything shorter would become zero.
    if left < Duration::from_micros(1) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use nix::errno::Errno;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    #[test]
    fn no_address_but_the_last_one_gets_all_the_time() {
        let left = Duration::from_secs(2);
        assert_eq!(share(left, 1), left);
        assert_eq!(share(left, 2), left / 2);
        assert_eq!(share(left, 3), left / 2);
    }

    #[test]
    fn the_error_that_says_more_about_the_driver_is_kept() {
        let error = io::Error::from_raw_os_error;
        for (before, after, expected) in [
            (libc::ECONNREFUSED, libc::EADDRNOTAVAIL, libc::ECONNREFUSED),
            (libc::ECONNREFUSED, libc::EAFNOSUPPORT, libc::ECONNREFUSED),
            (libc::ETIMEDOUT, libc::ENETUNREACH, libc::ETIMEDOUT),
            (libc::ENETUNREACH, libc::ECONNREFUSED, libc::ECONNREFUSED),
            (libc::ETIMEDOUT, libc::ECONNREFUSED, libc::ECONNREFUSED),
            (libc::ECONNREFUSED, libc::ETIMEDOUT, libc::ECONNREFUSED),
            (libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::EHOSTUNREACH),
        ] {
            let found = more_informative(Some(error(before)), error(after));
            assert_eq!(found.raw_os_error(), Some(expected), "{before}, {after}");
        }
        let only = more_informative(None, error(libc::ENETUNREACH));
        assert_eq!(only.raw_os_error(), Some(libc::ENETUNREACH));
    }

    #[test]
    fn a_driver_cannot_pass_descriptors() {
        let name = format!("csi-socket-test-{}", std::process::id());
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener
            .bind(&SockAddr::unix(format!("\0{name}")).unwrap())
            .unwrap();
        listener.listen(1).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        let _socket = connect(&CsiAddress::Abstract(name), until).unwrap();
        let (driver, _) = listener.accept().unwrap();
        let passed = sendmsg::<()>(
            driver.as_raw_fd(),
            &[io::IoSlice::new(b"x")],
            &[ControlMessage::ScmRights(&[driver.as_raw_fd()])],
            MsgFlags::empty(),
            None,
        );
        // Before Linux 6.16 the kernel passes them (SECURITY.md).
        let expected = if refuse_descriptors(&listener) {
            Err(Errno::EPERM)
        } else {
            Ok(1)
        };
        assert_eq!(passed, expected);
    }
}
