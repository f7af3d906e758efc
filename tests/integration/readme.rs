//! The examples and tables of README.md and docs/usage.md against the binary. Flags are
//! compared with `--help` in src/flags/tests.rs.

use std::any::Any;
use std::collections::BTreeSet;
use std::os::unix::net::{UnixListener, UnixStream};

use testkit::seccomp::refuse_to_connect;
use testkit::sys::shorten_queue;
use testkit::{Dir, Driver, Sidecar, h2};

use super::support::livenessprobe;

const README: &str = include_str!("../../README.md");
const USAGE: &str = include_str!("../../docs/usage.md");

/// Returns the text of a document between this heading and the next one.
fn section(document: &'static str, heading: &str) -> &'static str {
    let (_, rest) = document
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading:?}"));
    rest.split("\n## ").next().unwrap()
}

/// Returns the fenced blocks of this language.
fn blocks(text: &'static str, language: &str) -> Vec<&'static str> {
    let parts = text.split("```").skip(1).step_by(2);
    parts
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// Returns the code at the beginning of each row of a table.
fn first_cells(text: &'static str) -> Vec<&'static str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

/// Returns whether `text` is `pattern`, which may end with `...` for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once("...") {
        // The error of a driver may have no text.
        Some((begin, "")) => text.starts_with(begin),
        Some(_) => panic!("{pattern:?}: only an end can be left open"),
        None => text == pattern,
    }
}

/// Puts a driver, or something else, at the place of the driver's socket. It stays there
/// until the value is dropped.
type Fault = fn(&Dir) -> Box<dyn Any>;

fn driver(dir: &Dir, flags: &[&str]) -> Box<dyn Any> {
    Box::new(Driver::start(&dir.socket(), flags))
}

fn listening(dir: &Dir) -> UnixListener {
    UnixListener::bind(dir.socket()).unwrap()
}

#[test]
fn each_fault_gets_the_reason_in_the_table() {
    // They are in the order of the table.
    let faults: &[(&str, Fault)] = &[
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
                let reply = h2::no_grpc(call.stream, "502", "application/grpc", b"");
                call.send(&reply);
            }))
        }),
        ("a proxy with a page", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let reply = h2::no_grpc(call.stream, "502", "text/html", b"<html></html>");
                call.send(&reply);
            }))
        }),
        ("another service", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let reply = [
                    h2::reply_begins(call.stream),
                    h2::reply_ends(call.stream, "12"),
                ];
                call.send(&reply.concat());
            }))
        }),
        ("a long reply", |dir| driver(dir, &["--padding=100000"])),
        ("no message", |dir| {
            Box::new(h2::serve(dir.socket().as_ref(), |mut call| {
                let reply = h2::ok_without_message(call.stream);
                call.send(&reply);
            }))
        }),
        ("an error of the driver", |dir| {
            driver(dir, &["--error=9", "--message=disk on fire"])
        }),
    ];
    let rows = first_cells(section(README, "Why did it say 500?"));
    assert_eq!(rows.len(), faults.len(), "{rows:#?}");
    for (row, (what, fault)) in rows.iter().zip(faults) {
        let dir = Dir::new();
        let _alive = fault(&dir);
        // The timeout is the default one, because one of the errors names it.
        let sidecar = match *what {
            "no permission" => livenessprobe().start_without_permission(&dir),
            "a security module" => {
                let mut command = livenessprobe().serving(&dir.socket());
                refuse_to_connect(&mut command, &dir.socket(), libc::EACCES);
                Sidecar::run(&mut command)
            }
            _ => livenessprobe().start(&dir.socket(), &[]),
        };
        let response = sidecar.healthz();
        assert_eq!(response.status, 500, "{what}");
        let body = response.body.replace(&dir.socket(), "/csi/csi.sock");
        assert!(is_like(&body, row), "{what}: {body:?} is not {row:?}");
    }
}

#[test]
fn the_verbose_response_has_these_lines() {
    let block = blocks(section(USAGE, "What it answers"), "text")[0];
    let (command, expected) = block.split_once('\n').unwrap();
    assert_eq!(command, "$ curl 'http://127.0.0.1:9808/healthz?verbose'");
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    let body = sidecar.get("/healthz?verbose").body;
    // A time and a duration differ in each run.
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
fn the_log_lines_have_this_form() {
    let block = blocks(section(USAGE, "Logs"), "text")[0];
    let dir = Dir::new();
    drop(listening(&dir));
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.healthz();
    sidecar.process.err.wait_for(0, "Probe failed");
    let log = sidecar.log().replace(&dir.socket(), "/csi/csi.sock");
    for line in block.lines() {
        // The header, whose form logs.rs tests, and values that differ in each run are left
        // out.
        let comparable = |line: &str| {
            let (_, message) = line.split_once("] ").unwrap();
            let words = message.replace("unknown-driver", "example.csi.livenessprobe");
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
            log.lines()
                .any(|found| comparable(found) == comparable(line)),
            "{line}\nis not in\n{log}"
        );
    }
}

#[test]
fn the_metrics_are_those_in_the_table() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=200ms"]);
    // A failure and a success, so that each family has a series.
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
    let served: BTreeSet<String> = text
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
    let documented: BTreeSet<String> = rows.iter().map(|row| with_labels(row)).collect();
    assert_eq!(served, documented);
}

/// Returns the arguments in a line of a manifest: `args: ["--a", "--b"]`.
fn args(line: &str) -> Option<Vec<String>> {
    let (_, list) = line.split_once("args: [")?;
    let (list, _) = list.split_once(']')?;
    let words = list.split(", ").map(|word| word.trim_matches('"'));
    Some(words.map(str::to_owned).collect())
}

#[test]
fn the_arguments_of_each_manifest_work() {
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
        // The kernel chooses the port, because tests run side by side.
        let words = words.iter().map(|word| {
            let word = word.replace("/csi/csi.sock", &dir.socket());
            word.replace("9808", "0")
        });
        let sidecar = Sidecar::run(livenessprobe().command().args(words));
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
        tried += 1;
    }
    assert_eq!(tried, 3);
}
