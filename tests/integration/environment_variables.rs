//! Variables of other programs, which a pod's `envFrom` gives to each of its containers. None
//! of them changes what the sidecar does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use csi_livenessprobe::flags;
use program::environment;
use testkit::{Dir, Driver, Sidecar};

use super::support::livenessprobe;

/// Variables that Rust's library, C libraries, HTTP clients and shells read.
const OTHERS: [&str; 24] = [
    "RUST_MIN_STACK",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "GRPC_PROXY",
    "grpc_proxy",
    "no_grpc_proxy",
    "GODEBUG",
    "GOMAXPROCS",
    "TZ",
    "LANG",
    "HOME",
    "TMPDIR",
    "POSIXLY_CORRECT",
    "HOSTALIASES",
];

/// Returns the directory of the source of C-core, which is in that of grpcio-sys.
fn grpc_source() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|one| one["name"] == "grpcio-sys");
    let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
    Path::new(manifest).with_file_name("grpc")
}

/// Finds the source files of C and C++ below a directory, except for tests.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            if name != "test" && name != "tests" {
                sources(&path, found);
            }
        } else if let Some((stem, "cc" | "c" | "h")) = name.rsplit_once('.')
            && !stem.ends_with("_test")
        {
            found.push(path);
        }
    }
}

/// Returns whether a text has the form of the name of an environment variable.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.len() > 1
        && (text.chars().all(is_part) || text.ends_with("_proxy"))
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// Returns the names of the variables that C-core and its libraries may read: all texts of
/// that form in each source file that reads a variable or a setting, or that declares one.
fn read_by_c_core() -> BTreeSet<String> {
    const READS: [&str; 5] = ["GetEnv", "getenv", "LoadConfig", "EnvVar", "ENV_VAR"];
    let root = grpc_source();
    let mut files = Vec::new();
    for part in ["src/core", "third_party/abseil-cpp/absl", "third_party/re2"] {
        if root.join(part).exists() {
            sources(&root.join(part), &mut files);
        }
    }
    assert!(files.len() > 1_000, "{}", files.len());
    let mut names = BTreeSet::new();
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        if !READS.iter().any(|read| text.contains(read)) {
            continue;
        }
        let literals = text.split('"').skip(1).step_by(2);
        names.extend(literals.filter(|text| is_name(text)).map(str::to_owned));
    }
    names
}

#[test]
fn no_variable_that_c_core_reads_is_kept() {
    let names = read_by_c_core();
    for known in [
        "GRPC_POLL_STRATEGY",
        "GRPC_VERBOSITY",
        "GRPC_TRACE",
        "GRPC_EXPERIMENTS",
        "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS",
        "http_proxy",
    ] {
        assert!(names.contains(known), "{known} is not in {names:?}");
    }
    for name in &names {
        assert!(
            !environment::is_kept(OsStr::new(name), &flags::variables().collect::<Vec<_>>()),
            "{name}"
        );
    }
}

#[test]
fn no_variable_changes_or_ends_anything_with_any_value() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut names = read_by_c_core();
    names.extend(OTHERS.map(str::to_owned));
    let all = "all,http,tcp,api,call_error,timer,polling";
    for value in [
        "bogus",
        "",
        "18446744073709551615",
        "none",
        "epollex",
        "legacy",
        all,
    ] {
        let mut command = livenessprobe().serving(&dir.socket());
        command.envs(names.iter().map(|name| (name, value)));
        let sidecar = Sidecar::run(&mut command);
        sidecar.process.err.wait_for(0, "CSI driver name");
        for _ in 0..3 {
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "{value:?}");
        }
        // There is no line of gRPC, and no warning about a value.
        for line in sidecar.process.err.all() {
            assert!(line.starts_with('I'), "{value:?}: {line}");
        }
    }
}
