//! Generates the messages of `proto/` with protobuf's own parser, so that no
//! `protoc` is needed, and records the revision that `--version` prints.
//!
//! grpcio-compiler would generate the client too, but its 0.13 release drags
//! rust-protobuf 2 (RUSTSEC-2024-0437) into the lock file; the two method
//! descriptions it would write are in `src/identity.rs` by hand.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .input("proto/csi_identity.proto")
        .cargo_out_dir("proto")
        .run_from_script();
    println!("cargo:rustc-env=LIVENESSPROBE_REVISION={}", revision());
}

/// The commit this is built from: `REVISION` where the build is told (a source
/// archive has no history), else git's word, else "unknown".
fn revision() -> String {
    println!("cargo:rerun-if-env-changed=REVISION");
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        // A path that does not exist would make Cargo run this every time.
        if Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    if let Ok(given) = std::env::var("REVISION")
        && !given.is_empty()
    {
        return given;
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
