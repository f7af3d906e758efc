//! The examples and tables of README.md and docs/, held to what the binary does. Flags are
//! compared with `--help` in src/flags/help.rs.

use std::collections::BTreeSet;
use std::os::unix::net::{UnixListener, UnixStream};

use super::support::seccomp::refuse_to_connect;
use super::support::sys::shorten_queue;
use super::support::{Dir, Driver, Sidecar, h2, sidecar};

const README: &str = include_str!("../../README.md");
const USAGE: &str = include_str!("../../docs/usage.md");
const BUILDING: &str = include_str!("../../docs/building.md");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

/// The text between this heading of a document and the next one.
fn section(document: &'static str, heading: &str) -> &'static str {
    let (_, rest) = document
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading:?}"));
    rest.split("\n## ").next().unwrap()
}

/// The fenced blocks of this language.
fn blocks(text: &'static str, language: &str) -> Vec<&'static str> {
    let parts = text.split("```").skip(1).step_by(2);
    parts
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// The first cell of each row, as far as it is code.
fn first_cells(text: &'static str) -> Vec<&'static str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

/// Whether `text` is `pattern`, in which `...` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once("...") {
        // A driver may have nothing to say.
        Some((begin, "")) => text.starts_with(begin),
        Some(_) => panic!("{pattern:?}: only an end can be left open"),
        None => text == pattern,
    }
}

/// A directory in which something is in the driver's place, and what has to live
/// for as long.
type Scene = fn(&Dir) -> Box<dyn std::any::Any>;

fn driver(dir: &Dir, flags: &[&str]) -> Box<dyn std::any::Any> {
    Box::new(Driver::start(&dir.socket(), flags))
}

fn listening(dir: &Dir) -> UnixListener {
    UnixListener::bind(dir.socket()).unwrap()
}

#[test]
fn each_reason_for_500_is_what_it_says_in_that_case() {
    // In the order of the table.
    let scenes: &[(&str, Scene)] = &[
        ("initialising", |dir| driver(dir, &["--not-ready"])),
        ("nothing", |_| Box::new(())),
        ("a socket left behind", |dir| {
            drop(listening(dir));
            Box::new(())
        }),
        ("no permission", |dir| driver(dir, &[])),
        ("a security module", |dir| driver(dir, &[])),
        ("a file", |dir| {
            std::fs::write(dir.socket(), "x").unwrap();
            Box::new(())
        }),
        ("a full queue", |dir| {
            let listener = listening(dir);
            shorten_queue(&listener);
            let waiting = UnixStream::connect(dir.socket()).unwrap();
            Box::new((listener, waiting))
        }),
        ("a driver that hangs", |dir| driver(dir, &["--hang"])),
        ("a connection that is closed", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |call| {
                let _ = call.socket.shutdown(std::net::Shutdown::Both);
            }))
        }),
        ("a proxy", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let answer = h2::no_grpc(call.stream, "502", "application/grpc", b"");
                call.send(&answer);
            }))
        }),
        ("a proxy with a page", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let answer = h2::no_grpc(call.stream, "502", "text/html", b"<html></html>");
                call.send(&answer);
            }))
        }),
        ("another service", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let answer = [
                    h2::answer_begins(call.stream),
                    h2::answer_ends(call.stream, "12"),
                ];
                call.send(&answer.concat());
            }))
        }),
        ("a long reply", |dir| driver(dir, &["--padding=100000"])),
        ("no message", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let answer = h2::ok_without_message(call.stream);
                call.send(&answer);
            }))
        }),
        ("an ill driver", |dir| {
            driver(dir, &["--error=9", "--message=disk on fire"])
        }),
    ];
    let rows = first_cells(section(README, "Why did it say 500?"));
    assert_eq!(rows.len(), scenes.len(), "{rows:#?}");
    for (row, (what, scene)) in rows.iter().zip(scenes) {
        let dir = Dir::new();
        let _alive = scene(&dir);
        // With the default timeout, which is in one of the answers.
        let sidecar = match *what {
            "no permission" => Sidecar::start_without_permission(&dir),
            "a security module" => {
                let mut command = sidecar::serving(&dir.socket());
                refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
                Sidecar::run(&mut command)
            }
            _ => Sidecar::start(&dir.socket(), &[]),
        };
        let response = sidecar.healthz();
        assert_eq!(response.status, 500, "{what}");
        let body = response.body.replace(&dir.socket(), "/csi/csi.sock");
        assert!(is_like(&body, row), "{what}: {body:?} is not {row:?}");
    }
}

#[test]
fn the_verbose_answer_has_those_lines() {
    let block = blocks(section(USAGE, "What it answers"), "text")[0];
    let (command, expected) = block.split_once('\n').unwrap();
    assert_eq!(command, "$ curl 'http://127.0.0.1:9808/healthz?verbose'");
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    let body = sidecar.get("/healthz?verbose").body;
    // A time and a duration are this run's.
    let plain = |text: &str| {
        let lines = text.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "took" | "last success" => name.to_owned(),
                _ => format!("{name}: {value}"),
            }
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        plain(&body.replace(&dir.socket(), "/csi/csi.sock")),
        plain(expected)
    );
}

#[test]
fn the_log_lines_are_of_that_form() {
    let block = blocks(section(USAGE, "Logs"), "text")[0];
    let dir = Dir::new();
    drop(listening(&dir));
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    sidecar.healthz();
    sidecar.process.err.wait_for(0, "Probe failed");
    let log = sidecar.log().replace(&dir.socket(), "/csi/csi.sock");
    for line in block.lines() {
        // Without the header, whose form is held elsewhere, and the values that
        // are this run's.
        let told = |line: &str| {
            let (_, told) = line.split_once("] ").unwrap();
            let words = told.replace("unknown-driver", "example.csi.livenessprobe");
            let kept = words
                .split(" took=")
                .next()
                .unwrap()
                .split(" address=\"[")
                .next()
                .unwrap()
                .split(" address=\"127")
                .next()
                .unwrap();
            kept.to_owned()
        };
        assert!(
            log.lines().any(|found| told(found) == told(line)),
            "{line}\nis not in\n{log}"
        );
    }
}

#[test]
fn the_metrics_are_those_of_the_table() {
    let dir = Dir::new();
    let sidecar = Sidecar::start(&dir.socket(), &["--probe-timeout=200ms"]);
    // All that can happen, so that each family has something to tell.
    sidecar.healthz();
    let _driver = Driver::start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);
    let text = sidecar.get("/metrics").body;
    let with_labels = |series: &str| {
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        let labels = rest.trim_end_matches('}').split(',');
        let names = labels.map(|label| label.split('=').next().unwrap());
        let names: BTreeSet<&str> = names
            .filter(|name| !name.is_empty() && *name != "le")
            .collect();
        format!("{name} {names:?}")
    };
    let told: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| with_labels(line.rsplit_once(' ').unwrap().0))
        .map(|series| {
            ["_bucket ", "_sum ", "_count "]
                .iter()
                .fold(series, |series, part| series.replace(part, " "))
        })
        .collect();
    let rows = first_cells(section(README, "Metrics and alerts"));
    let written: BTreeSet<String> = rows.iter().map(|row| with_labels(row)).collect();
    assert_eq!(told, written);
}

/// kubectl's port-forward binds `[::1]` where `127.0.0.1` is taken, so that its port must
/// not be one that a pod of the host's network may have.
#[test]
fn asking_by_hand_takes_a_port_of_one_s_own() {
    let text = section(README, "Why did it say 500?");
    let block = blocks(text, "sh")[0];
    let (_, ports) = block.split_once("port-forward POD ").unwrap();
    let (local, rest) = ports.split_once(':').unwrap();
    assert!(local != "9808" && rest.starts_with("9808 &"), "{block}");
    let url = format!("http://127.0.0.1:{local}/healthz?verbose");
    assert!(block.contains(&url), "{block}");
    assert!(text.contains("`[::1]`") && text.contains("host's network"));
}

/// And what an exec probe's event has is what `--once` prints: once.rs.
#[test]
fn the_ways_to_probe_say_what_an_event_shows() {
    let text = section(USAGE, "Which way should I probe?").replace('\n', " ");
    for words in [
        "`HTTP probe failed with statuscode: 500` and no more",
        "`kubectl describe pod` shows the cause",
        "the one reason to prefer `--once`",
    ] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn the_processors_are_those_that_are_built_for() {
    let packaging = std::fs::read_to_string("packaging/lib.sh").unwrap();
    let (_, names) = packaging.split_once("ARCHITECTURES='").unwrap();
    let names: Vec<&str> = names.split('\'').next().unwrap().split(' ').collect();
    let row = section(README, "Where it differs from upstream")
        .lines()
        .find(|line| line.contains("ppc64le and s390x"))
        .unwrap();
    let here = row.split('|').nth(2).unwrap().replace(" and ", ", ");
    assert_eq!(here.trim().split(", ").collect::<Vec<_>>(), names);
}

/// `args: ["--a", "--b"]` of a manifest.
fn args(line: &str) -> Option<Vec<String>> {
    let (_, list) = line.split_once("args: [")?;
    let (list, _) = list.split_once(']')?;
    let words = list.split(", ").map(|word| word.trim_matches('"'));
    Some(words.map(str::to_owned).collect())
}

#[test]
fn the_arguments_of_each_manifest_are_served() {
    let manifests: Vec<_> = ["yaml", "diff"]
        .iter()
        .flat_map(|language| [blocks(README, language), blocks(USAGE, language)].concat())
        .collect();
    let mut tried = 0;
    for words in manifests
        .iter()
        .flat_map(|manifest| manifest.lines().filter_map(args))
    {
        let dir = Dir::new();
        let _driver = Driver::start(&dir.socket(), &[]);
        // On a port of its own: tests run side by side.
        let words = words.iter().map(|word| {
            let word = word.replace("/csi/csi.sock", &dir.socket());
            word.replace("9808", "0")
        });
        let sidecar = Sidecar::run(sidecar::command().args(words));
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
        tried += 1;
    }
    assert_eq!(tried, 3);
}

/// What links in a document point at, but for other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("https://"))
}

#[test]
fn each_link_of_the_other_documents_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
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
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let found = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(found.exists(), "{name}: {target}");
            if !anchor.is_empty() {
                let there = std::fs::read_to_string(&found).unwrap();
                assert!(has_anchor(&there, anchor), "{name}: {target}");
            }
            // In the bundle it stands beside deploy/, and not beside the rest.
            if name == "docs/airgap.md" {
                assert!(target.starts_with("../deploy/"), "{target}");
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

/// Whether a document has a heading that is linked to by this.
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
fn each_link_into_the_repository_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tried = 0;
    for target in links(README) {
        if let Some(anchor) = target.strip_prefix('#') {
            assert!(has_anchor(README, anchor), "#{anchor}");
        } else if let Some((file, anchor)) = target.split_once('#') {
            let there = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(has_anchor(&there, anchor), "{target}");
        } else {
            assert!(root.join(target).exists(), "{target}");
        }
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

#[test]
fn each_document_is_linked_to() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(root.join("docs")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let target = format!("docs/{name}");
        assert!(links(README).any(|link| link == target), "{target}");
    }
}

/// An operator reads it to the end.
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
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let mut tried = 0;
    for document in [README, BUILDING] {
        let lines = document.lines().flat_map(|line| line.split('`'));
        for words in lines.filter_map(|code| code.strip_prefix("make ")) {
            for target in words.split([' ', '#']).take_while(|word| !word.is_empty()) {
                // "SIGN_KEY=..." is no target.
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

/// The files of a module: `name.rs` and those below `name/`.
fn sources(module: &str) -> Vec<String> {
    let mut found = vec![std::fs::read_to_string(format!("src/{module}.rs")).unwrap()];
    let mut todo = vec![std::path::PathBuf::from(format!("src/{module}"))];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_modules_are_those_of_the_architecture() {
    let levels: std::collections::BTreeMap<&str, u32> = section(ARCHITECTURE, "Modules")
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
    // One way: each imports those of a lower level alone.
    let mut imports = 0;
    for (module, level) in &levels {
        for source in sources(module) {
            // "crate::{a, b}" would be passed over.
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
    for row in section(ARCHITECTURE, "Outside packages").lines() {
        let Some((package, owners)) = row.strip_prefix("| ").and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        // libc is in each file with system calls.
        if ["package", "libc"].contains(&package) {
            continue;
        }
        let name = package.split(' ').next().unwrap().replace('-', "_");
        let owners: BTreeSet<&str> = owners.split('`').skip(1).step_by(2).collect();
        let users: BTreeSet<&str> = section(ARCHITECTURE, "Modules")
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
