//! The sockets that the standard library cannot make: a connection with a
//! deadline that also binds on AF_UNIX, a listener with a backlog of our own that
//! serves IPv4 and IPv6 at once, and one that nobody else can connect to. The
//! owner of the package socket2.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::{CsiAddress, ListenAddress};
use crate::localhost;

/// Connections that may wait for accept(2). The standard library asks for 128,
/// and a SYN that meets a full queue is dropped: it costs kubelet a second.
/// The kernel cuts this to net.core.somaxconn (4096 since Linux 5.4).
pub const BACKLOG: i32 = 4096;

/// How many seconds the kernel keeps a connection that has sent nothing, before it is
/// accepted (TCP_DEFER_ACCEPT, tcp(7)). Meanwhile it is an entry in the kernel's table of
/// half-open connections, and costs no descriptor and no place here; one whose request comes
/// is accepted then, and one that is closed is seen at once. As many connections as
/// `BACKLOG` can wait that way, and those beyond it are accepted at once, by SYN cookies. One
/// second is the shortest time that there is, and so the one that a flood fills the table
/// with least.
const SILENT_SECONDS: libc::c_int = 1;

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
    set_option(socket.as_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, 0).is_ok()
}

#[allow(unsafe_code, reason = "no package here has these options; see SAFETY")]
fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: reads an int, which `value` is, and as many bytes as one has.
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

fn connect_tcp(host: &str, port: u16, until: Instant) -> io::Result<OwnedFd> {
    let addresses = look_up(host, port)?;
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

/// A host's addresses. The lookup has no deadline of its own (getaddrinfo(3)); those who wait
/// for the answer keep theirs.
fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if localhost::is_localhost(host) {
        return Ok(localhost::addresses(port).to_vec());
    }
    let found = (host, port).to_socket_addrs();
    found
        .map(Iterator::collect)
        .map_err(|error| match error.raw_os_error() {
            Some(_) => error,
            // getaddrinfo(3) has errors of its own, which std gives no kind.
            None => io::Error::new(io::ErrorKind::NotFound, error),
        })
}

/// What the next of so many addresses gets of the time that is left: the last one all of it,
/// each one before it half. An address that drops what it is sent, such as one of IPv6 where
/// the network forwards none, leaves time for the others so. (ureq does the same, in its
/// `try_connect`; RFC 8305 would have them race, which takes a connection more each time.)
fn share(left: Duration, addresses: usize) -> Duration {
    if addresses > 1 { left / 2 } else { left }
}

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

/// Listens on `address`. A wildcard is opened dual-stack, with IPV6_V6ONLY off
/// by name because net.ipv6.bindv6only may turn it on, and on IPv4 alone where
/// the kernel has no IPv6. An address that no interface has is waited for a while, unless
/// `stops_within` says of one of the pauses that a stop has come: then there is no listener.
///
/// # Errors
///
/// The lookup's error, or that of socket(2), bind(2) or listen(2) for the last
/// of the addresses tried.
pub fn listen(
    address: &ListenAddress,
    stops_within: &dyn Fn(Duration) -> bool,
) -> io::Result<Option<TcpListener>> {
    if address.is_wildcard() {
        let any = SocketAddr::from(([0u16; 8], address.port));
        let listener = listen_on(any).or_else(|error| match error.raw_os_error() {
            Some(code) if NOT_HERE.contains(&code) => {
                listen_on(SocketAddr::from(([0u8; 4], address.port)))
            }
            _ => Err(error),
        });
        return listener.map(Some);
    }
    let mut candidates = look_up(&address.host, address.port)?;
    // Of a host name's addresses Go's net package takes an IPv4 one first.
    candidates.sort_by_key(SocketAddr::is_ipv6);
    let began = Instant::now();
    let mut is_waiting = false;
    loop {
        let error = match listen_on_first(&candidates) {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) => error,
        };
        if !may_come(&error, began.elapsed()) {
            return Err(error);
        }
        if !is_waiting {
            is_waiting = true;
            log::warn!(
                err = error.to_string(), address = address.to_string();
                "Waiting for an address that no interface has yet"
            );
        }
        if stops_within(ADDRESS_PAUSE) {
            return Ok(None);
        }
    }
}

/// How long an address may take to come. IPv6's duplicate address detection takes a
/// second or two after an interface comes up (RFC 4862, 5.4), for which bind(2) refuses
/// the address; kubelet's back-off would make ten of that.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);

/// From one attempt to the next.
const ADDRESS_PAUSE: Duration = Duration::from_millis(100);

/// Whether bind(2) may succeed later, after so long. A port that is taken stays taken.
fn may_come(error: &io::Error, waited: Duration) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable && waited < ADDRESS_WAIT
}

/// What socket(2) and bind(2) say where an address is not here, or IPv4 or IPv6 is off.
const NOT_HERE: [i32; 2] = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];

/// Listens on the first of these that is here. Any other failure is final: where the
/// port of 127.0.0.1 is taken, kubelet would ask another program than the one on `::1`.
fn listen_on_first(candidates: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in candidates {
        match listen_on(*candidate) {
            Err(error)
                if error
                    .raw_os_error()
                    .is_some_and(|code| NOT_HERE.contains(&code)) =>
            {
                // Of one family that is off and an address that may come, the latter counts.
                if last.kind() != io::ErrorKind::AddrNotAvailable {
                    last = error;
                }
            }
            result => return result,
        }
    }
    Err(last)
}

/// A listener that has taken this many connections and takes no other: the
/// other ends of them come with it.
///
/// Its name is in the abstract namespace, which needs no file (the image has no
/// writable one), and is gone for others with shutdown(2): who connects later is
/// refused, what is in the queue stays. The queue has room for these connections
/// and no more, so that a stranger who was quicker is noticed.
///
/// # Errors
///
/// That of bind(2), listen(2), connect(2) or shutdown(2).
pub fn private_listener(count: usize) -> io::Result<(UnixListener, Vec<UnixStream>)> {
    const ATTEMPTS: u32 = 10;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_private_listener(count, attempt) {
            // A stranger took a place: another name.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
}

fn try_private_listener(count: usize, attempt: u32) -> io::Result<(UnixListener, Vec<UnixStream>)> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!(
        "\0csi-livenessprobe-{}-{attempt}-{}",
        std::process::id(),
        now.as_nanos()
    );
    let address = SockAddr::unix(name)?;
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&address)?;
    // Linux lets one more wait than it is told.
    listener.listen(i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX))?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Without room it is EAGAIN, not a wait.
        socket.set_nonblocking(true)?;
        socket.connect(&address)?;
        streams.push(UnixStream::from(OwnedFd::from(socket)));
    }
    listener.shutdown(Shutdown::Both)?;
    Ok((OwnedFd::from(listener).into(), streams))
}

/// Two ends of a TCP connection on the loopback address, where there may be no pair of Unix
/// sockets. Its listener is gone before it is used.
///
/// # Errors
///
/// That of bind(2), listen(2), connect(2) or accept(2).
pub fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    pair_over(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

fn pair_over(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    /// Where nothing is lost there is nothing to wait for.
    const AT_ONCE: Duration = Duration::from_secs(1);
    let near = TcpStream::connect_timeout(&listener.local_addr()?, AT_ONCE)?;
    let own = near.local_addr()?;
    loop {
        let (far, peer) = listener.accept()?;
        // Else it is a stranger who was quicker.
        if peer == own {
            for end in [&near, &far] {
                // What is written in two parts would wait for an acknowledgement, where
                // this is refused.
                let _ = end.set_nodelay(true);
            }
            return Ok((near, far));
        }
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart would find the port taken by connections in TIME_WAIT; where it is
    // refused, it may.
    let _ = socket.set_reuse_address(true);
    if address.is_ipv6() {
        let only_v6 = !address.ip().is_unspecified();
        // Where it is refused and is not so already, IPv4 would be deaf.
        socket
            .set_only_v6(only_v6)
            .or_else(|error| match socket.only_v6() {
                Ok(true) if !only_v6 => Err(error),
                _ => Ok(()),
            })?;
    }
    socket.bind(&address.into())?;
    // Before it listens, so that no connection comes without it.
    let deferred = set_option(
        socket.as_fd(),
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        SILENT_SECONDS,
    );
    if let Err(error) = deferred {
        // Silent connections are then accepted at once, and are bounded all the same.
        log::warn!(
            err = error.to_string();
            "Cannot leave silent connections to the kernel (TCP_DEFER_ACCEPT)"
        );
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_stranger_who_is_quicker_is_not_taken_for_the_other_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, far) = pair_over(&listener).unwrap();
        assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
        assert_ne!(stranger.local_addr().unwrap(), far.peer_addr().unwrap());
    }

    #[test]
    fn a_stop_ends_the_wait_for_an_address() {
        // TEST-NET-1 (RFC 5737): on no interface.
        let address = ListenAddress::parse("192.0.2.1:9808").unwrap();
        let pauses = Cell::new(0);
        let listener = listen(&address, &|_| {
            pauses.set(pauses.get() + 1);
            pauses.get() == 2
        });
        assert!(listener.unwrap().is_none());
        assert_eq!(pauses.get(), 2);
    }

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
