//! Every bound of the door, and what they come to.
//!
//! | what | threads | bytes at most |
//! |---|---|---|
//! | the door itself | 1 | its stack, 128 KiB |
//! | connections that have sent nothing | - | 128 and the free places of requests x about 0.1 KiB = 64 KiB |
//! | heads that are begun | - | 16 x 16 KiB (a Vec doubles) = 256 KiB |
//! | requests waiting | - | 512 x about 0.2 KiB = 100 KiB |
//! | tiny_http: its pool, of which each stream takes a thread | 4 | their stacks, of which some 20 KiB each are touched |
//! | workers: one for each exchange that is in flight, and one that waits for the next | 2 + 1 | likewise |
//! | answers on their way out | - | 8 x the longest, the metrics: tens of KiB |
//!
//! Each group of requests beyond the second has up to two threads more: its stream's and its
//! worker's.

use std::time::Duration;

use program::descriptors;

/// Connections that have sent nothing yet and take no place of a request's. They cost
/// a descriptor each and next to no memory. Usually they have had a second already, in
/// the kernel (`SILENT_SECONDS` in socket.rs).
pub const SILENT: usize = 128;
/// Connections that have sent a part of a head. A request as short as kubelet's
/// comes whole, so these give way at once.
pub const HEADS: usize = 16;
/// The longest head, request line included: Apache's and nginx' usual bound.
pub const HEAD_BYTES: usize = 8 * 1024;
/// What a head may take, from accept to its last byte.
pub const HEAD_TIME: Duration = Duration::from_secs(2);

/// Complete requests that wait or are under way. All who ask for the driver's
/// health share its Probes, so many are no more work than few.
pub const REQUESTS: usize = 512;
/// How long newcomers are left in the kernel's queue when there is no room for
/// their requests, before they are turned away: most often there is room again.
pub const FULL_TIME: Duration = Duration::from_millis(100);

/// How many seconds, counted one by one, a worker may be overdue before the
/// HTTP side is given up.
pub const OVERDUE_TICKS: u32 = 15;

/// Clients that have not taken all of their answer yet, and their time.
pub const WRITERS: usize = 8;
pub const WRITE_TIME: Duration = Duration::from_secs(2);

/// Connections that are answered and still send: closed at once, the kernel's
/// RST could overtake the answer.
pub const LINGERERS: usize = 8;
pub const LINGER_TIME: Duration = Duration::from_millis(500);
pub const LINGER_BYTES: usize = 64 * 1024;

/// Connections accepted before the others get their turn.
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
    /// Of those, the requests of one group: a crowd before a driver that hangs does not take the
    /// places of the others.
    pub requests_of_a_group: usize,
    /// Clients taking their answer.
    pub writers: usize,
    /// Connections being closed.
    pub lingerers: usize,
}

impl Limits {
    /// The bounds for this process, once all is open that it needs but for `reserved`
    /// descriptors, with places for requests in so many shares.
    #[must_use]
    pub fn of_this_process(reserved: usize, shares: usize) -> Limits {
        let taken = descriptors::open() + reserved;
        let descriptors = descriptors::limit().saturating_sub(taken);
        Limits::within(descriptors, shares)
    }

    /// The bounds that so many descriptors allow: requests come first, the rest gets a share.
    fn within(descriptors: usize, shares: usize) -> Limits {
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
            requests_of_a_group: (requests / shares.max(1)).max(1),
            writers,
            lingerers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_limit_gives_all_that_is_wanted() {
        let all = Limits {
            silent: SILENT,
            heads: HEADS,
            requests: REQUESTS,
            requests_of_a_group: REQUESTS,
            writers: WRITERS,
            lingerers: LINGERERS,
        };
        assert_eq!(Limits::within(1024 - 40, 1), all);
        assert_eq!(Limits::within(usize::MAX, 1), all);
    }

    #[test]
    fn a_low_limit_is_shared_out_and_never_exceeded() {
        for descriptors in 0..300 {
            let limits = Limits::within(descriptors, 1);
            let closing = limits.writers + limits.lingerers;
            let sum = limits.silent + limits.heads + limits.requests + closing;
            assert!(sum <= descriptors.max(5), "{descriptors}: {limits:?}");
        }
    }

    #[test]
    fn each_group_has_its_share() {
        assert_eq!(Limits::within(1024, 4).requests_of_a_group, REQUESTS / 4);
        assert_eq!(Limits::within(0, 66).requests_of_a_group, 1);
    }
}
