//! What the process prints and how it ends: `--help`, `--version`, and every
//! exit code with its message.

use std::net::TcpListener;
use std::process::{Command, Output};

use super::support::sidecar;
use super::support::{Dir, Sidecar, in_namespaces};

fn run(flags: &[&str]) -> Output {
    sidecar::command().args(flags).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_goes_to_stdout_and_ends_with_0() {
    for flag in ["--help", "-help", "-h"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), csi_livenessprobe::flags::help());
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn version_goes_to_stdout_and_ends_with_0() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    let (begin, revision) = text.trim_end().split_once(" (").unwrap();
    assert_eq!(begin, concat!("livenessprobe ", env!("CARGO_PKG_VERSION")));
    assert!(revision.len() > 1 && revision.ends_with(')'), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_closed_stdout_is_no_error() {
    let output = Command::new("sh")
        .args(["-c", "\"$0\" --help >&-", sidecar::binary()])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn bad_flags_end_with_2_and_a_hint() {
    for (flags, words) in [
        (&["--bogus"][..], "unknown flag --bogus"),
        (&["--v=high"], "invalid value \\\"high\\\" for --v"),
        (
            &["--csi-address=unix://csi/csi.sock"],
            "unix:///csi/csi.sock",
        ),
        (&["serve"], "unexpected argument"),
    ] {
        let output = run(flags);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words) && text.contains("--help"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with('E'), "{text}");
    }
}

#[test]
fn an_error_after_logging_format_json_is_json() {
    let output = run(&["--logging-format=json", "--bogus"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.starts_with("{\"ts\":") && text.ends_with("}\n"),
        "{text}"
    );
}

#[test]
fn flags_that_exclude_each_other_end_with_1() {
    for (other, name) in [
        ("--health-port=9909", "--health-port"),
        ("--metrics-address=:9909", "--metrics-address"),
    ] {
        let output = run(&["--http-endpoint=:9808", other]);
        assert_eq!(output.status.code(), Some(1));
        let wanted = format!("Only one of `{name}` and `--http-endpoint` can be explicitly set");
        assert!(stderr(&output).contains(&wanted), "{}", stderr(&output));
    }
}

#[test]
fn a_port_that_is_taken_ends_with_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in [
        format!("--http-endpoint={address}"),
        format!("--metrics-address={address}"),
    ] {
        let output =
            run(&[&flag, "--health-port=0"][..if flag.starts_with("--http") { 1 } else { 2 }]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains(&address) && text.contains("address in use"),
            "{text}"
        );
    }
}

#[test]
fn an_address_that_is_not_here_ends_with_1() {
    for (endpoint, words) in [
        // TEST-NET-1 (RFC 5737): on no interface.
        ("192.0.2.1:9808", "no interface of this host"),
        ("no-such-host.invalid:9808", "no-such-host.invalid:9808"),
    ] {
        let output = run(&[&format!("--http-endpoint={endpoint}")]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(words) && text.contains(endpoint), "{text}");
    }
}

#[test]
fn the_reason_of_a_failing_end_is_left_for_kubelet() {
    for (flags, left) in [
        ("--bogus", "2\nunknown flag --bogus\n"),
        (
            "--http-endpoint=192.0.2.1:9808",
            "1\ncannot listen on 192.0.2.1:9808: no interface of this host has this address\n",
        ),
        ("--version", "0\n"),
    ] {
        // A /dev of its own, where that file is.
        let Some(mut command) = in_namespaces(&["--mount"]) else {
            return;
        };
        let script = "mount -t tmpfs none /dev && : >/dev/termination-log && \
                      \"$0\" \"$1\" >/dev/out 2>&1; echo \"$?\"; cat /dev/termination-log";
        let output = command
            .args(["sh", "-c", script, sidecar::binary(), flags])
            .output()
            .unwrap();
        assert_eq!(
            (stdout(&output).as_str(), stderr(&output).as_str()),
            (left, ""),
            "{flags}"
        );
    }
}

#[test]
fn no_termination_log_is_made_where_there_is_none() {
    let Some(mut command) = in_namespaces(&["--mount"]) else {
        return;
    };
    let script = "mount -t tmpfs none /dev && \"$0\" --bogus >/dev/out 2>&1; echo \"$?\"; ls /dev";
    let output = command
        .args(["sh", "-c", script, sidecar::binary()])
        .output()
        .unwrap();
    assert_eq!(
        (stdout(&output).as_str(), stderr(&output).as_str()),
        ("2\nout\n", "")
    );
}

#[test]
fn it_listens_before_there_is_a_driver_and_never_ends_for_want_of_one() {
    let dir = Dir::new();
    let mut sidecar = Sidecar::start(&dir.socket(), &["--probe-timeout=300ms"]);
    for _ in 0..3 {
        assert_eq!(sidecar.healthz().status, 500);
    }
    assert!(sidecar.process.is_running());
}

#[test]
fn old_manifests_flags_are_accepted_and_named_once() {
    let dir = Dir::new();
    let sidecar = Sidecar::start(
        &dir.socket(),
        &[
            "--connection-timeout=15s",
            "--logtostderr",
            "--log_dir=/x",
            "--v=4",
        ],
    );
    let line = sidecar.process.err.wait_for(0, "without effect");
    assert!(
        line.starts_with('W') && line.contains("\"--connection-timeout --logtostderr --log_dir\""),
        "{line}"
    );
    assert_eq!(sidecar.process.err.count("without effect"), 1);
}
