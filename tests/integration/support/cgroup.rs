//! A control group of a test's own, of cgroups 1 or 2: limits that are the kernel's
//! and not an imitation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{eventually, skipped};

const ROOT: &str = "/sys/fs/cgroup";

/// What a group may use.
#[derive(Clone, Copy)]
pub enum Limit {
    /// So many microseconds of each tenth of a second.
    Processor(u32),
    /// So many bytes, and no swap.
    Memory(u64),
}

/// A group, removed with its owner; that is the last of what is in it.
pub struct Cgroup {
    path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// A group with this limit. `None` where the machine lets nobody make one: the
    /// test is then skipped, but never in CI.
    pub fn limited(limit: Limit) -> Option<Cgroup> {
        let made = Cgroup::make(limit.controller());
        let limited = made.and_then(|group| {
            for (file, value) in limit.settings(group.is_v2) {
                fs::write(group.path.join(file), value)?;
            }
            // Not every kernel counts swap.
            if let Some((file, value)) = limit.without_swap(group.is_v2) {
                let _ = fs::write(group.path.join(file), value);
            }
            Ok(group)
        });
        limited
            .inspect_err(|error| skipped(&format!("no control group to be had: {error}")))
            .ok()
    }

    fn make(controller: &str) -> io::Result<Cgroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = PathBuf::from(ROOT);
        let is_v2 = root.join("cgroup.controllers").exists();
        if is_v2 {
            // Written again where it is so already, which changes nothing.
            fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{controller}"),
            )?;
        }
        let above = if is_v2 { root } else { root.join(controller) };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("lp-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Cgroup { path, is_v2 })
    }

    /// A command line that begins with a program, all of whose life is in the group.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.path.join("cgroup.procs"))
            .arg(program);
        command
    }

    /// The number behind a name in a file of the kernel's: `nr_throttled` in
    /// `cpu.stat`.
    pub fn counts(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let number = text.lines().find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == name).then(|| value.parse().unwrap())
        });
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// How many of its processes the kernel has killed for want of memory.
    pub fn killed(&self) -> u64 {
        let file = if self.is_v2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.counts(file, "oom_kill")
    }

    /// The most bytes that it had at any moment.
    pub fn most_memory(&self) -> u64 {
        let file = if self.is_v2 {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        text.trim_end().parse().unwrap()
    }
}

impl Limit {
    fn controller(self) -> &'static str {
        match self {
            Limit::Processor(_) => "cpu",
            Limit::Memory(_) => "memory",
        }
    }

    fn settings(self, is_v2: bool) -> Vec<(&'static str, String)> {
        const PERIOD: u32 = 100_000;
        match (self, is_v2) {
            (Limit::Processor(quota), true) => vec![("cpu.max", format!("{quota} {PERIOD}"))],
            (Limit::Processor(quota), false) => vec![
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            (Limit::Memory(bytes), true) => vec![("memory.max", bytes.to_string())],
            (Limit::Memory(bytes), false) => vec![("memory.limit_in_bytes", bytes.to_string())],
        }
    }

    fn without_swap(self, is_v2: bool) -> Option<(&'static str, String)> {
        match (self, is_v2) {
            (Limit::Processor(_), _) => None,
            (Limit::Memory(_), true) => Some(("memory.swap.max", "0".to_owned())),
            // Of both together.
            (Limit::Memory(bytes), false) => {
                Some(("memory.memsw.limit_in_bytes", bytes.to_string()))
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = fs::remove_dir(&self.path);
        } else {
            // The kernel takes a moment to see that it is empty.
            eventually("an empty control group", || {
                fs::remove_dir(&self.path).is_ok()
            });
        }
    }
}
