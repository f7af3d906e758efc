//! A full disk at the place of the health file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::machine::in_namespaces;
use testkit::{Dir, Driver, Sidecar, eventually};

use super::is_unharmed;
use crate::support::livenessprobe;

/// A file system of a few pages, mounted for one sidecar.
struct Disk {
    /// The path of the file system for this process, which does not share the mount.
    path: PathBuf,
}

impl Disk {
    /// Mounts a file system and starts a sidecar that sees it. `None` means that the machine
    /// allows no mounts.
    fn mounted_for(dir: &Dir, flags: &[&str]) -> Option<(Disk, Sidecar)> {
        let mut command = in_namespaces(&["--mount"])?;
        let at = dir.path().join("disk");
        fs::create_dir(&at).unwrap();
        command
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o size=16k tmpfs \"$0\" && exec \"$@\"")
            .arg(&at)
            .arg(livenessprobe().binary())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0")
            .arg(format!("--health-file={}", at.join("healthy").display()))
            .args(flags);
        let sidecar = Sidecar::run(&mut command);
        let path = PathBuf::from(format!("/proc/{}/root{}", sidecar.pid, at.display()));
        Some((Disk { path }, sidecar))
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.path.join("ballast")).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.path.join("healthy")
    }

    /// Returns the names of all files but the ballast.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "ballast").collect()
    }
}

/// Checks, while `steps` run, that the health file is complete whenever it exists.
fn while_it_is_complete(file: &Path, steps: impl FnOnce()) {
    /// Ends the check when a step panics, too. Otherwise the scope would wait for its thread
    /// without end.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Ok(text) = fs::read_to_string(file) {
                    assert_eq!(text, "ok\n");
                }
                thread::yield_now();
            }
        });
        let _over = Over(&is_over);
        steps();
    });
}

#[test]
fn a_full_disk_delays_the_health_file_and_nothing_else() {
    const COMPLAINT: &str = "cannot write the health file";
    let dir = Dir::new();
    let flags = ["--interval=20ms", "--retries=1000000"];
    let Some((disk, mut sidecar)) = Disk::mounted_for(&dir, &flags) else {
        return;
    };
    disk.fill();
    let file = disk.file();
    let mut driver = Driver::start(&dir.socket(), &[]);
    while_it_is_complete(&file, || {
        let line = sidecar.process.err.wait_for(0, COMPLAINT);
        assert!(line.contains("No space left on device"), "{line}");
        let rounds = driver.process.out.count("probe end");
        driver.process.out.wait_for_count("probe end", rounds + 50);
        is_unharmed(&mut sidecar, "with a full disk");
        assert_eq!(sidecar.process.err.count(COMPLAINT), 1);
        assert!(!file.exists());

        disk.make_room();
        eventually("a health file", || file.exists());
        assert_eq!(disk.files(), ["healthy"]);
    });
    // The file is removed from a full disk, too.
    disk.fill();
    driver.process.kill();
    sidecar.process.signal(libc::SIGTERM);
    eventually("no health file", || !file.exists());
    assert_eq!(sidecar.process.wait().code(), Some(0));
}
