//! The image: what is in the archive, and that it runs where a pod's limits are
//! at their tightest. For `make try-image`, which builds on `make static image`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::podman::{Podman, succeed};
use testkit::{Dir, Driver};

use super::support::siege;

/// The archive, from packaging/try-image.sh.
fn archive() -> PathBuf {
    std::env::var_os("LIVENESSPROBE_IMAGE")
        .expect("LIVENESSPROBE_IMAGE names the archive; run: make try-image")
        .into()
}

fn skopeo(arguments: &[&str]) -> String {
    let archive = format!("oci-archive:{}", archive().display());
    succeed(Command::new("skopeo").args(arguments).arg(archive))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// How OCI calls what a file is called by, and its variant.
fn platform(architecture: &str) -> (&str, &str) {
    match architecture {
        "armv7" => ("arm", "v7"),
        same => (same, ""),
    }
}

/// What must be in the image, from packaging/try-image.sh.
fn architectures() -> Vec<String> {
    let named = std::env::var("LIVENESSPROBE_ARCHITECTURES")
        .expect("LIVENESSPROBE_ARCHITECTURES names them; run: make try-image");
    let all: Vec<String> = named.split_whitespace().map(str::to_owned).collect();
    assert!(!all.is_empty());
    all
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

/// What leads to the program, for those who look for it elsewhere.
const LINKS: [&str; 3] = [
    "bin/livenessprobe",
    "usr/bin/livenessprobe",
    "usr/local/bin/livenessprobe",
];

/// Where a symbolic link in a tar archive leads to.
fn link_in(archive: &Path, name: &str) -> String {
    let listed = succeed(
        Command::new("tar")
            .args(["--list", "--verbose", "--file"])
            .arg(archive)
            .arg(name),
    );
    let (_, target) = listed
        .split_once(&format!("{name} -> "))
        .unwrap_or_else(|| panic!("no link: {listed}"));
    target.to_owned()
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn it_runs_by_each_name_that_others_have_for_it() {
    let podman = Podman::with(&archive());
    let paths = LINKS.map(|link| format!("/{link}"));
    let names = ["livenessprobe", "/livenessprobe"]
        .into_iter()
        .chain(paths.iter().map(String::as_str));
    for name in names {
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

/// Both ways to build the image take the links from the one place that is held here;
/// `packaging/check_image.py` refuses an image without them.
#[test]
fn the_containerfile_has_the_links_whichever_way_it_builds() {
    let target = std::fs::read_link("packaging/link/livenessprobe").unwrap();
    assert_eq!(target, Path::new("/livenessprobe"));
    let text = std::fs::read_to_string("Containerfile").unwrap();
    let (_, behind) = text
        .split_once("FROM ${BINARY:-compiled} AS binary\n")
        .unwrap();
    let (stage, _) = behind.split_once("\nFROM ").unwrap();
    for link in LINKS {
        let directory = link.trim_end_matches("livenessprobe");
        let line = format!("COPY packaging/link/ /out/{directory}\n");
        assert!(stage.contains(&line), "{line}");
    }
}

#[test]
#[ignore = "about the image; run: make try-image"]
fn it_is_one_index_with_each_architecture() {
    let index = json(&skopeo(&["inspect", "--raw"]));
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let platforms: Vec<String> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| {
            let platform = &manifest["platform"];
            let (os, architecture) = (text(&platform["os"]), text(&platform["architecture"]));
            let variant = platform["variant"].as_str().unwrap_or_default();
            format!("{os}/{architecture}/{variant}")
        })
        .collect();
    let expected: Vec<String> = architectures()
        .iter()
        .map(|architecture| {
            let (name, variant) = platform(architecture);
            format!("linux/{name}/{variant}")
        })
        .collect();
    assert_eq!(platforms, expected);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
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
#[ignore = "about the image; run: make try-image"]
fn each_architecture_has_its_binary_its_licences_and_its_labels() {
    for arch in architectures() {
        let (oci, variant) = platform(&arch);
        let dir = Dir::new();
        succeed(
            Command::new("skopeo")
                .args([
                    "copy",
                    "--override-arch",
                    oci,
                    "--override-variant",
                    variant,
                ])
                .arg(format!("oci-archive:{}", archive().display()))
                .arg(format!("dir:{}", dir.path().display())),
        );
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let manifest = json(std::str::from_utf8(&read("manifest.json")).unwrap());
        let blob = |part: &Value| text(&part["digest"]).replace("sha256:", "");

        let config = json(std::str::from_utf8(&read(&blob(&manifest["config"]))).unwrap());
        assert_eq!(config["architecture"], oci);
        assert_eq!(config["variant"].as_str().unwrap_or_default(), variant);
        let run = &config["config"];
        assert_eq!(run["Entrypoint"], json(r#"["/livenessprobe"]"#));
        assert_eq!(run["ExposedPorts"], json(r#"{"9808/tcp":{}}"#));
        // Root, as upstream's.
        assert!(run["User"].is_null(), "{run}");
        let label = |name: &str| {
            text(&run["Labels"][format!("org.opencontainers.image.{name}")]).to_owned()
        };
        assert_eq!(label("title"), "csi-livenessprobe");
        assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
        // Set by whoever publishes it.
        label("source");
        assert!(label("revision").len() > 6, "{run}");

        let [layer] = manifest["layers"].as_array().unwrap().as_slice() else {
            panic!("not one layer: {manifest}");
        };
        let layer = dir.path().join(blob(layer));
        let shipped = archive().with_file_name(format!("livenessprobe-linux-{arch}"));
        assert!(
            member(&layer, "livenessprobe") == std::fs::read(&shipped).unwrap(),
            "not {}",
            shipped.display()
        );
        for link in LINKS {
            assert_eq!(link_in(&layer, link), "/livenessprobe", "{link}");
        }
        for (name, words) in [
            ("LICENSE", "Apache License"),
            ("NOTICE", "csi-livenessprobe"),
            ("THIRD-PARTY.txt", "musl as a whole is licensed under"),
        ] {
            let text = member(&layer, &format!("licenses/{name}"));
            assert!(String::from_utf8_lossy(&text).contains(words), "{name}");
        }
    }
}

#[test]
fn the_documents_name_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, words) in [
        ("Containerfile", format!("ARG VERSION={version}\n")),
        ("README.md", format!("dist/livenessprobe-{version}.oci.tar")),
        ("README.md", format!("csi-livenessprobe:{version}")),
        ("README.md", format!("make release VERSION={version}")),
        ("docs/airgap.md", format!("livenessprobe-{version}.oci.tar")),
        (
            "docs/airgap.md",
            format!("csi-livenessprobe-{version}-source.tar.xz"),
        ),
    ] {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&words), "{file}: {words}");
    }
}

/// Compiling takes minutes; that it would begin is what is tried, on a base that
/// has nothing to run it with.
#[test]
#[ignore = "about the image; run: make try-image"]
fn the_containerfile_compiles_unless_it_is_told_otherwise() {
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

    // The lock is there: a test of a container without limits would pass, too.
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
