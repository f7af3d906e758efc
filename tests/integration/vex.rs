//! security/openvex.json: its form, and the versions and packages that it speaks about.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::support::source::{archive, as_test, contains, is_path, locked, read, root, words};

const SECURITY: &str = include_str!("../../SECURITY.md");
const OPENVEX: &str = include_str!("../../security/openvex.json");

fn vex() -> Value {
    serde_json::from_str(OPENVEX).unwrap()
}

fn statements(vex: &Value) -> &[Value] {
    vex["statements"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Returns the ids of the packages that a statement is about.
fn subcomponents(statement: &Value) -> Vec<&str> {
    let products = statement["products"].as_array().unwrap();
    products
        .iter()
        .flat_map(|product| product["subcomponents"].as_array().unwrap())
        .map(|component| text(component, "@id"))
        .collect()
}

/// <https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md>, version 0.2.0
#[test]
fn the_statements_have_the_form_of_openvex() {
    const STATUSES: [&str; 4] = ["not_affected", "affected", "fixed", "under_investigation"];
    const JUSTIFICATIONS: [&str; 5] = [
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    ];
    let vex = vex();
    assert_eq!(text(&vex, "@context"), "https://openvex.dev/ns/v0.2.0");
    assert!(text(&vex, "@id").starts_with("urn:uuid:"));
    assert!(!text(&vex, "author").is_empty());
    // RFC 3339, in UTC.
    let timestamp = text(&vex, "timestamp");
    assert!(
        timestamp.len() == 20 && timestamp.ends_with('Z') && timestamp.contains('T'),
        "{timestamp}"
    );
    assert!(vex["version"].as_u64().is_some_and(|version| version >= 1));
    let mut names = BTreeSet::new();
    for statement in statements(&vex) {
        let name = text(&statement["vulnerability"], "name");
        assert!(names.insert(name), "{name} twice");
        let status = text(statement, "status");
        assert!(STATUSES.contains(&status), "{name}: {status}");
        match status {
            "not_affected" => {
                let justification = text(statement, "justification");
                assert!(JUSTIFICATIONS.contains(&justification), "{name}");
                // A test shows it, or a source file can be read.
                let impact = text(statement, "impact_statement");
                let is_evidence = |word: &str| as_test(word).is_some() || is_path(word);
                assert!(words(impact).any(is_evidence), "{name}");
            }
            "affected" => assert!(!text(statement, "action_statement").is_empty(), "{name}"),
            _ => {}
        }
        for product in statement["products"].as_array().unwrap() {
            let product = text(product, "@id");
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(product, format!("pkg:cargo/csi-livenessprobe@{version}"));
        }
        assert!(!subcomponents(statement).is_empty(), "{name}");
    }
}

#[test]
fn both_documents_have_the_same_advisories() {
    let (_, rest) = SECURITY.split_once("\n## Known advisories\n").unwrap();
    let is_advisory = |word: &&str| word.starts_with("CVE-") || word.starts_with("RUSTSEC-");
    let documented: BTreeSet<&str> = rest
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(words)
        .filter(is_advisory)
        .collect();
    let vex = vex();
    let stated: BTreeSet<&str> = statements(&vex)
        .iter()
        .map(|statement| text(&statement["vulnerability"], "name"))
        .collect();
    assert_eq!(documented, stated);
}

#[test]
fn the_versions_are_those_of_the_lock_file() {
    let vex = vex();
    let core = locked("grpcio-sys")[0];
    for id in statements(&vex).iter().flat_map(subcomponents) {
        let (kind, rest) = id.strip_prefix("pkg:").unwrap().split_once('/').unwrap();
        let (name, version) = rest.rsplit_once('@').unwrap();
        let version = version.replace("%2B", "+");
        match (kind, name) {
            ("cargo", name) => assert!(locked(name).contains(&version.as_str()), "{id}"),
            // The version of grpcio-sys ends with it: "0.13.0+1.56.2-patched".
            ("github", "grpc/grpc") => {
                let (_, core) = core.split_once('+').unwrap();
                let core = core.split('-').next().unwrap();
                assert_eq!(version, format!("v{core}"));
            }
            ("pypi", name) => {
                let pinned = read("packaging/requirements.txt");
                assert!(
                    pinned.contains(&format!("\n{name}=={version} \\\n")),
                    "{id}"
                );
            }
            // The next test has these. musl comes with zig, whose version is compared above.
            ("generic", "c-ares" | "abseil-cpp" | "zlib" | "musl") => {}
            _ => panic!("{id}: nothing to compare it with"),
        }
    }
}

#[test]
fn the_c_parts_have_the_versions_that_are_named() {
    let version = |name: &str| {
        let (_, rest) = OPENVEX.split_once(&format!("pkg:generic/{name}@")).unwrap();
        rest.split('"').next().unwrap()
    };
    // deflate.c and ares_version.h leave these texts in each program.
    let zlib = format!(" inflate {} Copyright", version("zlib"));
    assert!(contains(archive("libz.a"), &zlib), "{zlib}");
    assert!(contains(archive("libcares.a"), version("c-ares")));
    // The namespace has the version, without its last number.
    let (release, _) = version("abseil-cpp").split_once('.').unwrap();
    let abseil = format!("lts_{release}");
    assert!(contains(archive("libgrpc_unsecure.a"), &abseil), "{abseil}");
}

#[test]
fn packages_that_only_the_lock_file_names_are_not_built() {
    let vex = vex();
    let absent: BTreeSet<&str> = statements(&vex)
        .iter()
        .filter(|statement| text(statement, "justification") == "component_not_present")
        .flat_map(subcomponents)
        .filter_map(|id| id.strip_prefix("pkg:cargo/")?.split('@').next())
        // c-ares is a part of grpcio-sys.
        .filter(|name| *name != "grpcio-sys")
        .collect();
    assert_eq!(absent, BTreeSet::from(["ansi_term", "atty"]));
    for arch in ["x86_64", "aarch64", "armv7", "riscv64gc"] {
        for libc in ["gnu", "musl"] {
            let abi = if arch == "armv7" { "eabihf" } else { "" };
            let output = Command::new(env!("CARGO"))
                .current_dir(root())
                .args(["tree", "--locked", "--offline", "--prefix=none"])
                .args(["--edges=normal,build,dev", "--format={p}"])
                .arg(format!("--target={arch}-unknown-linux-{libc}{abi}"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let tree = String::from_utf8(output.stdout).unwrap();
            let built: BTreeSet<&str> = tree
                .lines()
                .filter_map(|line| line.split(' ').next())
                .collect();
            assert!(built.contains("grpcio-sys"), "{tree}");
            for name in &absent {
                assert!(!built.contains(name), "{name}\n{tree}");
            }
        }
    }
}
