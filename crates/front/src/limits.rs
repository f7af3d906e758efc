//! Every bound of the front, and the threads and memory that they allow.
//!
//! | part | threads | bytes at most |
//! |---|---|---|
//! | the event loop | 1 | its stack, 128 KiB |
//! | connections that have sent nothing | - | 128 and the free places of requests x about 0.1 KiB = 64 KiB |
//! | heads that are begun | - | 16 x 16 KiB (a Vec doubles) = 256 KiB |
//! | requests | - | 512 x about 0.2 KiB = 100 KiB |
//! | tiny_http's pool: one thread for each stream, but four in the first seconds | 2 | their stacks, of which some 20 KiB each are touched |
//! | workers: one for each exchange that is in flight, and one that waits for the next | 2 + 1 | likewise |
//! | answers that are not written yet | - | 8 x the longest, the metrics: usually tens of KiB, at most 1 MiB |
//!
//! Each group of requests beyond the second has up to two threads more: its stream's and its
//! worker's.

use std::time::Duration;

use program::descriptors;

/// Connections that have sent nothing yet, beyond those that may use the free places of requests.
/// They cost a descriptor each and next to no memory. Usually the kernel has kept them for a second
/// already (`SILENT_SECONDS` in listen.rs).
pub const SILENT: usize = 128;
/// Connections that have sent a part of a head. kubelet's request is short and comes whole, so few
/// are enough.
pub const HEADS: usize = 16;
/// The longest head, request line included: Apache's and nginx' usual bound.
pub const HEAD_BYTES: usize = 8 * 1024;
/// The time for a head, from accept to its last byte.
pub const HEAD_TIME: Duration = Duration::from_secs(2);

/// Complete requests that wait for their answer. All requests of a group share the work of a
/// worker, so that many of them are no more work than few.
pub const REQUESTS: usize = 512;
/// How long new connections are left in the kernel's queue when there is no room for their
/// requests, before they are refused: most often there is room again by then.
pub const FULL_TIME: Duration = Duration::from_millis(100);

/// How many seconds, counted one by one, a worker may be overdue before the process ends.
pub const OVERDUE_TICKS: u32 = 15;

/// Clients that have not read all of their answer yet.
pub const WRITERS: usize = 8;
/// The time that a client has to read its answer.
pub const WRITE_TIME: Duration = Duration::from_secs(2);

/// Connections that are answered and still send. If they were closed at once, the kernel's RST
/// could overtake the answer.
pub const LINGERERS: usize = 8;
/// The time that such a connection stays open.
pub const LINGER_TIME: Duration = Duration::from_millis(500);
/// The bytes that are read from it meanwhile.
pub const LINGER_BYTES: usize = 64 * 1024;

/// Connections accepted in one round.
pub const ACCEPT_BATCH: usize = 32;
/// How long nothing is accepted when descriptors or memory have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bounds that depend on RLIMIT_NOFILE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that have sent nothing.
    pub silent: usize,
    /// Connections that have sent a part of a head.
    pub heads: usize,
    /// Complete requests.
    pub requests: usize,
    /// Clients that have not read all of their answer yet.
    pub writers: usize,
    /// Connections that are answered and still send.
    pub lingerers: usize,
}

impl Limits {
    /// The bounds for this process, which has opened all that it needs but for `reserved`
    /// descriptors.
    #[must_use]
    pub fn of_this_process(reserved: usize) -> Limits {
        let taken = descriptors::open() + reserved;
        let descriptors = descriptors::limit().saturating_sub(taken);
        Limits::within(descriptors)
    }

    /// One of so many shares of the places for requests.
    #[must_use]
    pub fn share(&self, shares: usize) -> usize {
        (self.requests / shares.max(1)).max(1)
    }

    /// The bounds that so many descriptors allow. Most of them are for requests.
    fn within(descriptors: usize) -> Limits {
        let lingerers = LINGERERS.min(descriptors / 8).max(1);
        let writers = WRITERS.min(descriptors / 8).max(1);
        let heads = HEADS.min(descriptors / 8).max(1);
        let silent = SILENT.min(descriptors / 4).max(1);
        let rest = descriptors.saturating_sub(lingerers + writers + heads + silent);
        let requests = REQUESTS.min(rest).max(1);
        Limits {
            silent,
            heads,
            requests,
            writers,
            lingerers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_limit_allows_the_full_bounds() {
        let all = Limits {
            silent: SILENT,
            heads: HEADS,
            requests: REQUESTS,
            writers: WRITERS,
            lingerers: LINGERERS,
        };
        assert_eq!(Limits::within(1024 - 40), all);
        assert_eq!(Limits::within(usize::MAX), all);
    }

    #[test]
    fn a_low_limit_is_divided_and_never_exceeded() {
        for descriptors in 0..300 {
            let limits = Limits::within(descriptors);
            let closing = limits.writers + limits.lingerers;
            let sum = limits.silent + limits.heads + limits.requests + closing;
            assert!(sum <= descriptors.max(5), "{descriptors}: {limits:?}");
        }
    }

    #[test]
    fn each_group_has_its_share() {
        assert_eq!(Limits::within(1024).share(4), REQUESTS / 4);
        assert_eq!(Limits::within(0).share(66), 1);
    }
}
