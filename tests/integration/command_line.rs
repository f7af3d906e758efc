//! The output and the exit codes of the process: `--help`, `--version`, and each error with
//! its message.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use testkit::machine::{in_namespaces, skipped};
use testkit::{Dir, PATIENCE, Process, eventually};

use super::support::livenessprobe;

fn run(flags: &[&str]) -> Output {
    livenessprobe().command().args(flags).output().unwrap()
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
        .args(["-c", "\"$0\" --help >&-", livenessprobe().binary()])
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
        (&["", "--v=5"], "unexpected argument \\\"\\\""),
        (
            &["--http-endpoint=$(POD_IP):9808"],
            "Kubernetes leaves $(POD_IP) alone when POD_IP is not defined",
        ),
        (&["--http-endpoint=fd00::7:9808"], "write [fd00::7]:9808; "),
        (&["--http-endpoint=[]:9808"], "nothing in the brackets"),
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
fn a_port_that_is_taken_ends_with_1_and_its_address() {
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
fn an_address_of_no_interface_ends_with_1() {
    for (endpoint, words) in [
        // TEST-NET-1 (RFC 5737), which no interface has.
        ("192.0.2.1:9808", "no interface of this host"),
        ("no-such-host.invalid:9808", "no-such-host.invalid:9808"),
    ] {
        let output = run(&[&format!("--http-endpoint={endpoint}")]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(words) && text.contains(endpoint), "{text}");
    }
}

/// The interface is new and detects duplicates first. The kernel refuses to bind(2) the
/// address until that has ended.
#[test]
fn an_address_that_comes_later_is_waited_for() {
    let Some(mut command) = in_namespaces(&["--net"]) else {
        return;
    };
    // A pair, because IPv6 detects duplicates only on a link that other hosts may be on.
    let script = "ip link set lo up && ip link add v0 type veth peer name v1 && \
                  echo 3 >/proc/sys/net/ipv6/conf/v0/dad_transmits && \
                  ip link set v1 up && ip link set v0 up && ip addr add fd00::1/64 dev v0 || \
                  exit 77; exec \"$0\" --http-endpoint=[fd00::1]:0";
    let mut process = Process::start(command.args(["sh", "-c", script, livenessprobe().binary()]));
    eventually("a log line or the end", || {
        process.err.count("Listening") > 0 || !process.is_running()
    });
    if !process.is_running() && process.wait().code() == Some(77) {
        skipped("this machine allows no pair of interfaces, or has no IPv6");
        return;
    }
    let log = process.err.all();
    let waiting: Vec<&String> = log
        .iter()
        .filter(|line| line.contains("Waiting for an address"))
        .collect();
    let [line] = waiting.as_slice() else {
        panic!("there must be one line about waiting: {log:#?}");
    };
    assert!(
        line.starts_with('W') && line.contains("[fd00::1]:0"),
        "{line}"
    );
}

#[test]
fn an_address_that_never_comes_is_waited_for_once() {
    let began = Instant::now();
    let output = run(&["--http-endpoint=192.0.2.1:9808"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(5) + PATIENCE, "{took:?}");
    let text = stderr(&output);
    assert_eq!(text.matches("Waiting for an address").count(), 1, "{text}");
    assert!(text.contains("no interface of this host"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_not_waited_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    // localhost has another address, which is free, but kubelet does not use that one.
    for host in ["127.0.0.1", "localhost"] {
        let began = Instant::now();
        let mut process = Process::start(
            livenessprobe()
                .command()
                .arg(format!("--http-endpoint={host}:{port}")),
        );
        let line = process.err.wait_for(0, "address in use");
        assert_eq!(process.wait().code(), Some(1), "{line}");
        assert_eq!(process.err.count("Waiting"), 0);
        assert!(began.elapsed() < Duration::from_secs(4), "{line}");
    }
}

#[test]
fn empty_arguments_at_the_end_are_a_warning() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=100ms", "", ""]);
    let line = sidecar.process.err.wait_for(0, "Empty arguments");
    assert!(
        line.starts_with('W') && line.contains("(2 of them)"),
        "{line}"
    );
    assert_eq!(sidecar.healthz().status, 500);

    let csi_address = format!("--csi-address={}", dir.socket());
    let output = run(&["--once", "--probe-timeout=100ms", &csi_address, ""]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("Empty arguments"), "{output:?}");

    let to = dir.path().join("livenessprobe");
    let output = run(&[&format!("--install={}", to.display()), ""]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("Empty arguments"), "{output:?}");
    assert!(to.exists());
}

#[test]
fn the_last_words_are_in_the_termination_log() {
    for (flags, expected) in [
        ("--bogus", "2\nunknown flag --bogus\n"),
        (
            "--http-endpoint=192.0.2.1:9808",
            "1\ncannot listen on 192.0.2.1:9808: no interface of this host has this address\n",
        ),
        ("--version", "0\n"),
    ] {
        // The file is in /dev, so the sidecar gets a /dev of its own.
        let Some(mut command) = in_namespaces(&["--mount"]) else {
            return;
        };
        let script = "mount -t tmpfs none /dev && : >/dev/termination-log && \
                      \"$0\" \"$1\" >/dev/out 2>&1; echo \"$?\"; cat /dev/termination-log";
        let output = command
            .args(["sh", "-c", script, livenessprobe().binary(), flags])
            .output()
            .unwrap();
        assert_eq!(
            (stdout(&output).as_str(), stderr(&output).as_str()),
            (expected, ""),
            "{flags}"
        );
    }
}

#[test]
fn a_termination_log_that_does_not_exist_is_not_created() {
    let Some(mut command) = in_namespaces(&["--mount"]) else {
        return;
    };
    let script = "mount -t tmpfs none /dev && \"$0\" --bogus >/dev/out 2>&1; echo \"$?\"; ls /dev";
    let output = command
        .args(["sh", "-c", script, livenessprobe().binary()])
        .output()
        .unwrap();
    assert_eq!(
        (stdout(&output).as_str(), stderr(&output).as_str()),
        ("2\nout\n", "")
    );
}

#[test]
fn it_listens_and_goes_on_without_a_driver() {
    let dir = Dir::new();
    let mut sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=300ms"]);
    for _ in 0..3 {
        assert_eq!(sidecar.healthz().status, 500);
    }
    assert!(sidecar.process.is_running());
}

#[test]
fn flags_of_old_manifests_are_accepted_and_reported_once() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(
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
