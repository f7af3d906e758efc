//! The product's binary, started with flags and asked over TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::LazyLock;

use super::http::{self, Response};
use super::process::Process;
use super::sys::is_root;
use super::{Dir, eventually};

/// The variable that names the binary that ships, when that is under test.
const SHIPPED: &str = "LIVENESSPROBE_BINARY";

/// The binary under test: the one that Cargo built along with the tests, or the
/// one that ships.
pub fn binary() -> &'static str {
    static BINARY: LazyLock<String> = LazyLock::new(|| {
        std::env::var(SHIPPED).unwrap_or_else(|_| env!("CARGO_BIN_EXE_livenessprobe").to_owned())
    });
    &BINARY
}

/// Whether it is the one that ships, with musl for its C library.
pub fn is_shipped() -> bool {
    std::env::var_os(SHIPPED).is_some()
}

/// The emulator, where it is for another processor.
pub fn runner() -> Option<String> {
    std::env::var("LIVENESSPROBE_RUNNER").ok()
}

/// A command line that begins with it.
pub fn command() -> Command {
    let Some(runner) = runner() else {
        return Command::new(binary());
    };
    let mut command = Command::new(runner);
    command.arg(binary());
    command
}

/// Such a command line that probes this address and serves on a port that the kernel
/// chooses.
pub fn serving(csi_address: &str) -> Command {
    let mut command = command();
    command
        .arg(format!("--csi-address={csi_address}"))
        .arg("--http-endpoint=127.0.0.1:0");
    command
}

pub struct Sidecar {
    pub process: Process,
    pub address: SocketAddr,
    /// Of the sidecar itself, where `process` is what it runs under.
    pub pid: i32,
}

impl Sidecar {
    /// Starts it on a port that the kernel chooses, probing this address.
    pub fn start(csi_address: &str, flags: &[&str]) -> Sidecar {
        Sidecar::run(serving(csi_address).args(flags))
    }

    /// Starts it as somebody who may not connect to the socket in this directory.
    pub fn start_without_permission(dir: &Dir) -> Sidecar {
        // Where this test's directory is, another user may not be let in.
        let binary = dir.path().join("livenessprobe");
        std::fs::copy(self::binary(), &binary).unwrap();
        let mut command = Command::new(&binary);
        command
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0");
        // connect(2) needs write permission; root has it always, so root's test
        // runs the sidecar as somebody else.
        let mode = if is_root() {
            command.uid(65534).gid(65534);
            0o755
        } else {
            0o000
        };
        std::fs::set_permissions(dir.socket(), PermissionsExt::from_mode(mode)).unwrap();
        Sidecar::run(&mut command)
    }

    /// Runs a command line that ends in a sidecar, and waits until it listens.
    pub fn run(command: &mut Command) -> Sidecar {
        // What ships has one heap. glibc's malloc would have one for each thread, and a
        // siege would look as if it left those behind.
        command.env("MALLOC_ARENA_MAX", "1");
        let process = Process::start(command);
        let line = process.err.wait_for(0, "Listening");
        Sidecar {
            address: address_in(&line),
            pid: process.pid(),
            process,
        }
    }

    pub fn get(&self, path: &str) -> Response {
        http::get(self.address, path)
    }

    pub fn healthz(&self) -> Response {
        self.get("/healthz")
    }

    /// Asks from a thread of its own.
    pub fn ask(&self, path: &str) -> std::thread::JoinHandle<Response> {
        let (address, path) = (self.address, path.to_owned());
        std::thread::spawn(move || http::get(address, &path))
    }

    /// The ids of its threads that have this name.
    pub fn threads_named(&self, name: &str) -> Vec<i32> {
        let threads = self.ids_and_names();
        let named = threads.filter(|(_, comm)| comm == name);
        named.map(|(id, _)| id).collect()
    }

    /// How many threads wait for requests when there are none yet.
    pub fn requests_at_rest(&self) -> usize {
        // It is opened when all of them are there.
        eventually("a front", || self.threads_named("front").len() == 1);
        self.threads_named("request").len()
    }

    /// How many threads it has of each name.
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
        // A thread may end while it is looked at.
        tasks.flatten().filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            Some((id, name.trim_end().to_owned()))
        })
    }

    /// A number that the kernel says of the process: `VmRSS` in KiB, `Threads`.
    pub fn status(&self, field: &str) -> u64 {
        first_number(&self.status_words(field))
    }

    /// All that the kernel says in this field of the process's status.
    pub fn status_words(&self, field: &str) -> String {
        self.proc_words("status", field)
    }

    /// What is resident, in KiB: all (`Rss`), or a part such as `Anonymous`. Counted
    /// page by page; what `status` says may lag behind by some pages for each thread
    /// or processor (proc_pid_status(5)).
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

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid);
        std::fs::read_dir(path)
            .expect("the sidecar is alive")
            .count()
    }

    /// The whole of stderr so far.
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

/// The address in a "Listening" line of either form.
pub fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line
        .split_once("address\":\"")
        .or_else(|| line.split_once("address=\""))
        .unwrap_or_else(|| panic!("no address in {line:?}"));
    rest.split('"').next().unwrap().parse().unwrap()
}
