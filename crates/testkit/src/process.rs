//! A child process whose output is collected, and which ends with its owner.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::lines::Lines;
use crate::sys::send_signal;
use crate::wait::{PATIENCE, eventually};

/// How many of its last lines a process prints when its test has failed.
const SHOWN: usize = 200;

/// A child process, killed when it is dropped.
pub struct Process {
    child: Child,
    name: String,
    /// The lines of stdout.
    pub out: Lines,
    /// The lines of stderr.
    pub err: Lines,
}

impl Process {
    /// Starts this command.
    pub fn start(command: &mut Command) -> Process {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Process {
            out: Lines::collect(child.stdout.take().unwrap()),
            err: Lines::collect(child.stderr.take().unwrap()),
            child,
            name,
        }
    }

    /// Returns the process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends this signal to the process.
    pub fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// Stops all threads of the process and waits until they have stopped. kill(2) returns
    /// earlier, and on a busy machine a thread could still answer a request meanwhile.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        eventually("a process that has stopped", || {
            let tasks = std::fs::read_dir(&tasks).expect("the process is alive");
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
            })
        });
    }

    /// Lets a process go on that `freeze` has stopped.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Returns whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_at_most(PATIENCE)
    }

    /// Waits for the end of the process, which must come within this time.
    pub fn wait_at_most(&mut self, time: Duration) -> ExitStatus {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "{} does not end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the process and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}", self.name);
            for (stream, lines) in [("stdout", &self.out), ("stderr", &self.err)] {
                eprintln!("--- {stream}");
                let lines = lines.all();
                let left_out = lines.len().saturating_sub(SHOWN);
                if left_out > 0 {
                    eprintln!("({left_out} lines before these)");
                }
                for line in &lines[left_out..] {
                    eprintln!("{line}");
                }
            }
        }
    }
}
