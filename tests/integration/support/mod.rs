//! What the tests stand on: the sidecar, drivers real and fake, an HTTP client.

pub mod actor;
pub mod cgroup;
pub mod driver;
pub mod flood;
pub mod h2;
pub mod http;
pub mod misconduct;
pub mod podman;
pub mod process;
pub mod seccomp;
pub mod sidecar;
pub mod siege;
pub mod sys;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use driver::Driver;
pub use http::Response;
pub use sidecar::Sidecar;
use sys::is_root;

/// How long an event that must come may take on a busy machine before a test
/// gives up on it. No test passes or fails by this but one that would hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How much later than its deadline an answer may come.
pub const LATENESS: Duration = Duration::from_millis(200);

/// This machine's architecture, as files of packaging/ are called.
pub const ARCH: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// A directory of a test's own, gone with it. Its path is short: a Unix socket's
/// can have 107 bytes.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lp-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> String {
        self.0.join("csi.sock").display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `holds`, looking often; for states that send no event.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command in namespaces of its own, with these options of unshare(1). `None`
/// where the machine does not allow that (a container without privileges): the
/// test is then skipped, but never in CI.
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
        skipped(&format!("no namespaces to be had: {arguments:?}"));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(arguments);
    Some(command)
}

/// Says that a test cannot run here, for this reason; in CI it has to.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI, {why}");
    eprintln!("skipped: {why}");
}

/// libfaketime, which deceives a process about its wall clock. `None` where it is not
/// installed.
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
