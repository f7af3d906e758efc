//! What the repository and the build directory hold, for tests that compare it with
//! documents or with the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The program that Cargo built, with the names of its functions. The one that ships has
/// none.
pub const BUILT: &str = env!("CARGO_BIN_EXE_livenessprobe");

const LOCK: &str = include_str!("../../../Cargo.lock");

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of a file of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the path and the text of each Rust source file below a directory.
pub fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Returns the code in a text of Markdown: all that stands between backticks.
pub fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the words of a text that may be the name of a test, a path or an advisory.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_:/.-".contains(c);
    text.split(move |c| !is_part(c))
        .map(|word| word.trim_end_matches(['.', ':']))
}

/// Returns the path of the module and the name, if the word is written as a test is.
pub fn as_test(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    word.rsplit_once("::")
        .filter(|(module, name)| module.split("::").all(is_name) && is_name(name))
}

/// Returns whether a word is the path of a file or a directory of the repository.
pub fn is_path(word: &str) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "src/",
        "crates/",
        "tests/",
        "packaging/",
        "deploy/",
        "docs/",
        "security/",
    ];
    BEGINNINGS.iter().any(|begin| word.starts_with(begin))
}

/// Returns the versions of a package in Cargo.lock.
pub fn locked(name: &str) -> Vec<&'static str> {
    let begin = format!("name = \"{name}\"\nversion = \"");
    LOCK.split("[[package]]\n")
        .filter_map(|package| package.strip_prefix(begin.as_str())?.split('"').next())
        .collect()
}

/// The archives of C and C++ that Cargo's build scripts make.
pub const ARCHIVES: [&str; 5] = [
    "libgrpc_unsecure.a",
    "libcares.a",
    "libre2.a",
    "libaddress_sorting.a",
    "libz.a",
];

/// Returns the content of one of `ARCHIVES`.
pub fn archive(name: &str) -> &'static [u8] {
    static FOUND: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
        let mut found = BTreeMap::new();
        let mut directories: Vec<PathBuf> = vec![Path::new(BUILT).parent().unwrap().join("build")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(path);
                } else if ARCHIVES.contains(&name.as_str()) {
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        found
    });
    FOUND
        .get(name)
        .unwrap_or_else(|| panic!("no {name} beside {BUILT}"))
}

/// Returns whether a text is somewhere in these bytes. It compares only where the first byte
/// of the text is, because an archive has 40 MB.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == text[0]) {
        if rest[at..].starts_with(text) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
