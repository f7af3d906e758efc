//! The program under test: the one that Cargo built, or the one that ships.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::dir::Dir;
use crate::sidecar::Sidecar;
use crate::sys::is_root;

/// A program, and the emulator that it runs under when it is for another processor.
///
/// Environment variables choose both. For the program `csi-example` they are
/// `CSI_EXAMPLE_BINARY`, the path of the binary that ships, and `CSI_EXAMPLE_RUNNER`.
pub struct Program {
    name: &'static str,
    binary: String,
    is_shipped: bool,
    runner: Option<String>,
}

impl Program {
    /// Takes the binary that ships if the environment names it, and otherwise `built`, which
    /// is `env!("CARGO_BIN_EXE_name")` in the integration tests of the program's package.
    pub fn new(name: &'static str, built: &str) -> Program {
        let prefix = name.to_uppercase().replace('-', "_");
        let shipped = std::env::var(format!("{prefix}_BINARY")).ok();
        Program {
            name,
            is_shipped: shipped.is_some(),
            binary: shipped.unwrap_or_else(|| built.to_owned()),
            runner: std::env::var(format!("{prefix}_RUNNER")).ok(),
        }
    }

    /// Returns the path of the binary.
    pub fn binary(&self) -> &str {
        &self.binary
    }

    /// Returns whether it is the binary that ships, which has musl for its C library.
    pub fn is_shipped(&self) -> bool {
        self.is_shipped
    }

    /// Returns the emulator, if the binary is for another processor.
    pub fn runner(&self) -> Option<&str> {
        self.runner.as_deref()
    }

    /// Returns a command line that begins with the program.
    pub fn command(&self) -> Command {
        let Some(runner) = &self.runner else {
            return Command::new(&self.binary);
        };
        let mut command = Command::new(runner);
        command.arg(&self.binary);
        command
    }

    /// Returns a command line with the address of the driver. It serves HTTP at a port that
    /// the kernel chooses.
    pub fn serving(&self, csi_address: &str) -> Command {
        let mut command = self.command();
        add_addresses(&mut command, csi_address);
        command
    }

    /// Starts the program with the address of the driver, at a port that the kernel chooses,
    /// and waits until it listens.
    pub fn start(&self, csi_address: &str, flags: &[&str]) -> Sidecar {
        Sidecar::run(self.serving(csi_address).args(flags))
    }

    /// Starts the program as a user that may not connect to the driver's socket in this
    /// directory.
    pub fn start_without_permission(&self, dir: &Dir) -> Sidecar {
        // The other user may not have access to the directory that the binary is in.
        let binary = dir.path().join(self.name);
        std::fs::copy(&self.binary, &binary).unwrap();
        let mut command = Command::new(&binary);
        add_addresses(&mut command, &dir.socket());
        // connect(2) needs write permission. Root always has it, so a test that runs as root
        // starts the program as another user.
        let mode = if is_root() {
            command.uid(65534).gid(65534);
            0o755
        } else {
            0o000
        };
        std::fs::set_permissions(dir.socket(), PermissionsExt::from_mode(mode)).unwrap();
        Sidecar::run(&mut command)
    }
}

fn add_addresses(command: &mut Command, csi_address: &str) {
    command
        .arg(format!("--csi-address={csi_address}"))
        .arg("--http-endpoint=127.0.0.1:0");
}
