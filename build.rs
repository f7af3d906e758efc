//! Records the revision that `--version` prints.

use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rustc-env=REVISION={}", revision());
}

/// The commit that this is built from: the variable `REVISION` if it is set, else the commit in the
/// source archive, else git's, else "unknown". Of a commit's 40 digits twelve are kept, so that
/// each of them gives the same.
fn revision() -> String {
    println!("cargo:rerun-if-env-changed=REVISION");
    watch_history();
    let revision = std::env::var("REVISION")
        .ok()
        .filter(|given| !given.is_empty())
        .or_else(archived)
        .or_else(|| git(&["rev-parse", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let is_commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit {
        revision[..12].to_owned()
    } else {
        revision
    }
}

/// The commit that `git archive` wrote into packaging/commit.txt, at the root of the workspace, which
/// is above the packages in crates/. In a checkout that file has a
/// pattern in its place.
fn archived() -> Option<String> {
    let file = Path::new(".")
        .canonicalize()
        .ok()?
        .ancestors()
        .map(|directory| directory.join("packaging/commit.txt"))
        .find(|file| file.exists())?;
    println!("cargo:rerun-if-changed={}", file.display());
    let text = fs::read_to_string(file).ok()?;
    let commit = text.split_whitespace().next()?;
    (!commit.starts_with('$')).then(|| commit.to_owned())
}

/// Has Cargo run this again when HEAD moves: it watches HEAD, the branch that HEAD names, and the
/// file with packed branches. Cargo would run it every time for a path that does not exist, so it
/// watches the directory of the branch, which changes with every file in it.
fn watch_history() {
    let Some(head) = git(&["rev-parse", "--git-path", "HEAD"]) else {
        return;
    };
    let mut paths = vec![head];
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in branch.iter().map(String::as_str).chain(["packed-refs"]) {
        paths.extend(git(&["rev-parse", "--git-path", name]));
    }
    for path in paths {
        let path = Path::new(&path);
        let watched = if path.ends_with("packed-refs") || path.ends_with("HEAD") {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        if watched.exists() {
            println!("cargo:rerun-if-changed={}", watched.display());
        }
    }
}

/// The output of git, if git is installed and this is a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
