//! How many connections or requests each network and each address has, and which address gives
//! way: in the network that has most, the address that has most. Pure.

use std::collections::BTreeMap;

use crate::peer::Peer;

/// Counts by network and by address; none is zero.
#[derive(Default)]
pub struct Held {
    all: usize,
    networks: BTreeMap<u128, usize>,
    addresses: BTreeMap<Peer, usize>,
}

impl Held {
    pub fn add(&mut self, peer: Peer) {
        self.all += 1;
        *self.networks.entry(peer.network()).or_default() += 1;
        *self.addresses.entry(peer).or_default() += 1;
    }

    pub fn remove(&mut self, peer: Peer) {
        self.all -= 1;
        take_one(&mut self.networks, &peer.network());
        take_one(&mut self.addresses, &peer);
    }

    /// Whether each network has one, so that none gives way before another. This is so when a
    /// stranger has more addresses than there are places, and then it must be quick to find out.
    pub fn each_network_has_one(&self) -> bool {
        self.networks.len() == self.all
    }

    /// Whether this is one of the addresses that give way first.
    pub fn most(&self) -> impl Fn(Peer) -> bool + use<> {
        let most = self.networks.values().copied().max();
        let networks = self.networks.iter();
        let largest: Vec<u128> = networks
            .filter(|(_, count)| Some(**count) == most)
            .map(|(network, _)| *network)
            .collect();
        let of_largest = || {
            let addresses = self.addresses.iter();
            addresses.filter(|(peer, _)| largest.binary_search(&peer.network()).is_ok())
        };
        let most = of_largest().map(|(_, count)| *count).max();
        let chosen: Vec<Peer> = of_largest()
            .filter(|(_, count)| Some(**count) == most)
            .map(|(peer, _)| *peer)
            .collect();
        move |peer| chosen.binary_search(&peer).is_ok()
    }

    /// Whether to evict for a newcomer: if the largest network has at least two more than the
    /// newcomer's, or, within one network, the largest address. The newcomer then has no more than
    /// that one afterwards.
    pub fn should_evict_for(&self, newcomer: Peer) -> bool {
        let of = |network: u128| self.networks.get(&network).copied().unwrap_or_default();
        let at = |peer: Peer| self.addresses.get(&peer).copied().unwrap_or_default();
        let gives_way = self.most();
        self.addresses.keys().any(|&peer| {
            gives_way(peer)
                && if peer.network() == newcomer.network() {
                    at(peer) >= at(newcomer) + 2
                } else {
                    of(peer.network()) >= of(newcomer.network()) + 2
                }
        })
    }
}

fn take_one<Key: Ord>(counts: &mut BTreeMap<Key, usize>, key: &Key) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(peers: &[(u128, u128, usize)]) -> Held {
        let mut held = Held::default();
        for &(network, address, count) in peers {
            for _ in 0..count {
                held.add(Peer::of(network, address));
            }
        }
        held
    }

    #[test]
    fn the_largest_network_s_largest_address_gives_way() {
        // One address has most; its network has not.
        let held = held(&[(1, 1, 5), (2, 1, 3), (2, 2, 4), (2, 3, 4)]);
        assert!(!held.each_network_has_one());
        let gives_way = held.most();
        assert!(gives_way(Peer::of(2, 2)) && gives_way(Peer::of(2, 3)));
        assert!(!gives_way(Peer::of(1, 1)) && !gives_way(Peer::of(2, 1)));
    }

    #[test]
    fn a_neighbour_in_kubelet_s_network_pushes_out_itself() {
        let mut held = held(&[(1, 1, 1), (1, 2, 100)]);
        let kubelet = Peer::of(1, 1);
        assert!(held.should_evict_for(kubelet));
        assert!(!held.should_evict_for(Peer::of(1, 2)));
        for _ in 0..98 {
            assert!(!held.most()(kubelet));
            held.remove(Peer::of(1, 2));
        }
        // Two against one: with one more for kubelet they are equal.
        assert!(!held.should_evict_for(kubelet));
    }

    #[test]
    fn a_newcomer_of_another_network_counts_by_network() {
        let mut held = held(&[(1, 1, 1), (1, 2, 1), (1, 3, 1)]);
        assert!(held.should_evict_for(Peer::of(2, 1)));
        assert!(!held.should_evict_for(Peer::of(1, 4)));
        held.remove(Peer::of(1, 1));
        held.remove(Peer::of(1, 2));
        assert!(held.each_network_has_one());
    }

    #[test]
    fn nothing_gives_way_in_an_empty_list() {
        let held = held(&[]);
        assert!(!held.should_evict_for(Peer::of(1, 1)));
        assert!(!held.most()(Peer::of(1, 1)));
    }
}
