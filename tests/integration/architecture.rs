//! docs/architecture.md against the source: the modules, which of them import which, and the
//! owner of each outside package.

use std::collections::{BTreeMap, BTreeSet};

use super::support::source::{self, read};

const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

/// Returns the text between this heading and the next one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = ARCHITECTURE
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading:?}"));
    rest.split("\n## ").next().unwrap()
}

/// Returns the sources of a module: `name.rs` and all files below `name/`.
fn sources(module: &str) -> Vec<String> {
    let mut found = vec![read(&format!("src/{module}.rs"))];
    let below = source::sources(&format!("src/{module}"));
    found.extend(below.into_iter().map(|(_, text)| text));
    found
}

#[test]
fn the_modules_are_those_of_the_architecture() {
    let levels: BTreeMap<&str, u32> = section("Modules")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap().parse().unwrap()))
        .collect();
    let modules: BTreeSet<String> = std::fs::read_dir("src")
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .filter(|name| name != "lib")
        .collect();
    let written: BTreeSet<String> = levels.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(written, modules);
    // A module imports only modules of a lower level.
    let mut imports = 0;
    for (module, level) in &levels {
        for source in sources(module) {
            // This test would not see the imports in "crate::{a, b}".
            assert!(!source.contains("crate::{"), "{module}");
            let code = source.lines().filter(|line| !line.trim().starts_with("//"));
            for line in code {
                for rest in line.split("crate::").skip(1) {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let name = rest.split(|c| !is_part(c)).next().unwrap();
                    if name == *module {
                        continue;
                    }
                    let below = levels.get(name);
                    assert!(below.is_some_and(|below| below < level), "{module}: {line}");
                    imports += 1;
                }
            }
        }
    }
    assert!(imports > 80, "{imports}");
}

#[test]
fn each_outside_package_has_the_owner_that_is_named() {
    let mut tried = 0;
    for row in section("Outside packages").lines() {
        let Some((package, owners)) = row.strip_prefix("| ").and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        // Each file with system calls uses libc.
        if ["package", "libc"].contains(&package) {
            continue;
        }
        let name = package.split(' ').next().unwrap().replace('-', "_");
        let owners: BTreeSet<&str> = owners.split('`').skip(1).step_by(2).collect();
        let users: BTreeSet<&str> = section("Modules")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|module| {
                sources(module).iter().any(|source| {
                    let code = source.split("#[cfg(test)]").next().unwrap();
                    code.lines()
                        .filter(|line| !line.trim().starts_with("//"))
                        .any(|line| line.contains(&format!("{name}::")))
                })
            })
            .collect();
        assert!(
            !users.is_empty() && users.is_subset(&owners),
            "{package}: {users:?}"
        );
        tried += 1;
    }
    assert_eq!(tried, 9);
}
