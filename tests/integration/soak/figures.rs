//! What the sidecar takes at a moment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::support::Sidecar;

/// Longer than a spare thread waits for work before it ends, which sends no event: one
/// of tiny_http's 5 s, one of C-core's event engine 30 s.
const QUIET: Duration = Duration::from_secs(35);

/// C-core's executor has one thread and starts a second, the last one for a machine of
/// one processor (src/probe/parts.rs), when three things wait for the first: once in a
/// hundred thousand probes or so, and it stays.
const SPARE: usize = 1;

pub struct Figures {
    /// KiB.
    pub resident: u64,
    /// KiB, of that.
    pub anonymous: u64,
    pub descriptors: usize,
    /// How many there are of each name.
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

    /// Once nobody asks any more, and all that was spare has ended.
    pub fn settled(sidecar: &Sidecar) -> Figures {
        std::thread::sleep(QUIET);
        Figures::now(sidecar)
    }

    /// Whether these are the same as `before`, but for so much memory.
    pub fn equal(&self, before: &Figures, left_behind: u64) {
        assert_eq!(self.descriptors, before.descriptors, "descriptors");
        let started = self.count_threads().checked_sub(before.count_threads());
        assert!(
            started.is_some_and(|started| started <= SPARE),
            "threads: {:?}, then {:?}",
            before.threads,
            self.threads
        );
        let [before, after] = [before.resident, self.resident];
        assert!(
            after <= before + left_behind,
            "{before} KiB resident, then {after}"
        );
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
