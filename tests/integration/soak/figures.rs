//! The memory, descriptors and threads of the sidecar at a certain time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use testkit::Sidecar;

use crate::support::threads::REQUEST;

/// Longer than the 5 s for which a spare thread of tiny_http waits for work before it ends,
/// which sends no event.
const QUIET: Duration = Duration::from_secs(8);

pub struct Figures {
    /// In KiB.
    pub resident: u64,
    /// The part of `resident` that is anonymous, in KiB.
    pub anonymous: u64,
    pub descriptors: usize,
    /// The number of threads of each name.
    pub threads: BTreeMap<String, usize>,
}

impl Figures {
    pub fn now(sidecar: &Sidecar) -> Figures {
        Figures {
            resident: sidecar.pages("Rss"),
            anonymous: sidecar.pages("Anonymous"),
            descriptors: sidecar.descriptors(),
            threads: sidecar.threads(),
        }
    }

    /// Measures when there are no more requests and all spare threads have ended.
    pub fn settled(sidecar: &Sidecar) -> Figures {
        std::thread::sleep(QUIET);
        Figures::now(sidecar)
    }

    /// Checks that these are the same as `before`, except for so much memory.
    pub fn equal(&self, before: &Figures, left_behind: u64) {
        assert_eq!(self.descriptors, before.descriptors, "descriptors");
        // Each server has one thread that waits for requests, and a second one after its first
        // request, which may come late (crates/front/src/workers.rs).
        let [(waited, others_before), (waiting, others)] = [before, self].map(Figures::waiting);
        assert_eq!(others, others_before, "threads");
        assert!(
            waiting <= 2 * waited,
            "{waited} wait for requests, then {waiting}"
        );
        let [before, after] = [before.resident, self.resident];
        assert!(
            after <= before + left_behind,
            "{before} KiB resident, then {after}"
        );
    }

    /// Returns how many threads wait for requests, and the other threads.
    fn waiting(&self) -> (usize, BTreeMap<String, usize>) {
        let mut others = self.threads.clone();
        (others.remove(REQUEST).unwrap_or_default(), others)
    }

    fn count_threads(&self) -> usize {
        self.threads.values().sum()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Figures {
            resident,
            anonymous,
            descriptors,
            ..
        } = self;
        write!(
            formatter,
            "{resident} KiB resident ({anonymous} anonymous), {descriptors} descriptors, \
             {} threads",
            self.count_threads()
        )
    }
}
