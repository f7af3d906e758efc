//! SECURITY.md and security/openvex.json, held to the tree, and what they claim of the
//! program and nobody else shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::support::seccomp;
use super::support::siege::connect;
use super::support::{Dir, Driver, Sidecar, h2, http, sidecar};

const SECURITY: &str = include_str!("../../SECURITY.md");
const OPENVEX: &str = include_str!("../../security/openvex.json");
const LOCK: &str = include_str!("../../Cargo.lock");

/// The program that Cargo built, with the names of its functions. What ships has none.
const BUILT: &str = env!("CARGO_BIN_EXE_livenessprobe");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks in a text.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The words of a text that may name a test, a path or an advisory.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_:/.-".contains(c);
    text.split(move |c| !is_part(c))
        .map(|word| word.trim_end_matches(['.', ':']))
}

/// Rows, items and paragraphs.
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

/// Module and name, if it is written as a test is.
fn as_test(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    word.split_once("::")
        .filter(|(module, name)| is_name(module) && is_name(name))
}

fn is_path(word: &str) -> bool {
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

/// The tests of a file.
fn tests_of(module: &str) -> BTreeSet<String> {
    let source = read(&format!("tests/integration/{module}.rs"));
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

/// The ids of what a statement is about.
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
fn the_statements_are_as_openvex_wants_them() {
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
                // Which carries it: a test at the least.
                let impact = text(statement, "impact_statement");
                assert!(words(impact).any(|word| as_test(word).is_some()), "{name}");
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
fn both_documents_know_the_same_advisories() {
    let (_, rest) = SECURITY.split_once("\n## Known advisories\n").unwrap();
    let is_advisory = |word: &&str| word.starts_with("CVE-") || word.starts_with("RUSTSEC-");
    let told: BTreeSet<&str> = rest
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
    assert_eq!(told, stated);
}

/// The versions of a package in Cargo.lock.
fn locked(name: &str) -> Vec<&'static str> {
    let begin = format!("name = \"{name}\"\nversion = \"");
    LOCK.split("[[package]]\n")
        .filter_map(|package| package.strip_prefix(begin.as_str())?.split('"').next())
        .collect()
}

/// The archives that Cargo's build scripts have left, by file name: what a part's marks
/// are read from, so that a mark which is no longer right is noticed.
fn archive(name: &str) -> &'static [u8] {
    static ARCHIVES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
        let mut found = BTreeMap::new();
        let mut todo: Vec<PathBuf> = vec![Path::new(BUILT).parent().unwrap().join("build")];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    todo.push(path);
                } else if ARCHIVE_NAMES.contains(&name.as_str()) {
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        found
    });
    ARCHIVES
        .get(name)
        .unwrap_or_else(|| panic!("no {name} beside {BUILT}"))
}

const ARCHIVE_NAMES: [&str; 5] = [
    "libgrpc_unsecure.a",
    "libcares.a",
    "libre2.a",
    "libaddress_sorting.a",
    "libz.a",
];

fn contains(bytes: &[u8], mark: &str) -> bool {
    // Looked at only where its first byte is.
    let mark = mark.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == mark[0]) {
        if rest[at..].starts_with(mark) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
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
            // "0.13.0+1.56.2-patched"
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
            // See the next test. musl's is zig's, which has a test of its own version
            // above and says no more.
            ("generic", "c-ares" | "abseil-cpp" | "zlib" | "musl") => {}
            _ => panic!("{id}: nothing to compare it with"),
        }
    }
}

#[test]
fn the_c_parts_are_of_the_versions_named() {
    let version = |name: &str| {
        let (_, rest) = OPENVEX.split_once(&format!("pkg:generic/{name}@")).unwrap();
        rest.split('"').next().unwrap()
    };
    // What deflate.c and ares_version.h leave in each program.
    let zlib = format!(" inflate {} Copyright", version("zlib"));
    assert!(contains(archive("libz.a"), &zlib), "{zlib}");
    assert!(contains(archive("libcares.a"), version("c-ares")));
    // Its namespace; the last number is nowhere.
    let (release, _) = version("abseil-cpp").split_once('.').unwrap();
    let abseil = format!("lts_{release}");
    assert!(contains(archive("libgrpc_unsecure.a"), &abseil), "{abseil}");
}

/// A value that a CMakeLists.txt sets.
fn set<'a>(list: &'a str, name: &str) -> &'a str {
    let begin = format!("\nset({name} ");
    let (_, rest) = list.split_once(&begin).unwrap();
    rest.split(')').next().unwrap().trim().trim_matches('"')
}

/// docs/c-core.md: what `src/c_core/` and others put in place of C-core's functions is right
/// for one version of it.
#[test]
fn c_core_is_the_version_that_its_replacements_are_made_for() {
    // The release, and what it calls itself.
    const RELEASE: &str = "1.56.2";
    const CORE: &str = "33.0.0";
    assert!(read("Cargo.toml").contains("\ngrpcio = { version = \"=0.13.0\", "));
    assert_eq!(locked("grpcio-sys"), [format!("0.13.0+{RELEASE}-patched")]);
    // The source that was compiled last beside these tests: a build of another version may be
    // there still.
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
    // And the one that runs, which writes its `grpc_version_string` into each call.
    let dir = Dir::new();
    let (calls, called) = std::sync::mpsc::channel();
    let calls = std::sync::Mutex::new(calls);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        calls.lock().unwrap().send(call.headers.clone()).unwrap();
        let answer = h2::ok(call.stream, h2::READY);
        call.send(&answer);
    });
    let sidecar = Sidecar::start(&dir.socket(), &[]);
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
    for file in ["metadata", "plugins", "unthreaded"] {
        let source = read(&format!("crates/csi/linked/{file}.rs"));
        assert!(source.contains(&format!("C-core {RELEASE}")), "{file}");
    }
}

/// The last name in one that C++ has mangled (Itanium C++ ABI, 5.1), or the name itself.
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
    for file in [
        "crates/csi/linked/entropy.rs",
        "crates/csi/linked/heap.rs",
        "crates/csi/linked/metadata.rs",
        "crates/csi/linked/plugins.rs",
        "crates/csi/linked/unthreaded.rs",
        "crates/csi/src/read_limit/system_calls.rs",
    ] {
        assert!(code(&document).any(|word| word == file), "{file}");
        let source = read(file);
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
    for word in code(&document).filter(|word| is_path(word) && !word.starts_with("src/core/")) {
        assert!(root().join(word).exists(), "{word}");
    }
}

/// What is compiled and left out, where it was compiled, and marks of it: names of
/// functions, which are in the program that Cargo built, and texts, which are in the
/// one that ships, too.
const LEFT_OUT: &[(&str, &str, &[&str])] = &[
    (
        "c-ares",
        "libcares.a",
        &["ares_init_options", "Could not contact DNS servers"],
    ),
    (
        "C-core's resolvers",
        "libgrpc_unsecure.a",
        &[
            "grpc_dns_lookup_ares",
            "C-ares status is not ARES_SUCCESS",
            "address_sorting_rfc_6724_sort",
        ],
    ),
    (
        "C-core's server",
        "libgrpc_unsecure.a",
        &["grpc_server_create(", "Chttp2ServerListener"],
    ),
    (
        "C-core's load balancers",
        "libgrpc_unsecure.a",
        &[
            "_grpclb._tcp",
            "rls_experimental",
            "weighted_target",
            "outlier_detection",
            "round_robin",
            "pick_first",
        ],
    ),
    (
        "RE2",
        "libre2.a",
        &["no argument for repetition operator", "DFA out of memory"],
    ),
    (
        "address_sorting",
        "libaddress_sorting.a",
        &["address_sorting_init"],
    ),
    (
        "combining CRCs",
        "libz.a",
        &["crc32_combine64", "crc32_combine_gen64"],
    ),
];

/// What is not even compiled, but for musl's iconv, which is in zig's archive alone.
const NEVER_COMPILED: &[(&str, &[&str])] = &[
    ("TLS", &["SSL_CTX_new", "SSL_do_handshake"]),
    ("xDS", &["XdsClient", "envoy.service."]),
    ("MiniZip", &["unzOpenCurrentFile", "zipOpenNewFileInZip"]),
    ("untgz", &["TGZfname"]),
    ("musl's iconv", &["euckr", "gb18030"]),
];

#[test]
fn parts_that_are_left_out_are_not_in_the_program() {
    for program in BTreeSet::from([BUILT, sidecar::binary()]) {
        let bytes = std::fs::read(program).unwrap();
        // What is there is found: the call that takes a socket.
        assert!(
            contains(&bytes, "grpc_channel_create_from_fd("),
            "{program}"
        );
        for (part, archive_name, marks) in LEFT_OUT {
            for mark in *marks {
                assert!(contains(archive(archive_name), mark), "{part}: {mark}");
                assert!(!contains(&bytes, mark), "{part}: {mark} is in {program}");
            }
        }
        for (part, marks) in NEVER_COMPILED {
            for mark in *marks {
                assert!(!contains(&bytes, mark), "{part}: {mark} is in {program}");
                for name in ARCHIVE_NAMES {
                    assert!(
                        !contains(archive(name), mark),
                        "{part}: {mark} is in {name}"
                    );
                }
            }
        }
    }
    for name in ["boringssl-src", "openssl-sys", "openssl-src", "ring"] {
        assert!(locked(name).is_empty(), "{name}");
    }
}

#[test]
fn no_hash_table_is_given_a_size() {
    let bytes = std::fs::read(BUILT).unwrap();
    let mut tables = 0;
    for name in bytes.split(|byte| *byte == 0) {
        let is_table = name.starts_with(b"_ZN") && contains(name, "raw_hash_set");
        if is_table {
            tables += 1;
            for method in ["E7reserveEm", "E6rehashEm"] {
                let shown = String::from_utf8_lossy(name);
                assert!(!contains(name, method), "{shown}");
            }
        }
    }
    assert!(tables > 0, "Abseil's tables have another name now");
}

#[test]
fn zero_copy_is_not_asked_for() {
    let mut builders = 0;
    let mut todo = vec![root().join("src"), root().join("crates")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .flatten()
                    .map(|entry| entry.path()),
            );
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap().to_lowercase();
        for word in ["zerocopy", "zero_copy"] {
            assert!(!source.contains(word), "{}: {word}", path.display());
        }
        builders += source.matches("channelbuilder::new(").count();
    }
    assert_eq!(builders, 1, "each has to be looked at");
}

#[test]
fn what_only_the_lock_file_names_is_not_built() {
    let vex = vex();
    let absent: BTreeSet<&str> = statements(&vex)
        .iter()
        .filter(|statement| text(statement, "justification") == "component_not_present")
        .flat_map(subcomponents)
        .filter_map(|id| id.strip_prefix("pkg:cargo/")?.split('@').next())
        // c-ares is a part of it.
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

/// CVE-2026-66752, with the requests of its report, and RUSTSEC-2020-0031's.
#[test]
fn a_body_that_two_servers_would_end_elsewhere_is_refused() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    let smuggled = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    for (head, status) in [
        ("Transfer-Encoding: identity\r\nContent-Length: 5", 413),
        ("Transfer-Encoding: chunked, identity", 413),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 413),
        ("Transfer-Encoding: xchunked", 413),
        (
            "Transfer-Encoding:\tchunked\r\nTransfer-Encoding: chunked",
            413,
        ),
        ("transfer-encoding: \x0bchunked", 400),
        ("Transfer-Encoding : chunked\r\nContent-Length: 5", 400),
        ("X: y\r\n Transfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nContent-Length: 0", 400),
        ("Content-Length: +5", 400),
    ] {
        let request = format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n");
        let mut stream = connect(sidecar.address);
        stream.write_all((request + smuggled).as_bytes()).unwrap();
        // To the end: it closes.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head:?}: {answer}"
        );
        // One: what is behind it was not a request.
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{head:?}: {answer}");
    }
    // None of them was asked about.
    assert_eq!(sidecar.healthz().status, 200);
    driver.has_had_probes(1);
}

/// CVE-2026-66753: CR and LF from either side.
#[test]
fn nobody_adds_a_header_to_an_answer() {
    let names = |response: &http::Response| {
        let lines = response.head.lines().skip(1);
        let names = lines.map(|line| line.split(':').next().unwrap().to_lowercase());
        names.collect::<BTreeSet<String>>()
    };
    let usual = [
        "connection",
        "content-length",
        "content-type",
        "date",
        "server",
    ];
    let usual: BTreeSet<String> = usual.map(str::to_owned).into();
    let dir = Dir::new();
    let evil = "x\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\n";
    let _driver = Driver::start(&dir.socket(), &["--error=9", &format!("--message={evil}")]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    for path in ["/healthz", "/healthz?verbose", "/metrics"] {
        let response = sidecar.get(path);
        assert_eq!(names(&response), usual, "{response:?}");
        assert!(!response.body.contains('\r'), "{response:?}");
    }
    let request = "GET /healthz?verbose HTTP/1.1\r\nHost: x\rSet-Cookie: a=b\r\n\r\n";
    let response = http::send(sidecar.address, request);
    assert_eq!(response.status, 400);
    assert!(!names(&response).contains("set-cookie"), "{response:?}");
    let request = "GET /healthz%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\n\r\n";
    let response = http::send(sidecar.address, request);
    assert_eq!(response.status, 404);
    assert!(!names(&response).contains("set-cookie"), "{response:?}");
}

/// RUSTSEC-2024-0437: each of these bytes begins a group in the one before.
#[test]
fn groups_without_end_in_a_reply_do_no_harm() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let answer = match call.number {
            // As many as a message may have (crates/csi/src/call.rs).
            0 => h2::ok(call.stream, &[0x0b; 16 * 1024]),
            _ => h2::ok(call.stream, h2::READY),
        };
        call.send(&answer);
    });
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    assert!(response.body.contains("cannot be decoded"), "{response:?}");
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn nobody_can_connect_to_the_private_streams() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    let begin = format!("@csi-livenessprobe-{}-", sidecar.pid);
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .filter(|name| name.starts_with(&begin))
        .collect();
    assert_eq!(names.len(), 1, "{table}");
    for name in names {
        let address = SockAddr::unix(name.replacen('@', "\0", 1)).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let error = socket.connect(&address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

/// The addresses at which a process listens, as proc(5) has them in `net/tcp`.
fn listeners(pid: i32) -> Vec<SocketAddr> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let own: BTreeSet<String> = descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy();
            let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(number.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A" && own.contains(fields[9]))
        .map(|fields| {
            let (host, port) = fields[1].split_once(':').unwrap();
            // In the order of the processor.
            let host = u32::from_str_radix(host, 16).unwrap().to_ne_bytes();
            (host, u16::from_str_radix(port, 16).unwrap()).into()
        })
        .collect()
}

#[test]
fn without_unix_sockets_there_is_nothing_private_to_connect_to() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = sidecar::serving(&dir.socket());
    seccomp::refuse(&mut command, &[seccomp::BINDS_UNIX], libc::EACCES);
    let sidecar = Sidecar::run(&mut command);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert_eq!(listeners(sidecar.pid), [sidecar.address]);
}
