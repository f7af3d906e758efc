//! Runs the command lines of deploy/ as they are written there, with the sockets and
//! ports of each test. `deploy/check.py` starts those that listen and need no driver.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use testkit::{Dir, Driver, Process, Sidecar, eventually, http};

use super::support::livenessprobe;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// Returns the items of the list under `key:`, after the first line with `after`.
fn words(text: &str, after: &str, key: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.contains(after));
    lines
        .skip_while(|line| line.trim() != format!("{key}:"))
        .skip(1)
        .map_while(|line| line.trim().strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

const IMAGE: &str = "image: csi-livenessprobe:";

fn command(words: &[String], places: &[(&str, String)]) -> Command {
    assert!(!words.is_empty());
    let mut command = livenessprobe().command();
    for word in words {
        let word = places
            .iter()
            .fold(word.clone(), |word, (from, to)| word.replace(from, to));
        command.arg(word);
    }
    command
}

#[test]
fn the_exec_probe_installs_and_probes_as_written() {
    let text = read("kubernetes/exec-probe.yaml");
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let places = [
        ("/shared", dir.path().display().to_string()),
        ("/csi/csi.sock", dir.socket()),
    ];
    let installed = command(&words(&text, IMAGE, "args"), &places).status();
    assert!(installed.unwrap().success());

    let probe = words(&text, "exec:", "command");
    let program = probe[0].replace(places[0].0, &places[0].1);
    let output = Command::new(program)
        .args(
            probe[1..]
                .iter()
                .map(|word| word.replace(places[1].0, &places[1].1)),
        )
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"ok\n"[..])
    );
}

/// kubelet starts the driver only after the startupProbe has succeeded. It must therefore
/// succeed while `/healthz` still answers 500.
#[test]
fn the_native_sidecar_has_started_before_there_is_a_driver() {
    let text = read("kubernetes/native-sidecar.yaml");
    let (sidecar, driver) = text.split_once("\n  containers:\n").unwrap();
    for line in [
        "  initContainers:",
        "      restartPolicy: Always",
        "      startupProbe:\n        tcpSocket:\n          port: 9808",
    ] {
        assert!(sidecar.contains(line), "{line}");
    }
    assert!(!sidecar.contains("httpGet") && driver.contains("httpGet"));

    let dir = Dir::new();
    let places = [
        ("/csi/csi.sock", dir.socket()),
        (":9808", "127.0.0.1:0".to_owned()),
    ];
    let sidecar = Sidecar::run(&mut command(&words(sidecar, IMAGE, "args"), &places));
    drop(TcpStream::connect(sidecar.address).unwrap());
    assert_eq!(sidecar.healthz().status, 500);
    let _driver = Driver::start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

/// `deploy/check.py` validates these manifests, so that this text is known to be where
/// Kubernetes reads it.
#[test]
fn no_manifest_of_ours_is_scheduled_where_there_is_no_image() {
    let packaging = std::fs::read_to_string("packaging/lib.sh").unwrap();
    let (_, names) = packaging.split_once("ARCHITECTURES='").unwrap();
    let (names, _) = names.split_once('\'').unwrap();
    let labels = names.replace("armv7", "arm").replace(' ', ", ");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    let files = std::fs::read_dir(directory).unwrap();
    let mut texts: Vec<String> = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(texts.len(), 6);
    // The README shows the same affinity for clusters with other nodes.
    texts.push(read("README.md"));
    for text in texts {
        let (before, rule) = text.split_once("kubernetes.io/arch\n").unwrap();
        assert!(before.contains("requiredDuringSchedulingIgnoredDuringExecution:\n"));
        let mut lines = rule.lines().map(str::trim);
        assert_eq!(lines.next(), Some("operator: In"), "{text}");
        assert_eq!(
            lines.next(),
            Some(format!("values: [{labels}]").as_str()),
            "{text}"
        );
    }
}

#[test]
fn the_selinux_component_adds_no_privilege() {
    let text = read("kustomize/selinux/selinux.yaml");
    assert!(text.contains("            seLinuxOptions:\n              type: spc_t\n"));
    assert!(!text.contains("privileged: true"));
    let index = read("README.md");
    assert!(index.contains("  seLinuxOptions:\n    type: spc_t\n"));
}

#[test]
fn the_periodic_sidecar_probes_as_written() {
    let text = read("kubernetes/periodic.yaml");
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let places = [("/csi/csi.sock", dir.socket())];
    let sidecar = Process::start(&mut command(&words(&text, IMAGE, "args"), &places));
    driver.process.out.wait_for(0, "probe end");
    sidecar.err.wait_for(0, "Driver is healthy");
    assert_eq!(sidecar.err.count("Listening"), 0);
}

#[test]
fn the_compose_file_s_variables_are_understood() {
    let text = read("compose/compose.yaml");
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let variables: Vec<(&str, String)> = text
        .lines()
        .skip_while(|line| line.trim() != "environment:")
        .skip(1)
        .map_while(|line| line.strip_prefix("      ")?.split_once(": "))
        .map(|(name, value)| {
            let value = value.trim_matches('"');
            (name, value.replace("/csi/csi.sock", &dir.socket()))
        })
        .collect();
    assert_eq!(variables.len(), 3);
    let mut command = command(&words(&text, IMAGE, "command"), &[]);
    let sidecar = Process::start(command.envs(variables.clone()));
    driver.process.out.wait_for(0, "probe end");
    sidecar.err.wait_for(0, "Driver is healthy");
    assert_eq!(sidecar.err.count("Environment variable"), 0);

    // The healthcheck uses the same variables.
    assert!(text.contains("test: [CMD, /livenessprobe, --once]"));
    let output = livenessprobe()
        .command()
        .arg("--once")
        .envs(variables)
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"ok\n");
}

#[test]
fn one_for_all_answers_for_each_as_written() {
    let text = read("kubernetes/one-for-all.yaml");
    let plugins = Dir::new();
    let at = |name: &str| {
        plugins
            .path()
            .join(name)
            .join("csi.sock")
            .display()
            .to_string()
    };
    let drivers: Vec<Driver> = ["csi-hostpath", "csi-nfsplugin", "smb.csi.k8s.io"]
        .iter()
        .map(|name| Driver::start(&at(name), &[&format!("--name={name}.example")]))
        .collect();
    let places = [
        ("/plugins", plugins.path().display().to_string()),
        (":9808", ":0".to_owned()),
    ];
    let sidecar = Process::start(&mut command(&words(&text, IMAGE, "args"), &places));
    let address = testkit::sidecar::address_in(&sidecar.err.wait_for(0, "Listening"));
    // The head of the manifest gives this path for a driver's probe.
    assert!(text.contains("path: /healthz/nfs, port: 9808"));
    for path in ["/healthz", "/healthz/nfs", "/healthz/smb", "/healthz/all"] {
        assert_eq!(http::get(address, path).both(), (200, "ok"), "{path}");
    }
    for driver in &drivers {
        eventually("each driver has had two probes", || {
            driver.process.out.count("probe end") == 2
        });
    }
}
