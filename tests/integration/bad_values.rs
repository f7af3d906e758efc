//! Bad values of the flags for other ways to probe. Each ends the process with an exit code,
//! and the message names the flag, the value and what would be right. A bad value of a
//! variable is a warning. src/flags/tests.rs and command_line.rs test upstream's flags.

use testkit::{Dir, Driver, Sidecar, eventually};

use super::support::livenessprobe;

/// Arguments, a variable, the exit code, and words of the message.
type Case = (
    &'static [&'static str],
    Option<(&'static str, &'static str)>,
    i32,
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        &["--endpoint=x"],
        None,
        2,
        &["--endpoint", "\\\"x\\\"", "unix:///path"],
    ),
    (
        &["--endpoint=/a", "--csi-address=/b"],
        None,
        2,
        &["--endpoint=/a", "--csi-address=/b", "leave out one"],
    ),
    (&["--timeout=3"], None, 2, &["--timeout", "no unit"]),
    (
        &["--timeout=1s", "--probe-timeout=2s"],
        None,
        2,
        &["--timeout=1s", "--probe-timeout=2s"],
    ),
    (
        &["--probe-path=Probe"],
        None,
        2,
        &["--probe-path", "/csi.v1.Identity/Probe"],
    ),
    (
        &["--service=x"],
        None,
        2,
        &["--service=x", "/grpc.health.v1.Health/Check"],
    ),
    (
        &["--interval=0"],
        None,
        2,
        &["--interval", "longer than zero"],
    ),
    (&["--interval=often"], None, 2, &["--interval", "often"]),
    (&["--retries=0"], None, 2, &["--retries", "1 or more"]),
    (
        &["--health-file="],
        None,
        2,
        &["--health-file", "name a file"],
    ),
    (
        &["--health-file=/x/"],
        None,
        2,
        &["--health-file", "name the file in it"],
    ),
    (&["--install="], None, 2, &["--install", "name a file"]),
    (
        &["--install=/x", "--once"],
        None,
        2,
        &["--install", "leave out --once"],
    ),
    (&["--once=maybe"], None, 2, &["--once", "true or false"]),
    (&["--once", "--bogus"], None, 2, &["unknown flag --bogus"]),
    (
        &["--once", "--interval=1s"],
        None,
        2,
        &["--once", "leave out --interval"],
    ),
    (
        &["--extra-csi-address=nfs"],
        None,
        2,
        &["--extra-csi-address", "NAME=ADDRESS"],
    ),
    (
        &["--extra-csi-address=all=/a"],
        None,
        2,
        &["\\\"all\\\"", "choose another"],
    ),
    (
        &["--extra-csi-address=a/b=/a"],
        None,
        2,
        &["a/b", "letters, digits"],
    ),
    (
        &["--extra-csi-address=a=/a", "--extra-csi-address=a=/b"],
        None,
        2,
        &["\\\"a\\\" twice"],
    ),
    (
        &["--extra-csi-address=a=/a", "--retries=1"],
        None,
        2,
        &["--extra-csi-address", "--retries"],
    ),
    // A variable that cannot be understood leaves the exit code to the outcome.
    (
        &["--once", "--timeout=100ms"],
        Some(("CSI_ENDPOINT", "/none/$(X)/csi.sock/")),
        3,
        &["not understood", "CSI_ENDPOINT", "leaves $(X) alone"],
    ),
    (
        &["--once", "--csi-address=/none/csi.sock"],
        Some(("LIVENESS_PROBE_TIMEOUT", "soon")),
        3,
        &["LIVENESS_PROBE_TIMEOUT", "soon", "the default, 3s, is used"],
    ),
    (
        &[
            "--once",
            "--csi-address=/none/csi.sock",
            "--timeout=100ms",
            "--service=x",
        ],
        Some(("LIVENESS_PROBE_PATH", "Probe")),
        3,
        &["LIVENESS_PROBE_PATH", "/service/method"],
    ),
    // A variable is ignored when its flag is given.
    (
        &["--csi-address=/a", "--version"],
        Some(("CSI_ENDPOINT", "x")),
        0,
        &[],
    ),
    (
        &["--once", "--csi-address=/none/csi.sock", "--timeout=100ms"],
        Some(("CSI_ENDPOINT", "x")),
        3,
        &[],
    ),
    (
        &["--once", "--csi-address=/none/csi.sock", "--timeout=100ms"],
        Some(("LIVENESS_PROBE_TIMEOUT", "x")),
        3,
        &[],
    ),
];

#[test]
fn each_message_says_what_would_be_right() {
    for (flags, variable, code, words) in CASES {
        let output = livenessprobe()
            .command()
            .args(*flags)
            .envs(*variable)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let what = format!("{flags:?} {variable:?}: {text}");
        assert_eq!(output.status.code(), Some(*code), "{what}");
        for word in *words {
            assert!(text.contains(word), "{word}: {what}");
        }
    }
}

/// A variable and its value, flags, and words of the warning.
type Shared = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// Variables that charts and `ConfigMap`s give to all containers of a pod.
const SHARED: &[Shared] = &[
    (
        "CSI_ENDPOINT",
        "x",
        &[],
        &["unix:///path", "the default, /run/csi/socket, is used"],
    ),
    (
        "LIVENESS_PROBE_TIMEOUT",
        "3",
        &[],
        &["no unit", "the default, 3s, is used"],
    ),
    ("LIVENESS_PROBE_PATH", "Probe", &[], &["/service/method"]),
    (
        "LIVENESS_PROBE_INTERVAL",
        "30s",
        &[],
        &["changes nothing", "--interval", "--health-file"],
    ),
    (
        "LIVENESS_PROBE_INTERVAL",
        "often",
        &["--retries=3"],
        &["often", "the default, 10s, is used"],
    ),
    (
        "LIVENESS_PROBE_INTERVAL",
        "30s",
        &["--extra-csi-address=a=/a"],
        &["changes nothing", "--extra-csi-address"],
    ),
    (
        "LIVENESS_PROBE_RETRIES",
        "0",
        &["--interval=1h"],
        &["1 or more", "the default, 3, is used"],
    ),
    (
        "LIVENESS_PROBE_RETRIES",
        "0",
        &[],
        &["changes nothing", "--retries"],
    ),
    (
        "LIVENESS_PROBE_PATH",
        "/x.Y/Z",
        &["--service=s"],
        &["/grpc.health.v1.Health/Check"],
    ),
    (
        "POD_IP",
        "",
        &["--http-endpoint=:0"],
        &["on every address", "POD_IP is set and empty"],
    ),
];

#[test]
fn no_variable_turns_http_off_or_ends_the_process() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--health=1"]);
    for (name, value, flags, words) in SHARED {
        let mut command = livenessprobe().command();
        command.env(name, value).args(*flags);
        if *name != "CSI_ENDPOINT" {
            command.arg(format!("--csi-address={}", dir.socket()));
        }
        if *name != "POD_IP" {
            command.arg("--health-port=0");
        }
        let mut sidecar = Sidecar::run(&mut command);
        let (what, log) = (format!("{name}={value} {flags:?}"), sidecar.log());
        assert!(
            log.lines()
                .any(|line| line.starts_with('W') && words.iter().all(|word| line.contains(word))),
            "{what}: {log}"
        );
        assert!(log.contains(name), "{what}: {log}");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], sidecar.address.port()));
        let response = testkit::http::get(address, "/healthz");
        let expected = if *name == "CSI_ENDPOINT" { 500 } else { 200 };
        assert_eq!(response.status, expected, "{what}: {response:?}");
        assert!(sidecar.process.is_running(), "{what}");
    }
}

#[test]
fn an_endpoint_without_its_third_slash_reaches_the_driver() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    // Drivers read unix://tmp/... as /tmp/...
    let endpoint = format!("unix://{}", dir.socket().trim_start_matches('/'));
    let sidecar = Sidecar::run(
        livenessprobe()
            .command()
            .env("CSI_ENDPOINT", &endpoint)
            .arg("--http-endpoint=127.0.0.1:0"),
    );
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert_eq!(sidecar.process.err.count("not understood"), 0);
    // In a flag it is refused.
    let output = livenessprobe()
        .command()
        .arg(format!("--csi-address={endpoint}"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    eventually("a probe at the driver", || {
        driver.process.out.count("probe end") >= 1
    });
}

#[test]
fn a_warning_has_the_form_of_the_log() {
    let dir = Dir::new();
    let sidecar = Sidecar::run(
        livenessprobe()
            .serving(&dir.socket())
            .env("LIVENESS_PROBE_TIMEOUT", "x\"\n\u{1b}")
            .arg("--logging-format=json"),
    );
    let line = sidecar.process.err.wait_for(0, "not understood");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("LIVENESS_PROBE_TIMEOUT"), "{reason}");
}
