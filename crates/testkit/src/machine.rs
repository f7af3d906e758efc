//! What the machine must offer for some tests: namespaces, libfaketime. A test that
//! cannot have it is skipped, but never in CI.

use std::path::PathBuf;
use std::process::Command;

use crate::sys::is_root;

/// This machine's architecture, by the name that files of packaging/ have.
pub const ARCH: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// Says why a test cannot run here. In CI it has to run, so this panics there.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI, {why}");
    eprintln!("skipped: {why}");
}

/// Returns the beginning of a command line that runs a program in new namespaces, by
/// these options of unshare(1). `None` means that the machine does not allow that, as a
/// container without privileges does not.
pub fn in_namespaces(options: &[&str]) -> Option<Command> {
    let mut arguments: Vec<&str> = Vec::new();
    if !is_root() {
        arguments.extend(["--user", "--map-root-user"]);
    }
    arguments.extend(options);
    let allowed = Command::new("unshare")
        .args(&arguments)
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        skipped(&format!("this machine allows no namespaces: {arguments:?}"));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(arguments);
    Some(command)
}

/// Returns the path of libfaketime, which changes the wall clock that a process sees.
/// `None` means that it is not installed.
pub fn faketime() -> Option<PathBuf> {
    let library = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists());
    if library.is_none() {
        skipped("there is no libfaketime; run: packaging/tools.sh chaos");
    }
    library
}
