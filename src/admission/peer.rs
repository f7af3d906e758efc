//! Who a connection comes from, as far as giving way is concerned.

use std::net::{IpAddr, SocketAddr};

/// The address that a connection counts for: an IPv4 address, or the first 64 bits of
/// an IPv6 one. A single host usually has a whole /64 of addresses to choose from
/// (RFC 6177, section 2; RFC 4291, section 2.5.1), so a whole /64 counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    V4(u32),
    V6(u64),
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        // A dual-stack listener shows IPv4 clients as ::ffff:a.b.c.d, which all share
        // one /64.
        match address.ip().to_canonical() {
            IpAddr::V4(address) => Peer::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Peer::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(SocketAddr::new(text.parse().unwrap(), 1))
    }

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_64_bits() {
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_ne!(peer("::ffff:10.0.0.1"), peer("::ffff:10.0.0.2"));
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
    }
}
