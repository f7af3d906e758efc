//! A control group for one test, of cgroups 1 or 2, so that the kernel itself enforces a
//! limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::machine::skipped;
use crate::wait::eventually;

const ROOT: &str = "/sys/fs/cgroup";

/// What the processes of a group may use.
#[derive(Clone, Copy)]
pub enum Limit {
    /// This many microseconds of processor time in each tenth of a second.
    Processor(u32),
    /// This many bytes of memory, and no swap.
    Memory(u64),
}

/// A control group, removed when it is dropped. No process may be left in it then.
pub struct Cgroup {
    path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// Makes a group with this limit. `None` means that the machine does not allow that.
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
            .inspect_err(|error| skipped(&format!("this machine allows no control group: {error}")))
            .ok()
    }

    fn make(controller: &str) -> io::Result<Cgroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = PathBuf::from(ROOT);
        let is_v2 = root.join("cgroup.controllers").exists();
        if is_v2 {
            // It may be enabled already, and enabling it again changes nothing.
            fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{controller}"),
            )?;
        }
        let above = if is_v2 { root } else { root.join(controller) };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("csi-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Cgroup { path, is_v2 })
    }

    /// Returns a command line that begins with a program. The shell before it joins the group,
    /// so that the program is in it from its start.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.path.join("cgroup.procs"))
            .arg(program);
        command
    }

    /// Returns the number after a name in a file of the group, such as `nr_throttled` in
    /// `cpu.stat`.
    pub fn number(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let number = text.lines().find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == name).then(|| value.parse().unwrap())
        });
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Returns how many of its processes the kernel has killed for lack of memory.
    pub fn killed(&self) -> u64 {
        let file = if self.is_v2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.number(file, "oom_kill")
    }

    /// Returns the most bytes that it used at any time.
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
            // This limit is that of memory and swap together.
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
            // The kernel takes a moment to notice that it is empty.
            eventually("an empty control group", || {
                fs::remove_dir(&self.path).is_ok()
            });
        }
    }
}
