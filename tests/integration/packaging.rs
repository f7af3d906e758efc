//! That a binary which is not what the image promises is refused: each claim of
//! `packaging/check-binary.sh` with a program that breaks it.

use std::path::Path;
use std::process::{Command, Output};

use testkit::Dir;
use testkit::machine::ARCH;

use super::support::livenessprobe;

/// A program that is linked with these flags, and checked.
fn checked(flags: &[&str]) -> Output {
    let dir = Dir::new();
    let (source, program) = (dir.path().join("main.c"), dir.path().join("program"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let built = Command::new("gcc")
        .args(flags)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    check(ARCH, &program)
}

fn check(arch: &str, program: &Path) -> Output {
    Command::new("packaging/check-binary.sh")
        .args(["livenessprobe", arch])
        .arg(program)
        .output()
        .unwrap()
}

pub fn is_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains(words),
        "{words}: {output:?}"
    );
}

#[test]
fn what_is_not_fit_to_ship_is_refused() {
    let output = checked(&["-static", "-s"]);
    assert!(output.status.success(), "{output:?}");
    // Three megabytes of nothing, linked in.
    let dir = Dir::new();
    let ballast = dir.path().join("ballast.c");
    std::fs::write(&ballast, "char ballast[3 << 20] = {1};\n").unwrap();
    for (flags, words) in [
        (&["-no-pie", "-s"][..], "(INTERP)"),
        (&["-no-pie", "-s", "-Wl,--no-dynamic-linker"], "(NEEDED)"),
        (&["-static-pie", "-s"], "has no fixed address"),
        (&["-static"], "is not stripped"),
        (
            &["-static", "-s", "-Wl,-z,max-page-size=2048"],
            "aligned to 0x800",
        ),
        (
            &["-static", "-s", ballast.to_str().unwrap()],
            "bytes, more than 2936012",
        ),
    ] {
        is_refused(&checked(flags), words);
    }
}

#[test]
fn a_damaged_or_foreign_file_is_refused() {
    let dir = Dir::new();
    let path = dir.path().join("program");
    let whole = std::fs::read(livenessprobe().binary()).unwrap();
    std::fs::write(&path, &whole[..100_000]).unwrap();
    is_refused(&check(ARCH, &path), "is no whole ELF file");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    is_refused(&check(ARCH, &path), "is no whole ELF file");
    for other in ["amd64", "arm64", "armv7", "riscv64"] {
        if other != ARCH {
            let output = check(other, livenessprobe().binary().as_ref());
            is_refused(&output, &format!("is not for {other}"));
        }
    }
}

#[test]
fn versions_are_the_same_wherever_they_stand() {
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let library = read("packaging/lib.sh");
    let version = |name: &str| {
        let line = library.lines().find_map(|line| line.strip_prefix(name));
        let version = line.and_then(|rest| rest.strip_prefix('='));
        version.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    for (file, words) in [
        (
            "Cargo.toml",
            format!("rust-version = \"{}\"", version("RUST_LEAST")),
        ),
        (
            "packaging/requirements.txt",
            format!("ziglang=={} ", version("ZIG")),
        ),
        (
            "packaging/requirements.txt",
            format!("cargo-zigbuild=={} ", version("CARGO_ZIGBUILD")),
        ),
        (
            "packaging/lib.sh",
            format!("description='{}'", env!("CARGO_PKG_DESCRIPTION")),
        ),
        (
            "Containerfile",
            format!("DESCRIPTION=\"{}\"", env!("CARGO_PKG_DESCRIPTION")),
        ),
        (
            "Containerfile",
            format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        assert!(read(file).contains(&words), "{words:?} is not in {file}");
    }
}

/// The test of the programs is `security::parts_that_are_left_out_are_not_in_the_program`.
#[test]
fn each_part_that_the_sbom_excludes_is_looked_for_in_the_programs() {
    let parts: serde_json::Value =
        serde_json::from_str(include_str!("../../packaging/c-parts.json")).unwrap();
    let (_, tested) = include_str!("security.rs").split_once("LEFT_OUT:").unwrap();
    let (tested, _) = tested.split_once("\n];").unwrap();
    let mut excluded = 0;
    for part in parts["parts"].as_array().unwrap() {
        // What is compiled. The others have no code that a test could look for.
        if part["left-out"] == "compiled, and nothing of it is in the program" {
            excluded += 1;
            for (name, _) in part["texts"].as_object().unwrap() {
                assert!(
                    tested.contains(&format!("    (\n        \"{name}\",")),
                    "{name}"
                );
            }
        }
    }
    assert!(excluded > 0);
}
