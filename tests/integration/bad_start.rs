//! A start that fails before gRPC starts, while it starts, or afterwards. It ends with an exit
//! code and the cause, and never by a signal.

use std::process::Command;

use testkit::Dir;

use super::support::livenessprobe;

#[test]
fn with_too_few_descriptors_it_ends_with_1_and_the_cause() {
    let dir = Dir::new();
    let program = livenessprobe().command();
    let mut failed = 0;
    let mut named = 0;
    for limit in 4..32 {
        // timeout(1) ends a sidecar that can serve, and then exits with 124.
        let output = Command::new("sh")
            .args(["-c", "ulimit -n $0; exec timeout 0.5 \"$@\""])
            .arg(limit.to_string())
            .arg(program.get_program())
            .args(program.get_args())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=127.0.0.1:0")
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(124) => {}
            Some(1) => {
                let last = err.lines().last().unwrap_or_default();
                assert!(
                    last.starts_with('E') && last.contains("err="),
                    "{limit}: {err}"
                );
                failed += 1;
                named += usize::from(last.contains("RLIMIT_NOFILE"));
                assert!(
                    !last.contains("cannot serve HTTP any more"),
                    "{limit}: {err}"
                );
            }
            code => panic!("{limit}: {code:?}, {err}"),
        }
    }
    assert!(failed > 5, "{failed}");
    // The message names the limit, if there are enough descriptors to get so far.
    assert!(named > 5, "{named} of {failed}");
}
