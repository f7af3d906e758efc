//! Podman, with a store of a test's own: containers of the image that is to be
//! shipped.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Dir, Sidecar};

pub struct Podman {
    store: Dir,
    /// The image's whole name.
    image: String,
}

/// A container, removed with its owner.
pub struct Running<'a> {
    podman: &'a Podman,
    name: String,
}

/// A sidecar in a container.
pub struct Container<'a> {
    pub running: Running<'a>,
    pub sidecar: Sidecar,
}

impl Podman {
    /// Loads an image from its archive.
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

    pub fn image(&self) -> &str {
        &self.image
    }

    /// vfs and cgroupfs ask nothing of the machine but cgroups.
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

    /// Runs the image as locked in as a pod can be, with the directory `shared` at
    /// /csi, and waits until it listens.
    pub fn serve(&self, shared: &Path, flags: &[&str]) -> Container<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lp-{}-{number}", std::process::id());
        let mut command = self.command();
        command
            .args(["run", "--rm", "--name", &name, "--network=host"])
            .args(["--read-only", "--cap-drop=all"])
            .arg("--security-opt=no-new-privileges")
            .args(["--memory=8m", "--memory-swap=8m", "--pids-limit=32"])
            // Podman's own are beyond what some machines allow.
            .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"])
            .arg(format!("--volume={}:/csi", shared.display()))
            .arg(&self.image)
            .args(["--csi-address=/csi/csi.sock", "--http-endpoint=127.0.0.1:0"])
            .args(flags);
        // Podman's end is not the container's, so it is removed also where it does
        // not come to listen.
        let running = Running { podman: self, name };
        let mut sidecar = Sidecar::run(&mut command);
        sidecar.pid = running.inspect("{{.State.Pid}}").parse().unwrap();
        Container { running, sidecar }
    }
}

impl Running<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One thing that `podman inspect` tells.
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

/// The stdout of a command that must succeed, without the last newline.
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
