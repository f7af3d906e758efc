//! docs/architecture.md, held to the source: the rooms, the modules in each, and the owners of
//! outside packages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

/// The package of `src`, which is the room of this workspace that is not in `crates/`.
const LIVENESSPROBE: &str = "csi-livenessprobe";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text below this heading, up to the next one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = ARCHITECTURE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"));
    rest.split("\n#").next().unwrap()
}

/// The cells of each row of a table, without its head.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .skip(1)
        .map(|row| row.split(" | ").collect())
}

/// The words between backticks.
fn code(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('`').skip(1).step_by(2)
}

/// The directory of each room.
fn rooms() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let mut rooms: Vec<PathBuf> = crates.map(|entry| entry.unwrap().path()).collect();
    rooms.push(root().to_owned());
    rooms
}

/// What docs/architecture.md calls a room.
fn name(room: &Path) -> String {
    match room.strip_prefix(root()).unwrap().to_str().unwrap() {
        "" => "src".to_owned(),
        below => below.to_owned(),
    }
}

/// The package of a room.
fn package(room: &str) -> String {
    let directory = if room == "src" { "." } else { room };
    let manifest = std::fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
    let (_, package) = manifest.split_once("[package]\n").unwrap();
    let (_, name) = package.split_once("name = \"").unwrap();
    name.split('"').next().unwrap().to_owned()
}

/// The packages that a package is linked with, itself included, on every platform: those that
/// it names, or with `all` also those that they need.
fn linked(package: &str, all: bool) -> BTreeSet<String> {
    let depth = if all { "255" } else { "1" };
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "-e", "normal"])
        .args(["--target=all", "--prefix=none", "--format={p}"])
        .args(["--package", package, "--depth", depth])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_room_imports_what_its_row_allows() {
    let rows: BTreeMap<&str, BTreeSet<&str>> = rows(section("## Rooms"))
        .map(|cells| (code(cells[0]).next().unwrap(), code(cells[2]).collect()))
        .collect();
    let rooms: Vec<String> = rooms().iter().map(|room| name(room)).collect();
    let packages: BTreeSet<String> = rooms.iter().map(|room| package(room)).collect();
    for room in &rooms {
        let allowed = rows
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} is not in the table"));
        let package = package(room);
        for imported in linked(&package, false) {
            let imported = imported.as_str();
            assert!(
                imported == package || !packages.contains(imported) || allowed.contains(imported),
                "{room} imports {imported}"
            );
        }
    }
}

#[test]
fn livenessprobe_has_no_tls_and_no_kubernetes_client() {
    const NOT_HERE: [&str; 7] = [
        "rustls", "ring", "openssl", "aws-lc", "ureq", "kube", "tokio",
    ];
    let linked = linked(LIVENESSPROBE, true);
    assert!(linked.contains("grpcio-sys"), "{linked:?}");
    for package in &linked {
        for absent in NOT_HERE {
            // "openssl-sys" and "aws-lc-rs" are parts of the same.
            let is_it = package
                .strip_prefix(absent)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            assert!(!is_it, "{package}");
        }
    }
}

/// The lines of code of a file, and of those below the directory of its name. Tests may import
/// what their module does not.
fn code_of(file: &Path) -> Vec<String> {
    let mut code = Vec::new();
    let mut todo = vec![file.to_owned(), file.with_extension("")];
    while let Some(path) = todo.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(source) = std::fs::read_to_string(&path) {
            let lines = source.split("#[cfg(test)]\nmod").next().unwrap().lines();
            let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
            code.extend(lines.map(str::to_owned));
        }
    }
    code
}

/// The modules of a room that the table lists, in its order, each with its code.
fn modules(room: &Path) -> Vec<(&'static str, Vec<String>)> {
    let heading = format!("### {}", name(room));
    rows(section(&heading))
        .map(|cells| {
            let module = code(cells[0]).next().unwrap();
            let mut code = code_of(&room.join("src").join(module).with_extension("rs"));
            if module == "main" {
                // It contains what is linked in.
                for linked in rooms().iter().map(|room| room.join("linked")) {
                    code.extend(code_of(&linked));
                }
            }
            (module, code)
        })
        .collect()
}

/// The rooms whose modules are listed: a program's own.
fn rooms_with_modules() -> impl Iterator<Item = PathBuf> {
    let rooms = rooms().into_iter();
    rooms.filter(|room| package(&name(room)) != "testkit")
}

/// The names that follow `path` in a line, such as `b` in "use a::b;" for "a::". A text may name a
/// module as well, such as the target of a log line, and is not looked at.
fn names_after<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = move |at: usize| !line[..at].ends_with(|c: char| is_part(c) || ":\"".contains(c));
    line.match_indices(path)
        .filter(move |(at, _)| begins(*at))
        .filter_map(move |(at, _)| line[at + path.len()..].split(|c| !is_part(c)).next())
}

#[test]
fn the_modules_are_those_of_the_tables_and_import_upwards_alone() {
    let mut imports = 0;
    for room in rooms_with_modules() {
        let modules = modules(&room);
        let files = std::fs::read_dir(room.join("src")).unwrap();
        let files: BTreeSet<String> = files
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".rs").map(str::to_owned)
            })
            .filter(|name| name != "lib")
            .collect();
        let written: BTreeSet<String> = modules
            .iter()
            .map(|(module, _)| (*module).to_owned())
            .collect();
        assert_eq!(written, files, "{}", name(&room));
        for (index, (module, code)) in modules.iter().enumerate() {
            for line in code {
                // "crate::{a, b}" would be passed over.
                assert!(!line.contains("crate::{"), "{module}: {line}");
                for imported in names_after(line, "crate::") {
                    let at = modules.iter().position(|(other, _)| *other == imported);
                    // What is no module is an item of lib.rs, such as `crate::PROGRAM`.
                    assert!(at.is_none_or(|at| at <= index), "{module}: {line}");
                    imports += usize::from(at.is_some());
                }
            }
        }
    }
    assert!(imports > 80, "{imports}");
}

#[test]
fn each_outside_package_has_the_owner_that_is_named() {
    let direct: BTreeMap<PathBuf, BTreeSet<String>> = rooms_with_modules()
        .map(|room| (room.clone(), linked(&package(&name(&room)), false)))
        .collect();
    let mut tried = 0;
    for cells in rows(section("## Outside packages")) {
        let package = cells[0].split(' ').next().unwrap();
        let path = format!("{}::", package.replace('-', "_"));
        let owners: BTreeSet<(&str, &str)> = code(cells[1])
            .filter_map(|owner| owner.split_once("::"))
            .collect();
        for (room, direct) in &direct {
            let name = name(room);
            let name = name.trim_start_matches("crates/");
            let is_owner = owners.iter().any(|(owner, _)| *owner == name);
            assert_eq!(direct.contains(package), is_owner, "{package}: {name}");
            for (module, code) in modules(room) {
                let code = code.iter();
                let uses_it = code.flat_map(|line| names_after(line, &path)).count() > 0;
                assert!(
                    !uses_it || owners.contains(&(name, module)),
                    "{package}: {name}::{module}"
                );
            }
        }
        tried += 1;
    }
    assert_eq!(tried, 11);
}
