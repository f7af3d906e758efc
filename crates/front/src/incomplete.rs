//! The connections whose request is not complete yet, and which of them gives way when there are
//! too many. Pure: no socket is read here and no clock is asked.
//!
//! The oldest connection *of the address that holds most* gives way (`held`). By age alone, a
//! stranger that connects often enough would push out every client whose request follows its
//! connection a little later, such as kubelet on a busy node. By address, a stranger pushes out its
//! own connections first. Against one that has kubelet's own address, or as many addresses as
//! connections, only age is left.

use std::collections::VecDeque;
use std::time::Instant;

use crate::held::Held;
use crate::peer::Peer;

/// A connection in the list.
pub trait Accepted {
    /// When it was accepted.
    fn accepted(&self) -> Instant;
    /// The address that it counts for.
    fn peer(&self) -> Peer;
}

/// A list in the order of accept, oldest first.
pub struct Incomplete<T> {
    list: VecDeque<T>,
    held: Held,
}

impl<T: Accepted> Incomplete<T> {
    pub fn new() -> Incomplete<T> {
        Incomplete {
            list: VecDeque::new(),
            held: Held::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter()
    }

    pub fn oldest(&self) -> Option<&T> {
        self.list.front()
    }

    /// Adds a connection at its place: most often the end.
    pub fn insert(&mut self, pending: T) {
        self.held.add(pending.peer());
        let at = self
            .list
            .partition_point(|other| other.accepted() <= pending.accepted());
        self.list.insert(at, pending);
    }

    /// Takes out the connection that gives way. Of addresses that hold equally many, the one with
    /// the oldest connection loses it.
    pub fn give_way(&mut self) -> Option<T> {
        if self.held.each_network_has_one() {
            return self.remove(0);
        }
        let gives_way = self.held.most();
        let at = self
            .list
            .iter()
            .position(|pending| gives_way(pending.peer()))?;
        self.remove(at)
    }

    /// Takes out the oldest connection if `is_due`.
    pub fn pop_oldest_if(&mut self, is_due: impl FnOnce(&T) -> bool) -> Option<T> {
        if !self.list.front().is_some_and(is_due) {
            return None;
        }
        self.remove(0)
    }

    /// Takes out all connections for which `is_wanted`, which is called once for each, in the order
    /// of the list.
    pub fn take(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let wanted: Vec<usize> = (0..self.list.len())
            .filter(|&at| is_wanted(&self.list[at]))
            .collect();
        let mut taken: Vec<T> = wanted
            .into_iter()
            .rev()
            .filter_map(|at| self.remove(at))
            .collect();
        taken.reverse();
        taken
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let pending = self.list.remove(at)?;
        self.held.remove(pending.peer());
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::*;

    /// An address, and when it was accepted, in seconds.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Connection(u128, u64);

    impl Accepted for Connection {
        fn accepted(&self) -> Instant {
            static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
            *BEGIN + Duration::from_secs(self.1)
        }

        fn peer(&self) -> Peer {
            Peer::of(self.0, self.0)
        }
    }

    const KUBELET: u128 = 1;
    const STRANGER: u128 = 2;

    fn list(connections: &[Connection]) -> Incomplete<Connection> {
        let mut list = Incomplete::new();
        for connection in connections {
            list.insert(*connection);
        }
        list
    }

    #[test]
    fn a_flood_from_another_address_pushes_out_itself() {
        let mut list = list(&[Connection(KUBELET, 0)]);
        for second in 1..10_000 {
            list.insert(Connection(STRANGER, second));
            if list.len() > 100 {
                assert_eq!(list.give_way(), Some(Connection(STRANGER, second - 99)));
            }
        }
        assert_eq!(list.oldest(), Some(&Connection(KUBELET, 0)));
    }

    #[test]
    fn between_equals_the_oldest_gives_way() {
        let mut list = list(&[Connection(3, 2), Connection(2, 1), Connection(1, 3)]);
        assert_eq!(list.give_way(), Some(Connection(2, 1)));
        assert_eq!(list.give_way(), Some(Connection(3, 2)));
        assert_eq!(list.give_way(), Some(Connection(1, 3)));
        assert_eq!(list.give_way(), None);
    }

    #[test]
    fn a_connection_that_is_taken_out_counts_no_longer() {
        let mut list = list(&[
            Connection(STRANGER, 0),
            Connection(STRANGER, 1),
            Connection(KUBELET, 2),
            Connection(STRANGER, 3),
            Connection(KUBELET, 4),
        ]);
        let taken = list.take(|connection| connection.0 == STRANGER && connection.1 > 0);
        assert_eq!(taken, [Connection(STRANGER, 1), Connection(STRANGER, 3)]);
        assert_eq!(list.pop_oldest_if(|oldest| oldest.1 > 0), None);
        assert_eq!(list.give_way(), Some(Connection(KUBELET, 2)));
        assert_eq!(
            list.pop_oldest_if(|oldest| oldest.1 == 0),
            Some(Connection(STRANGER, 0))
        );
        assert_eq!(list.len(), 1);
        assert_eq!(list.iter().next(), Some(&Connection(KUBELET, 4)));
    }
}
