//! Looks up the addresses of a host.
//!
//! "localhost" and every name below it stand for the loopback addresses and are not looked up (RFC
//! 6761, section 6.3), because a container may have no /etc/hosts, and a DNS server may return any
//! address.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

/// The errors of socket(2), bind(2) and connect(2) if this machine does not have an address, or has
/// IPv4 or IPv6 turned off.
pub const NOT_HERE: [i32; 2] = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];

/// Looks up a host's addresses. getaddrinfo(3) has no deadline, so a caller with a deadline must
/// wait on another thread.
///
/// # Errors
///
/// The error of getaddrinfo(3). One that is no system error becomes `NotFound`.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if is_localhost(host) {
        return Ok(loopback(port).to_vec());
    }
    let found = (host, port).to_socket_addrs();
    found
        .map(Iterator::collect)
        .map_err(|error| match error.raw_os_error() {
            Some(_) => error,
            // std has no kind for the error codes that only getaddrinfo(3) has.
            None => io::Error::new(io::ErrorKind::NotFound, error),
        })
}

/// Whether a host is "localhost" or a name below it.
fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // A name that begins with a dot has an empty label, and so is no name.
    last.eq_ignore_ascii_case("localhost") && !name.starts_with('.')
}

/// The loopback addresses, IPv4 first as in Go's net package.
fn loopback(port: u16) -> [SocketAddr; 2] {
    [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_names_below_it_are_recognised() {
        for name in [
            "localhost",
            "LocalHost",
            "localhost.",
            "csi.localhost",
            "a.b.LOCALHOST.",
        ] {
            assert!(is_localhost(name), "{name}");
        }
        for name in [
            "",
            ".",
            ".localhost",
            "localhost..",
            "localhost.example",
            "mylocalhost",
            "localhost6",
            "127.0.0.1",
        ] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[test]
    fn localhost_has_both_loopback_addresses() {
        let written = loopback(9808).map(|address| address.to_string());
        assert_eq!(written, ["127.0.0.1:9808", "[::1]:9808"]);
    }
}
