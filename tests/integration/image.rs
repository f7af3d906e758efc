//! That the image runs by each of its names, and where a pod's limits are at their tightest. For
//! `make try-image`, which builds on `make static image`; `packaging/image.py` holds what is in
//! the archive when it is made.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::podman::{Podman, succeed};
use testkit::{Dir, Driver};

use super::support::siege;

/// The archive, from packaging/try.sh.
fn archive() -> PathBuf {
    std::env::var_os("LIVENESSPROBE_IMAGE")
        .expect("LIVENESSPROBE_IMAGE names the archive; run: make try-image")
        .into()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// One file out of a tar archive.
fn member(archive: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--extract", "--to-stdout", "--file"])
        .arg(archive)
        .arg(name)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    output.stdout
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn it_runs_by_each_name_that_others_have_for_it() {
    let podman = Podman::with(&archive());
    for name in [
        "livenessprobe",
        "/livenessprobe",
        "/bin/livenessprobe",
        "/usr/bin/livenessprobe",
        "/usr/local/bin/livenessprobe",
    ] {
        let said = succeed(podman.command().args([
            "run",
            "--rm",
            "--network=host",
            "--read-only",
            "--cap-drop=all",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            &format!("--entrypoint={name}"),
            podman.image(),
            "--version",
        ]));
        let version = concat!("livenessprobe ", env!("CARGO_PKG_VERSION"), " (");
        assert!(said.starts_with(version), "{name}: {said}");
    }
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn containerd_and_podman_find_its_whole_name() {
    let index = member(&archive(), "index.json");
    let index = json(std::str::from_utf8(&index).unwrap());
    let annotations = &index["manifests"][0]["annotations"];
    let name = concat!(
        "docker.io/library/csi-livenessprobe:",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(annotations["io.containerd.image.name"], name);
    assert_eq!(annotations["org.opencontainers.image.ref.name"], name);
    assert_eq!(Podman::with(&archive()).image(), name);
}

#[test]
fn the_document_of_the_bundle_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let text = std::fs::read_to_string("docs/airgap.md").unwrap();
    for words in [
        format!("livenessprobe-{version}.oci.tar"),
        format!("csi-livenessprobe-{version}-source.tar.xz"),
    ] {
        assert!(text.contains(&words), "{words}");
    }
}

/// Compiling takes minutes. This tries that it would begin, on a base that has nothing to run it
/// with.
#[test]
#[ignore = "about the image; run: make try-image"]
fn the_containerfile_compiles_by_default() {
    let store = Dir::new();
    let output = Command::new("buildah")
        .arg("--root")
        .arg(store.path().join("root"))
        .arg("--runroot")
        .arg(store.path().join("run"))
        .args(["--storage-driver=vfs", "bud", "--isolation=chroot"])
        .args([
            "--build-arg=BUILD_BASE=scratch",
            "--file=Containerfile",
            ".",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("FROM scratch AS compiled"), "{output:?}");
    assert!(!output.status.success(), "{output:?}");
}

/// What a file of a process's cgroup says, of cgroups 1 or 2.
fn cgroup_says(pid: i32, controller: &str, v1: &str, v2: &str) -> String {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = groups
        .lines()
        .find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            controllers
                .split(',')
                .any(|one| one == controller)
                .then(|| format!("/sys/fs/cgroup/{controller}{path}/{v1}"))
        })
        .or_else(|| {
            let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
            Some(format!("/sys/fs/cgroup{path}/{v2}"))
        })
        .unwrap();
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .trim_end()
        .to_owned()
}

/// What a process's memory cgroup counts, the file's cached pages included.
fn used_by(pid: i32) -> String {
    cgroup_says(pid, "memory", "memory.usage_in_bytes", "memory.current")
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn locked_in_it_answers_for_a_driver_that_dies_and_comes_back() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    let podman = Podman::with(&archive());
    let container = podman.serve(dir.path(), &["--probe-timeout=1s"]);
    let sidecar = &container.sidecar;

    // The limits are there: this test would pass in a container without any, too.
    assert_eq!(
        cgroup_says(sidecar.pid, "memory", "memory.limit_in_bytes", "memory.max"),
        (8 * 1024 * 1024).to_string()
    );
    assert_eq!(
        cgroup_says(sidecar.pid, "pids", "pids.max", "pids.max"),
        "32"
    );
    assert_eq!(sidecar.status_words("CapBnd"), "0000000000000000");
    assert_eq!(sidecar.status_words("NoNewPrivs"), "1");
    assert_eq!(
        container.running.inspect("{{.HostConfig.ReadonlyRootfs}}"),
        "true"
    );

    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    driver.process.kill();
    let refused = "cannot connect to /csi/csi.sock: connection refused";
    assert_eq!(sidecar.healthz().both(), (500, refused));
    std::fs::remove_file(dir.socket()).unwrap();
    let missing = "cannot connect to /csi/csi.sock: no such file or directory";
    assert_eq!(sidecar.healthz().both(), (500, missing));
    let _driver = Driver::start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));

    let version = sidecar.process.err.wait_for(0, "Starting");
    let label = succeed(podman.command().args([
        "image",
        "inspect",
        "--format",
        "{{index .Labels \"org.opencontainers.image.revision\"}}",
        podman.image(),
    ]));
    let short = label.get(..12).unwrap_or(&label);
    assert!(version.contains(short), "{label}, but {version}");
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn locked_in_it_withstands_strangers_and_stops_with_0() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let podman = Podman::with(&archive());
    let mut container = podman.serve(dir.path(), &[]);
    let sidecar = &container.sidecar;
    println!(
        "{} bytes in the memory cgroup at rest",
        used_by(sidecar.pid)
    );
    siege::lay(sidecar, siege::PROMPT, || {
        let idle = siege::crowd(sidecar.address, 200, b"");
        let half_open = siege::crowd(sidecar.address, 200, b"GET /healthz HTTP/1.1\r\n");
        std::thread::sleep(siege::hold());
        drop((idle, half_open));
    });
    let name = container.running.name().to_owned();
    succeed(podman.command().args(["stop", "--time=20", &name]));
    assert_eq!(container.sidecar.process.wait().code(), Some(0));
}
