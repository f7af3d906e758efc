//! A memory cgroup for a process that is measured, of version 1 or 2.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// A group, which is removed when this is dropped. All its processes must have ended by then.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates a group that may have so many bytes of memory, and no swap.
    pub fn limited(bytes: u64) -> io::Result<Cgroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = PathBuf::from(ROOT);
        let is_v2 = root.join("cgroup.controllers").exists();
        let above = if is_v2 {
            // Where it is written already, this changes nothing.
            std::fs::write(root.join("cgroup.subtree_control"), "+memory")?;
            root
        } else {
            root.join("memory")
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = above.join(format!("lp-bench-{}-{number}", Pid::this()));
        std::fs::create_dir(&directory)?;
        let group = Cgroup(directory);
        let (limit, swap, value) = if is_v2 {
            ("memory.max", "memory.swap.max", "0".to_owned())
        } else {
            // The limit of memory and swap together.
            (
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                bytes.to_string(),
            )
        };
        std::fs::write(group.0.join(limit), bytes.to_string())?;
        // Not every kernel counts swap.
        let _ = std::fs::write(group.0.join(swap), value);
        Ok(group)
    }

    /// Gives a command line that begins with `program`. The shell enters the group and then
    /// executes the program, so that the group counts all of its memory.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.0.join("cgroup.procs"))
            .arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to notice that it is empty.
        let until = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
