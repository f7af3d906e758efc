//! Where a connection comes from, as it counts when connections give way.

use std::net::{IpAddr, SocketAddr};

/// The address that a connection comes from, and the network that it counts for.
///
/// A single host usually has a whole /64 of IPv6 addresses to choose from (RFC 6177,
/// section 2; RFC 4291, section 2.5.1), so a whole /64 counts as one. But the pods of a node
/// may be in one /64, and kubelet with them; so within a network the address counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    network: u128,
    address: u128,
}

impl Peer {
    /// The network.
    pub fn network(self) -> u128 {
        self.network
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        // A dual-stack listener shows IPv4 clients as ::ffff:a.b.c.d, which all share one
        // /64; each is a network of its own, as it is where the listener is IPv4's.
        let (address, is_v4) = match address.ip().to_canonical() {
            IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), true),
            IpAddr::V6(address) => (address.to_bits(), false),
        };
        let network = if is_v4 { address } else { address >> 64 << 64 };
        Peer { network, address }
    }
}

#[cfg(test)]
impl Peer {
    /// The address `address` in the network `network`.
    pub fn of(network: u128, address: u128) -> Peer {
        Peer { network, address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(SocketAddr::new(text.parse().unwrap(), 1))
    }

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_64_bits_and_address() {
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
        assert_ne!(peer("10.0.0.1").network, peer("10.0.0.2").network);
        assert_ne!(
            peer("::ffff:10.0.0.1").network,
            peer("::ffff:10.0.0.2").network
        );
        let (one, other) = (peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_eq!(one.network, other.network);
        assert_ne!(one, other);
        assert_ne!(one.network, peer("2001:db8:0:2::1").network);
    }
}
