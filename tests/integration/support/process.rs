//! A child process whose output lines are collected as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::sys::send_signal;

/// The lines of one stream so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(stream: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let collected = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                collected.lock().push(line);
                collected.0.1.notify_all();
            }
        });
        lines
    }

    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Waits for the first line at or behind `from` that contains `words`.
    pub fn wait_for(&self, from: usize, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| line.contains(words)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Not with the lock held: its owner prints the lines, too.
                drop(lines);
                let lines = self.all();
                panic!("no line with {words:?} in {lines:#?}");
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn count(&self, words: &str) -> usize {
        self.all()
            .iter()
            .filter(|line| line.contains(words))
            .count()
    }

    /// Waits until `words` were in at least `count` lines.
    pub fn wait_for_count(&self, words: &str, count: usize) {
        super::eventually(&format!("{count} lines with {words:?}"), || {
            self.count(words) >= count
        });
    }
}

/// How many of its last lines are told when a test has failed.
const TOLD: usize = 200;

/// A child, killed with its owner.
pub struct Process {
    child: Child,
    name: String,
    pub out: Lines,
    pub err: Lines,
}

impl Process {
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

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// Stops all of its threads, and comes back when they have stopped: kill(2) returns
    /// before that, and on a busy machine a thread may give an answer meanwhile.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        super::eventually("a process that has stopped", || {
            let tasks = std::fs::read_dir(&tasks).expect("the process is alive");
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
            })
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_at_most(PATIENCE)
    }

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
                let untold = lines.len().saturating_sub(TOLD);
                if untold > 0 {
                    eprintln!("({untold} lines before these)");
                }
                for line in &lines[untold..] {
                    eprintln!("{line}");
                }
            }
        }
    }
}
