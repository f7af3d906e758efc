//! Podman with a store of its own for one test, which runs containers of the image that
//! ships.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::dir::Dir;
use crate::sidecar::Sidecar;

/// A store that holds one image.
pub struct Podman {
    store: Dir,
    /// The full name of the image.
    image: String,
}

/// A container, removed when it is dropped.
pub struct Running<'a> {
    podman: &'a Podman,
    name: String,
}

/// A sidecar in a container.
pub struct Container<'a> {
    /// The container.
    pub running: Running<'a>,
    /// The sidecar in it.
    pub sidecar: Sidecar,
}

impl Podman {
    /// Makes a store and loads an image from its archive.
    pub fn with(archive: &Path) -> Podman {
        let mut podman = Podman {
            store: Dir::new(),
            image: String::new(),
        };
        let loaded = succeed(podman.command().arg("load").arg("--input").arg(archive));
        let name = loaded
            .lines()
            .find_map(|line| line.strip_prefix("Loaded image: "));
        name.unwrap_or_else(|| panic!("no name in {loaded:?}"))
            .clone_into(&mut podman.image);
        podman
    }

    /// Returns the full name of the image.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Returns the beginning of a command line of podman. The drivers vfs and cgroupfs need
    /// nothing of the machine but cgroups.
    pub fn command(&self) -> Command {
        let mut command = Command::new("podman");
        for (flag, directory) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(flag).arg(self.store.path().join(directory));
        }
        command.args(["--storage-driver=vfs", "--runtime=runc"]);
        command.args(["--cgroup-manager=cgroupfs", "--events-backend=none"]);
        command
    }

    /// Runs the image with all the restrictions that a pod can have and with the directory
    /// `shared` at /csi, and waits until the sidecar listens.
    pub fn serve(&self, shared: &Path, flags: &[&str]) -> Container<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("csi-{}-{number}", std::process::id());
        let mut command = self.command();
        command
            .args(["run", "--rm", "--name", &name, "--network=host"])
            .args(["--read-only", "--cap-drop=all"])
            .arg("--security-opt=no-new-privileges")
            .args(["--memory=8m", "--memory-swap=8m", "--pids-limit=32"])
            // Podman's defaults are more than some machines allow.
            .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"])
            .arg(format!("--volume={}:/csi", shared.display()))
            .arg(&self.image)
            .args(["--csi-address=/csi/csi.sock", "--http-endpoint=127.0.0.1:0"])
            .args(flags);
        // The container outlives podman's process, so it has its owner before the sidecar
        // listens: it is removed even if the sidecar never does.
        let running = Running { podman: self, name };
        let mut sidecar = Sidecar::run(&mut command);
        sidecar.pid = running.inspect("{{.State.Pid}}").parse().unwrap();
        Container { running, sidecar }
    }
}

impl Running<'_> {
    /// Returns the name of the container.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns one property, by a format of `podman inspect`.
    pub fn inspect(&self, format: &str) -> String {
        let arguments = ["container", "inspect", "--format", format, &self.name];
        succeed(self.podman.command().args(arguments))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let arguments = ["rm", "--force", "--ignore", "--time=0", &self.name];
        let _ = self.podman.command().args(arguments).output();
    }
}

/// Runs a command that must succeed, and returns its stdout without the last newline.
pub fn succeed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {stderr}");
    String::from_utf8(stdout).unwrap().trim_end().to_owned()
}
