//! Documents against the repository: SECURITY.md and the tests, paths and constants that it
//! names, links, make targets and versions.

use std::collections::{BTreeMap, BTreeSet};

use super::support::source::{as_test, code, is_path, read, root, words};

const SECURITY: &str = include_str!("../../SECURITY.md");
const OPENVEX: &str = include_str!("../../security/openvex.json");
const README: &str = include_str!("../../README.md");
const BUILDING: &str = include_str!("../../docs/building.md");

/// Returns the rows, items and paragraphs of SECURITY.md.
fn blocks() -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in SECURITY.lines() {
        if line.is_empty() || line.starts_with(['|', '-']) {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().unwrap();
        block.push_str(line);
        block.push(' ');
    }
    blocks
}

/// Returns the names of the tests in a module.
fn tests_of(module: &str) -> BTreeSet<String> {
    let source = read(&format!(
        "tests/integration/{}.rs",
        module.replace("::", "/")
    ));
    let functions = source.split("#[test]").skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once("fn ")?;
        rest.split('(').next()
    });
    functions.map(str::to_owned).collect()
}

#[test]
fn each_test_that_is_named_exists() {
    let named: BTreeSet<(&str, &str)> = code(SECURITY)
        .chain(words(OPENVEX))
        .filter_map(as_test)
        .collect();
    assert!(named.len() > 60, "{}", named.len());
    let mut known = BTreeMap::new();
    for (module, name) in named {
        let tests = known.entry(module).or_insert_with(|| tests_of(module));
        assert!(tests.contains(name), "{module}::{name}");
    }
}

#[test]
fn each_path_and_each_constant_stands_in_the_source() {
    let mut constants = 0;
    for block in blocks() {
        let paths: Vec<&str> = code(&block).filter(|word| is_path(word)).collect();
        for path in &paths {
            assert!(root().join(path).exists(), "{path}");
        }
        for word in code(&block) {
            let Some((name, value)) = word.split_once(" = ") else {
                continue;
            };
            let is_there = paths
                .iter()
                .filter(|path| root().join(path).is_file())
                .any(|path| {
                    read(path).lines().any(|line| {
                        line.split_once(&format!("const {name}: "))
                            .and_then(|(_, rest)| rest.split_once(" = "))
                            .is_some_and(|(_, found)| found == format!("{value};"))
                    })
                });
            assert!(is_there, "{word} is not in {paths:?}");
            constants += 1;
        }
    }
    assert!(constants > 20, "{constants}");
    for word in words(OPENVEX).filter(|word| is_path(word)) {
        assert!(root().join(word).exists(), "{word}");
    }
}

/// Returns the targets of the links in a document, except for other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("https://"))
}

/// Returns whether a document has a heading with this anchor.
fn has_anchor(text: &str, anchor: &str) -> bool {
    text.lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            heading
                .to_lowercase()
                .replace(' ', "-")
                .replace(['?', '\''], "")
        })
        .any(|known| known == anchor)
}

#[test]
fn each_link_of_the_other_documents_leads_somewhere() {
    let mut tried = 0;
    for name in [
        "SECURITY.md",
        "deploy/README.md",
        "docs/airgap.md",
        "docs/architecture.md",
        "docs/building.md",
        "docs/c-core.md",
        "docs/checks.md",
        "docs/footprint.md",
        "docs/usage.md",
    ] {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let found = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(found.exists(), "{name}: {target}");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&found).unwrap();
                assert!(has_anchor(&text, anchor), "{name}: {target}");
            }
            // The air-gap bundle has this document and deploy/, and nothing else.
            if name == "docs/airgap.md" {
                assert!(target.starts_with("../deploy/"), "{target}");
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn each_link_into_the_repository_leads_somewhere() {
    let mut tried = 0;
    for target in links(README) {
        if let Some(anchor) = target.strip_prefix('#') {
            assert!(has_anchor(README, anchor), "#{anchor}");
        } else if let Some((file, anchor)) = target.split_once('#') {
            let text = read(file);
            assert!(has_anchor(&text, anchor), "{target}");
        } else {
            assert!(root().join(target).exists(), "{target}");
        }
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

#[test]
fn each_document_is_linked_to() {
    for file in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let target = format!("docs/{name}");
        assert!(links(README).any(|link| link == target), "{target}");
    }
}

/// An operator has to read it to the end.
#[test]
fn the_readme_is_short() {
    assert!(README.lines().count() < 260);
}

#[test]
fn building_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for words in [
        format!("dist/livenessprobe-{version}.oci.tar"),
        format!("csi-livenessprobe:{version}"),
        format!("make release VERSION={version}"),
    ] {
        assert!(BUILDING.contains(&words), "{words}");
    }
}

#[test]
fn each_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    let mut tried = 0;
    for document in [README, BUILDING] {
        let lines = document.lines().flat_map(|line| line.split('`'));
        for words in lines.filter_map(|code| code.strip_prefix("make ")) {
            for target in words.split([' ', '#']).take_while(|word| !word.is_empty()) {
                // "SIGN_KEY=..." is a variable and no target.
                if target.contains('=') {
                    continue;
                }
                let rule = format!("\n{target}:");
                assert!(makefile.contains(&rule), "{words}: {target}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn the_processors_are_those_that_are_built_for() {
    let packaging = read("packaging/lib.sh");
    let (_, names) = packaging.split_once("ARCHITECTURES='").unwrap();
    let names: Vec<&str> = names.split('\'').next().unwrap().split(' ').collect();
    let row = README
        .lines()
        .find(|line| line.contains("ppc64le and s390x"))
        .unwrap();
    let here = row.split('|').nth(2).unwrap().replace(" and ", ", ");
    assert_eq!(here.trim().split(", ").collect::<Vec<_>>(), names);
}
