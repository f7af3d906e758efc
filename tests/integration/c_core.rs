//! docs/c-core.md: the functions of C-core that are replaced, and the version for which that
//! is right.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::{Dir, h2};

use super::support::livenessprobe;
use super::support::source::{BUILT, code, locked, read, sources};

/// Returns a value that a CMakeLists.txt sets.
fn set<'a>(list: &'a str, name: &str) -> &'a str {
    let begin = format!("\nset({name} ");
    let (_, rest) = list.split_once(&begin).unwrap();
    rest.split(')').next().unwrap().trim().trim_matches('"')
}

#[test]
fn c_core_is_the_version_that_its_replacements_are_made_for() {
    // The release, and the version that the library itself reports.
    const RELEASE: &str = "1.56.2";
    const CORE: &str = "33.0.0";
    assert!(read("Cargo.toml").contains("\ngrpcio = { version = \"=0.13.0\", "));
    assert_eq!(locked("grpcio-sys"), [format!("0.13.0+{RELEASE}-patched")]);
    // The directory of the source that was compiled last. A build of another version may
    // still be there.
    let builds = Path::new(BUILT).parent().unwrap().join("build");
    let cache = std::fs::read_dir(builds)
        .unwrap()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("grpcio-sys-")
        })
        .map(|entry| entry.path().join("out/build/CMakeCache.txt"))
        .filter(|path| path.exists())
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap_or_else(|| panic!("no grpcio-sys beside {BUILT}"));
    let cache = std::fs::read_to_string(cache).unwrap();
    let (_, source) = cache
        .split_once("\nCMAKE_HOME_DIRECTORY:INTERNAL=")
        .unwrap();
    let list = Path::new(source.lines().next().unwrap()).join("CMakeLists.txt");
    let list = std::fs::read_to_string(list).unwrap();
    assert_eq!(set(&list, "PACKAGE_VERSION"), RELEASE);
    assert_eq!(set(&list, "gRPC_CORE_VERSION"), CORE);
    // The library that runs sends its `grpc_version_string` with each call.
    let dir = Dir::new();
    let (calls, called) = std::sync::mpsc::channel();
    let calls = std::sync::Mutex::new(calls);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        calls.lock().unwrap().send(call.headers.clone()).unwrap();
        let reply = h2::ok(call.stream, h2::READY);
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    let headers = called.recv().unwrap();
    let agent = format!("grpc-c/{CORE} (linux; chttp2)");
    assert!(
        h2::contains(&headers, agent.as_bytes()),
        "{}",
        String::from_utf8_lossy(&headers)
    );
    let document = read("docs/c-core.md");
    for words in [RELEASE, CORE, "grpcio 0.13.0"] {
        assert!(document.contains(words), "{words}");
    }
}

/// Returns the last part of a name that C++ has mangled (Itanium C++ ABI, 5.1), or a name of
/// C as it is.
fn last_name(symbol: &str) -> &str {
    let Some(mut rest) = symbol.strip_prefix("_Z") else {
        return symbol;
    };
    rest = rest.strip_prefix('N').unwrap_or(rest);
    let mut last = "";
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        let length: usize = rest[..digits].parse().unwrap();
        (last, rest) = rest[digits..].split_at(length);
    }
    last
}

#[test]
fn each_function_that_is_replaced_is_in_the_document() {
    let document = read("docs/c-core.md");
    let described: BTreeSet<&str> = code(&document)
        .map(|word| word.rsplit("::").next().unwrap())
        .collect();
    let mut symbols = BTreeSet::new();
    for (_, source) in [sources("src"), sources("crates")].concat() {
        for rest in source.split("unsafe(export_name = \"").skip(1) {
            symbols.insert(last_name(rest.split('"').next().unwrap()).to_owned());
        }
        for rest in source.split("unsafe(no_mangle)").skip(1) {
            let (_, rest) = rest.split_once("extern \"C\" fn ").unwrap();
            symbols.insert(rest.split('(').next().unwrap().to_owned());
        }
    }
    assert!(symbols.len() > 25, "{symbols:?}");
    for symbol in symbols {
        assert!(described.contains(symbol.as_str()), "{symbol}");
    }
}
