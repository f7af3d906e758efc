//! The smallest memory limit in which a sidecar does its work, found by trying.
//!
//! The kernel charges the group for the process' anonymous memory, its sockets, the kernel's own
//! records, and the pages of its file that it has read. It charges in portions of up to 256 KiB
//! for each processor, so an attempt near the limit may succeed or fail. A container's group also
//! has the processes of the runtime.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::Result;
use crate::cgroup::Cgroup;
use crate::sidecar::{Binary, Sidecar};
use crate::work::{PATIENCE, PROBES};

/// A limit is a multiple of this, in KiB.
const STEP: u64 = 128;

/// The largest limit, in steps: 64 MiB, which are enough for any sidecar.
const MOST: u64 = 512;

/// An attempt may take so many times as long as one with enough memory, and at least
/// `AT_LEAST`. With a little less than it needs, a process goes on but reads its own file again
/// and again.
const TIMES: u32 = 20;
const AT_LEAST: Duration = Duration::from_secs(10);

/// Where the copies of the program are.
const DIRECTORY: &str = "target/bench";

/// Why the limit cannot be measured here, if that is so.
pub fn impossible() -> Option<String> {
    if let Err(error) = Cgroup::limited(MOST * STEP * 1024) {
        return Some(format!("no memory cgroup can be made here: {error}"));
    }
    if let Err(error) = std::fs::create_dir_all(DIRECTORY) {
        return Some(format!("cannot make {DIRECTORY}: {error}"));
    }
    match statfs(DIRECTORY) {
        // The pages of its files are charged to the process that wrote them, and cannot be
        // dropped.
        Ok(system) if system.filesystem_type() == TMPFS_MAGIC => {
            Some(format!("{DIRECTORY} is on a tmpfs"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("cannot look at {DIRECTORY}: {error}")),
    }
}

/// A search that goes on from run to run.
pub struct Search<'a> {
    binary: &'a Binary,
    socket: &'a Path,
    patience: Duration,
    /// The smallest limit so far, in steps.
    found: u64,
}

impl Search<'_> {
    /// Searches for the smallest limit by bisection.
    pub fn begin<'a>(binary: &'a Binary, socket: &'a Path) -> Result<Search<'a>> {
        let mut search = Search {
            binary,
            socket,
            patience: PATIENCE,
            found: MOST,
        };
        let began = Instant::now();
        search
            .fits(MOST)?
            .map_err(|reason| format!("{} KiB are not enough: {reason}", MOST * STEP))?;
        search.patience = (began.elapsed() * TIMES).max(AT_LEAST);
        let mut too_small = 0;
        while search.found - too_small > 1 {
            let middle = u64::midpoint(too_small, search.found);
            match search.fits(middle)? {
                Ok(()) => search.found = middle,
                Err(_) => too_small = middle,
            }
        }
        Ok(search)
    }

    /// Searches again, step by step from the limit that was found.
    pub fn again(&mut self) -> Result<()> {
        if self.fits(self.found)?.is_ok() {
            while self.found > 1 && self.fits(self.found - 1)?.is_ok() {
                self.found -= 1;
            }
            return Ok(());
        }
        loop {
            self.found += 1;
            match self.fits(self.found)? {
                Ok(()) => return Ok(()),
                Err(reason) if self.found >= MOST => return Err(reason),
                Err(_) => {}
            }
        }
    }

    /// The smallest limit, in KiB.
    pub fn found(&self) -> u64 {
        self.found * STEP
    }

    /// Tries whether the sidecar does its work within so many steps, and says why not. The outer
    /// error says why that cannot be tried.
    fn fits(&self, steps: u64) -> Result<Result<()>> {
        let group = Cgroup::limited(steps * STEP * 1024)
            .map_err(|error| format!("no memory cgroup can be made any more: {error}"))?;
        let program = unread_copy(&self.binary.path)?;
        let tried = self.try_in(&group, &program);
        let _ = std::fs::remove_file(&program);
        Ok(tried)
    }

    fn try_in(&self, group: &Cgroup, program: &Path) -> Result<()> {
        let until = Instant::now() + self.patience;
        let command = group.command(program);
        let (mut sidecar, _) =
            Sidecar::start(&self.binary.name, command, self.socket, self.patience)?;
        for count in 0..PROBES {
            sidecar.healthz()?;
            if Instant::now() > until {
                return Err(format!("{count} probes took more than {:?}", self.patience));
            }
        }
        if sidecar.is_running() {
            return Ok(());
        }
        Err(sidecar.describe("it has answered all probes and ended"))
    }
}

/// Copies the program, and drops the copy from the page cache: pages that are there already are
/// charged to another group.
fn unread_copy(program: &Path) -> Result<PathBuf> {
    let copy = Path::new(DIRECTORY).join(format!("limited-{}", std::process::id()));
    std::fs::copy(program, &copy)
        .and_then(|_| {
            let file = File::open(&copy)?;
            // Pages that are not on the disk yet cannot be dropped.
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
            Ok(())
        })
        .and_then(|()| std::path::absolute(&copy))
        .map_err(|error| format!("cannot make {}: {error}", copy.display()))
}
