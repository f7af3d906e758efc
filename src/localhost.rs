//! The names of the loopback addresses, which are answered here and never by a
//! resolver: RFC 6761, 6.3. A scratch image has no /etc/hosts, and what a DNS server
//! says of `localhost` is not to be connected to or listened on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether this is `localhost` or a name in `localhost.`, in any case, with or without
/// the root's dot.
#[must_use]
pub fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost")
}

/// The addresses that such a name stands for, IPv4 first.
#[must_use]
pub fn addresses(port: u16) -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6761_s_names_are_known() {
        for name in [
            "localhost",
            "LocalHost",
            "localhost.",
            "driver.localhost",
            "a.b.LOCALHOST.",
        ] {
            assert!(is_localhost(name), "{name}");
        }
        for name in [
            "",
            ".",
            "localhost..",
            "localhost.example",
            "notlocalhost",
            "localhost.localdomain",
            "127.0.0.1",
            "::1",
        ] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[test]
    fn ipv4_is_the_first() {
        assert_eq!(
            addresses(9808).map(|address| address.to_string()),
            ["127.0.0.1:9808", "[::1]:9808"]
        );
    }
}
