//! The smallest memory limit in which a sidecar does its work, found by trying.
//!
//! The kernel charges to the group what the process has of anonymous memory, sockets
//! and the kernel's own records, and the pages of its file that it has read in. It
//! charges in portions of up to 256 KiB for each processor, so a try near the limit
//! may go either way. A container has the runtime's processes in its group besides.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::Result;
use crate::cgroup::Cgroup;
use crate::sidecar::{Binary, Sidecar};
use crate::work::{PATIENCE, PROBES};

/// KiB; a limit is a multiple of it.
const STEP: u64 = 128;

/// In steps: 64 MiB, in which any sidecar must do.
const MOST: u64 = 512;

/// A try may take so many times what it takes with memory enough, and this at least.
/// Just below what it needs a process lives and reads its own file again and again.
const TIMES: u32 = 20;
const AT_LEAST: Duration = Duration::from_secs(10);

/// Where the copies are: beside everything else that is built.
const DIRECTORY: &str = "target/bench";

/// Why nobody can try it here, if so.
pub fn impossible() -> Option<String> {
    if let Err(error) = Cgroup::limited(MOST * STEP * 1024) {
        return Some(format!("no memory cgroup can be made here: {error}"));
    }
    if let Err(error) = std::fs::create_dir_all(DIRECTORY) {
        return Some(format!("cannot make {DIRECTORY}: {error}"));
    }
    match statfs(DIRECTORY) {
        // Its pages are charged to whoever wrote them, and cannot be dropped.
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
    /// What was found last, in steps.
    found: u64,
}

impl Search<'_> {
    /// Looks for the smallest limit by halving.
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

    /// Looks for it again, step by step from where it was.
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

    /// Whether it does its work in so many steps, or why not; an error where that cannot
    /// be tried.
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
        Err(sidecar.told("it has answered all probes and ended"))
    }
}

/// A copy of the program of which nothing is in memory: pages that are there already
/// were charged to somebody else.
fn unread_copy(program: &Path) -> Result<PathBuf> {
    let copy = Path::new(DIRECTORY).join(format!("limited-{}", std::process::id()));
    std::fs::copy(program, &copy)
        .and_then(|_| {
            let file = File::open(&copy)?;
            // What is not on the disk yet cannot be dropped.
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
            Ok(())
        })
        .and_then(|()| std::path::absolute(&copy))
        .map_err(|error| format!("cannot make {}: {error}", copy.display()))
}
