//! Listeners with a backlog of our own that serve IPv4 and IPv6 at once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use program::{lookup, socket_option};
use socket2::{Domain, Socket, Type};

use crate::address::ListenAddress;

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

/// Opens a listener and logs its address. `flags` are those that choose another port, for an
/// error. Returns nothing if `stops_within` says that a stop has come: it waits so long for one.
///
/// # Errors
///
/// The reason, for people.
pub fn open(
    address: &ListenAddress,
    flags: &str,
    stops_within: &dyn Fn(Duration) -> bool,
) -> Result<Option<TcpListener>, String> {
    let asked = address.to_string();
    let Some(listener) =
        listen(address, stops_within).map_err(|error| explain(&asked, flags, &error))?
    else {
        return Ok(None);
    };
    let opened = listener
        .local_addr()
        .map_or(asked, |local| local.to_string());
    log::info!(address = opened; "Listening");
    Ok(Some(listener))
}

fn explain(address: &str, flags: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => &format!(
            "address in use: another process on this node, or another container of this pod, \
             has this port; choose another one with {flags}"
        ),
        io::ErrorKind::AddrNotAvailable => "no interface of this host has this address",
        io::ErrorKind::PermissionDenied => {
            "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE"
        }
        _ => return format!("cannot listen on {address}: {error}"),
    };
    format!("cannot listen on {address}: {hint}")
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
fn listen(
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
    let mut candidates = lookup::look_up(&address.host, address.port)?;
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
    let deferred = socket_option::set(
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
    use std::cell::Cell;

    use super::*;

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
}
