//! The CSI driver: a real gRPC server in a process of its own. The example driver is one
//! on C-core; `make interop` has the same on other libraries.

use std::process::Command;
use std::sync::LazyLock;

use crate::process::Process;

/// A running driver, killed when it is dropped.
pub struct Driver {
    /// The driver's process, which writes a line to stdout for each event.
    pub process: Process,
}

impl Driver {
    /// Starts a driver at this address and waits until it listens.
    pub fn start(address: &str, flags: &[&str]) -> Driver {
        let process = Process::start(command().arg(format!("--address={address}")).args(flags));
        process.out.wait_for(0, "listening");
        Driver { process }
    }

    /// Returns how many sockets it has open.
    pub fn sockets(&self) -> usize {
        let path = format!("/proc/{}/fd", self.process.pid());
        std::fs::read_dir(path)
            .expect("the driver is alive")
            .flatten()
            // A descriptor may be closed while its entry is read.
            .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Waits until so many Probe calls have begun, and checks that no more have.
    pub fn has_had_probes(&self, count: usize) {
        self.process.out.wait_for_count("probe begin", count);
        assert_eq!(self.process.out.count("probe begin"), count);
    }

    /// Returns how many Probe calls were in flight at most.
    pub fn most_in_flight(&self) -> usize {
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

/// Returns a command line that begins with the driver: the example, which Cargo builds next
/// to the tests, or the command in `CSI_DRIVER`. That is a program and its first arguments,
/// with spaces between them; relative paths begin at the directory of the tests' package.
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
    std::env::var("CSI_DRIVER").ok()
}

/// The gRPC library that a driver uses, for the few tests in which that matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Library {
    /// C-core, by the crate grpcio.
    Core,
    /// grpc-go.
    Go,
    /// grpc-js.
    Node,
    /// C-core, by the Python package grpcio.
    Python,
    /// tonic.
    Tonic,
}

/// Returns the library of the driver under test, with whose name the output of its
/// `--version` begins.
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
