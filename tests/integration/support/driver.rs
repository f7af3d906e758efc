//! The driver: a real gRPC server in a process of its own. The example is one on
//! C-core; `make interop` has the same on other libraries.

use std::process::Command;
use std::sync::LazyLock;

use super::process::Process;

pub struct Driver {
    pub process: Process,
}

impl Driver {
    /// Starts it and waits until it listens.
    pub fn start(address: &str, flags: &[&str]) -> Driver {
        let process = Process::start(command().arg(format!("--address={address}")).args(flags));
        process.out.wait_for(0, "listening");
        Driver { process }
    }

    /// How many sockets it has open.
    pub fn sockets(&self) -> usize {
        let path = format!("/proc/{}/fd", self.process.pid());
        std::fs::read_dir(path)
            .expect("the driver is alive")
            .flatten()
            // A descriptor may be closed while it is looked at.
            .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Waits until so many Probe calls have begun, and checks that no more have.
    pub fn has_had_probes(&self, count: usize) {
        self.process.out.wait_for_count("probe begin", count);
        assert_eq!(self.process.out.count("probe begin"), count);
    }

    /// The most Probe calls that were under way at once.
    pub fn most_at_once(&self) -> usize {
        let (mut now, mut most) = (0usize, 0);
        for line in self.process.out.all() {
            match line.as_str() {
                "probe begin" => now += 1,
                "probe end" => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    }
}

/// A command line that begins with the driver: the example, which is built next to
/// the tests, or what `LIVENESSPROBE_DRIVER` names. That is a program and its first
/// arguments, with spaces between them; relative paths begin at the repository's
/// root.
fn command() -> Command {
    let Some(words) = other() else {
        let mut path = std::env::current_exe().expect("the path of this test");
        path.pop(); // deps
        path.pop();
        return Command::new(path.join("examples").join("csi_driver"));
    };
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a driver's name"));
    command.args(words);
    command
}

fn other() -> Option<String> {
    std::env::var("LIVENESSPROBE_DRIVER").ok()
}

/// What the driver is made with, for the few tests in which that matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Library {
    Core,
    Go,
    Node,
    Python,
    Tonic,
}

/// What the driver under test is made with: `--version` begins with its name.
pub fn library() -> Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
        if other().is_none() {
            return Library::Core;
        }
        let output = command().arg("--version").output().expect("a driver");
        let words = String::from_utf8_lossy(&output.stdout);
        match words.split(' ').next() {
            Some("grpc-go") => Library::Go,
            Some("grpc-js") => Library::Node,
            Some("grpcio") => Library::Python,
            Some("tonic") => Library::Tonic,
            _ => panic!("no library that the tests know: {output:?}"),
        }
    });
    *LIBRARY
}
