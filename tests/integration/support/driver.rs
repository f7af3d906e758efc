//! The example driver: a real gRPC server in a process of its own.

use std::path::PathBuf;
use std::process::Command;

use super::process::Process;

pub struct Driver {
    pub process: Process,
}

impl Driver {
    /// Starts it and waits until it listens.
    pub fn start(address: &str, flags: &[&str]) -> Driver {
        let process = Process::start(
            Command::new(binary())
                .arg(format!("--address={address}"))
                .args(flags),
        );
        process.out.wait_for(0, "listening");
        Driver { process }
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

/// Cargo builds examples along with the tests, next to them.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop(); // deps
    path.pop();
    path.join("examples").join("csi_driver")
}
