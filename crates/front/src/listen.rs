//! Listeners that serve IPv4 and IPv6 at once, with a backlog that std cannot ask for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use program::{lookup, socket_option};
use socket2::{Domain, Socket, Type};

use crate::address::ListenAddress;

/// Connections that may wait for accept(2). The standard library asks for 128, and the kernel drops
/// a SYN that meets a full queue, which costs kubelet a second. The kernel cuts this number to
/// net.core.somaxconn (4096 since Linux 5.4).
pub const BACKLOG: i32 = 4096;

/// How many seconds the kernel keeps a connection that has sent nothing, before it is
/// accepted (TCP_DEFER_ACCEPT, tcp(7)). Meanwhile it is an entry in the kernel's table of half-open
/// connections, and costs no descriptor and no place here. It is accepted as soon as its request
/// comes. As many connections as `BACKLOG` can wait that way; the kernel accepts those beyond it at
/// once, by SYN cookies. One second is the shortest time that can be set, and so fills the table
/// least under a flood.
const SILENT_SECONDS: libc::c_int = 1;

/// Opens a listener and logs its address. `flags` names the flags that choose another port, for
/// the error. While it waits for an address it calls `stops_within`, which waits at most so long
/// for a stop and says whether one has come; then there is no listener.
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

/// Listens on `address`. A wildcard is opened dual-stack, and on IPv4 alone where the kernel has no
/// IPv6; IPV6_V6ONLY is turned off explicitly, because net.ipv6.bindv6only may turn it on. If no
/// interface has the address, it is tried again for [`ADDRESS_WAIT`].
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
            Some(code) if lookup::NOT_HERE.contains(&code) => {
                listen_on(SocketAddr::from(([0u8; 4], address.port)))
            }
            _ => Err(error),
        });
        return listener.map(Some);
    }
    let mut candidates = lookup::look_up(&address.host, address.port)?;
    // Go's net package prefers the IPv4 addresses of a host name.
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

/// How long an address may take to appear. After an interface comes up, IPv6's duplicate address
/// detection takes a second or two (RFC 4862, section 5.4), during which bind(2) refuses the
/// address. If the process exited, kubelet's back-off would make ten seconds of that.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);

/// From one attempt to the next.
const ADDRESS_PAUSE: Duration = Duration::from_millis(100);

/// Whether bind(2) may succeed later, after so long. A port that is taken stays taken.
fn may_come(error: &io::Error, waited: Duration) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable && waited < ADDRESS_WAIT
}

/// Listens on the first of these addresses that this host has. Any other failure is final: if the
/// port were taken on 127.0.0.1 and `::1` used in its place, kubelet would ask another program.
fn listen_on_first(candidates: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in candidates {
        match listen_on(*candidate) {
            Err(error)
                if error
                    .raw_os_error()
                    .is_some_and(|code| lookup::NOT_HERE.contains(&code)) =>
            {
                // An address that may still appear counts more than a family that is off.
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
    // Connections in TIME_WAIT would otherwise keep the port from a restarted sidecar, as they may
    // where this option is refused.
    let _ = socket.set_reuse_address(true);
    if address.is_ipv6() {
        let only_v6 = !address.ip().is_unspecified();
        // If it is refused and does not have this value already, IPv4 would not be served.
        socket
            .set_only_v6(only_v6)
            .or_else(|error| match socket.only_v6() {
                Ok(true) if !only_v6 => Err(error),
                _ => Ok(()),
            })?;
    }
    socket.bind(&address.into())?;
    // Set before listen(2), so that it holds for the first connection, too.
    let deferred = socket_option::set(
        socket.as_fd(),
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        SILENT_SECONDS,
    );
    if let Err(error) = deferred {
        // Silent connections are then accepted at once; their number is bounded all the same.
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
