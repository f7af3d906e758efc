//! The addresses of a host.
//!
//! "localhost" and every name below it are the loopback addresses, and no lookup is made for
//! them (RFC 6761, section 6.3): a machine may have no /etc/hosts, and a DNS server may answer
//! with any address.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

/// Looks up a host's addresses. The lookup has no deadline of its own (getaddrinfo(3)), so a
/// caller with a deadline waits for it on another thread.
///
/// # Errors
///
/// That of getaddrinfo(3), as `NotFound` where std gives it no kind.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if is_localhost(host) {
        return Ok(addresses(port).to_vec());
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

/// Whether a host's name is one of them.
fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // What begins with a dot has an empty label, and is no name.
    last.eq_ignore_ascii_case("localhost") && !name.starts_with('.')
}

/// What they stand for, IPv4 first, as Go's net package has it.
fn addresses(port: u16) -> [SocketAddr; 2] {
    [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_rfc_6761() {
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
    fn they_are_both_loopback_addresses() {
        let written = addresses(9808).map(|address| address.to_string());
        assert_eq!(written, ["127.0.0.1:9808", "[::1]:9808"]);
    }
}
