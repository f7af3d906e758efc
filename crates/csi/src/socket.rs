//! connect(2) to a driver, with a deadline that the standard library does not have for a Unix
//! socket.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use program::{lookup, socket_option};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::CsiAddress;

/// The longest wait for room in a Unix socket's accept queue. The kernel's timers
/// are coarse where they are long: one of 2.9 s may come a quarter of a second late
/// (kernel/time/timer.c, "granularity"), and with it the answer.
const UNIX_WAIT: Duration = Duration::from_millis(200);

/// Connects to the driver, waiting no longer than `until`.
///
/// # Errors
///
/// The error of connect(2), or of the host's lookup. A Unix socket whose
/// accept queue stays full is EAGAIN, before `until` if that is far away.
pub fn connect(address: &CsiAddress, until: Instant) -> io::Result<OwnedFd> {
    match address {
        CsiAddress::Path(path) => connect_unix(&SockAddr::unix(path)?, until),
        CsiAddress::Abstract(name) => connect_unix(&SockAddr::unix(format!("\0{name}"))?, until),
        CsiAddress::Tcp { host, port } => connect_tcp(host, *port, until),
    }
}

/// connect(2) on AF_UNIX blocks while the listener's accept queue is full, and
/// in the kernel (`unix_stream_connect`) that wait obeys SO_SNDTIMEO. A
/// non-blocking connect would not do: it fails with EAGAIN at once, and there
/// is nothing to poll for.
fn connect_unix(address: &SockAddr, until: Instant) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where the kernel cannot, it goes on without.
    let _ = refuse_descriptors(&socket);
    if socket
        .set_write_timeout(Some(left(until)?.min(UNIX_WAIT)))
        .is_err()
    {
        // A profile that refuses setsockopt(2): without a bound it must not wait at all.
        socket.set_nonblocking(true)?;
    }
    // It stays: gRPC, whose socket this is going to be, does not block.
    socket.connect(address)?;
    Ok(socket.into())
}

/// Has the kernel refuse descriptors that the other side would pass over this socket
/// (`SCM_RIGHTS`, unix(7)). Nobody asks for them here, and whoever receives what they
/// come with closes them: a connection that lingers can take as long for it as the driver
/// likes, even where nothing blocks. Linux has this since 6.16; false where it has not.
fn refuse_descriptors(socket: &Socket) -> bool {
    /// Of asm-generic/socket.h, which all architectures here have.
    const SO_PASSRIGHTS: libc::c_int = 83;
    socket_option::set(socket.as_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, 0).is_ok()
}

fn connect_tcp(host: &str, port: u16, until: Instant) -> io::Result<OwnedFd> {
    let addresses = lookup::look_up(host, port)?;
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        let left = match left(until) {
            Ok(left) => left,
            // That the time is over says less than what an address has said.
            Err(over) => return Err(last.unwrap_or(over)),
        };
        match TcpStream::connect_timeout(address, share(left, addresses.len() - number)) {
            Ok(stream) => {
                // Where it is refused, the call takes a little longer.
                let _ = stream.set_nodelay(true);
                return Ok(stream.into());
            }
            Err(error) => last = Some(the_more_telling(last, error)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address")))
}

/// What the next of so many addresses gets of the time that is left: the last one all of it,
/// each one before it half. An address that drops what it is sent, such as one of IPv6 where
/// the network forwards none, leaves time for the others so. (ureq does the same, in its
/// `try_connect`; RFC 8305 would have them race, which takes a connection more each time.)
fn share(left: Duration, addresses: usize) -> Duration {
    if addresses > 1 { left / 2 } else { left }
}

/// What socket(2) and connect(2) say where an address is not here, or IPv4 or IPv6 is off.
const NOT_HERE: [i32; 2] = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];

/// Which of two addresses' errors says more of the driver: not that this machine cannot reach
/// any address of that kind, and rather not that its share of the time was over.
fn the_more_telling(before: Option<io::Error>, error: io::Error) -> io::Error {
    let rank = |error: &io::Error| match error.raw_os_error() {
        Some(code) if NOT_HERE.contains(&code) || code == libc::ENETUNREACH => 0,
        _ if error.kind() == io::ErrorKind::TimedOut => 1,
        _ => 2,
    };
    match before {
        Some(before) if rank(&before) > rank(&error) => before,
        _ => error,
    }
}

/// What is left until `until`; an error once nothing is, because a timeout of
/// zero means "for ever" to the kernel.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    // Below a microsecond a timeval is zero.
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
    fn of_two_errors_the_one_about_the_driver_is_kept() {
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
            let found = the_more_telling(Some(error(before)), error(after));
            assert_eq!(found.raw_os_error(), Some(expected), "{before}, {after}");
        }
        let only = the_more_telling(None, error(libc::ENETUNREACH));
        assert_eq!(only.raw_os_error(), Some(libc::ENETUNREACH));
    }

    #[test]
    fn a_driver_passes_no_descriptors() {
        let name = format!("csi-livenessprobe-test-{}", std::process::id());
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
        // What this kernel cannot do (before Linux 6.16), SECURITY.md says.
        let expected = if refuse_descriptors(&listener) {
            Err(Errno::EPERM)
        } else {
            Ok(1)
        };
        assert_eq!(passed, expected);
    }
}
