//! A program that runs and serves HTTP: what it answers, and what the kernel knows of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::thread::JoinHandle;

use crate::http::{self, Response};
use crate::process::Process;

/// A running sidecar, killed when it is dropped.
pub struct Sidecar {
    /// The process that the command line started.
    pub process: Process,
    /// The address at which it serves HTTP.
    pub address: SocketAddr,
    /// The process id of the sidecar. It is not that of `process` if that is only what the
    /// sidecar runs under.
    pub pid: i32,
}

impl Sidecar {
    /// Runs a command line that ends in a sidecar, and waits until that listens.
    pub fn run(command: &mut Command) -> Sidecar {
        // The binary that ships has one heap. glibc's malloc would have one for each thread,
        // and they would look like memory that the sidecar has leaked.
        command.env("MALLOC_ARENA_MAX", "1");
        let process = Process::start(command);
        let line = process.err.wait_for(0, "Listening");
        Sidecar {
            address: address_in(&line),
            pid: process.pid(),
            process,
        }
    }

    /// Sends a GET request and waits for the response.
    pub fn get(&self, path: &str) -> Response {
        http::get(self.address, path)
    }

    /// Sends `GET /healthz` and waits for the response.
    pub fn healthz(&self) -> Response {
        self.get("/healthz")
    }

    /// Sends a GET request from another thread, which returns the response.
    pub fn spawn_get(&self, path: &str) -> JoinHandle<Response> {
        let (address, path) = (self.address, path.to_owned());
        std::thread::spawn(move || http::get(address, &path))
    }

    /// Returns the ids of its threads with this name.
    pub fn threads_named(&self, name: &str) -> Vec<i32> {
        let threads = self.ids_and_names();
        let named = threads.filter(|(_, comm)| comm == name);
        named.map(|(id, _)| id).collect()
    }

    /// Returns how many threads it has of each name.
    pub fn threads(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, name) in self.ids_and_names() {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    fn ids_and_names(&self) -> impl Iterator<Item = (i32, String)> {
        let tasks = format!("/proc/{}/task", self.pid);
        let tasks = std::fs::read_dir(tasks).expect("the sidecar is alive");
        // A thread may end while its entry is read.
        tasks.flatten().filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            Some((id, name.trim_end().to_owned()))
        })
    }

    /// Returns a number from the status of the process: `VmRSS` in KiB, `Threads`.
    pub fn status(&self, field: &str) -> u64 {
        first_number(&self.status_words(field))
    }

    /// Returns the whole text of a field of the status of the process.
    pub fn status_words(&self, field: &str) -> String {
        self.proc_words("status", field)
    }

    /// Returns the resident memory in KiB: all of it (`Rss`), or a part such as `Anonymous`.
    /// The kernel counts it page by page; the numbers of `status` may lag behind by some
    /// pages for each thread or processor (proc_pid_status(5)).
    pub fn pages(&self, field: &str) -> u64 {
        first_number(&self.proc_words("smaps_rollup", field))
    }

    fn proc_words(&self, file: &str, field: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid);
        let text = std::fs::read_to_string(path).expect("the sidecar is alive");
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no {field} in {text}"))
            .trim()
            .to_owned()
    }

    /// Returns how many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid);
        std::fs::read_dir(path)
            .expect("the sidecar is alive")
            .count()
    }

    /// Returns the whole of stderr so far.
    pub fn log(&self) -> String {
        self.process.err.all().join("\n")
    }
}

fn first_number(words: &str) -> u64 {
    let number = words.split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number in {words:?}"))
}

/// Returns the address in a log line "Listening", in klog's form or in JSON.
pub fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line
        .split_once("address\":\"")
        .or_else(|| line.split_once("address=\""))
        .unwrap_or_else(|| panic!("no address in {line:?}"));
    rest.split('"').next().unwrap().parse().unwrap()
}
