//! The command lines of deploy/, run as they are written there, with sockets and
//! ports of a test's own.

use std::path::Path;
use std::process::Command;

use super::support::process::Process;
use super::support::{Dir, Driver, eventually, http, sidecar};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// The words of the list under `key:`, behind the first line with `after`.
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
    let mut command = sidecar::command();
    for word in words {
        let word = places
            .iter()
            .fold(word.clone(), |word, (from, to)| word.replace(from, to));
        command.arg(word);
    }
    command
}

#[test]
fn the_exec_probe_installs_and_asks_as_written() {
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

    // And the healthcheck beside them.
    assert!(text.contains("test: [CMD, /livenessprobe, --once]"));
    let output = sidecar::command()
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
    let address = sidecar::address_in(&sidecar.err.wait_for(0, "Listening"));
    // The path that its head tells the driver's owner to write.
    assert!(text.contains("path: /healthz/nfs, port: 9808"));
    for path in ["/healthz", "/healthz/nfs", "/healthz/smb", "/healthz/all"] {
        assert_eq!(http::get(address, path).both(), (200, "ok"), "{path}");
    }
    for driver in &drivers {
        eventually("each has been asked", || {
            driver.process.out.count("probe end") == 2
        });
    }
}
