//! Bad values of the flags and variables that turn other ways to probe on: each ends
//! the process with its code, and names the flag or variable, the value and what would
//! be right. Upstream's flags are in src/flags/tests.rs and command_line.rs.

use super::support::sidecar;

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
    (
        &[],
        Some(("CSI_ENDPOINT", "x")),
        2,
        &["CSI_ENDPOINT", "unix:///path"],
    ),
    (
        &["--once"],
        Some(("CSI_ENDPOINT", "x")),
        2,
        &["CSI_ENDPOINT"],
    ),
    (
        &[],
        Some(("LIVENESS_PROBE_INTERVAL", "often")),
        2,
        &["LIVENESS_PROBE_INTERVAL", "often"],
    ),
    (
        &[],
        Some(("LIVENESS_PROBE_TIMEOUT", "3")),
        2,
        &["LIVENESS_PROBE_TIMEOUT", "no unit"],
    ),
    (
        &[],
        Some(("LIVENESS_PROBE_PATH", "Probe")),
        2,
        &["LIVENESS_PROBE_PATH", "/service/method"],
    ),
    (
        &[],
        Some(("LIVENESS_PROBE_RETRIES", "0")),
        2,
        &["LIVENESS_PROBE_RETRIES", "1 or more"],
    ),
    // A flag that is given has its variable ignored.
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
fn each_is_named_with_what_would_be_right() {
    for (flags, variable, code, words) in CASES {
        let output = sidecar::command()
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
