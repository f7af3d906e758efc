//! A start that fails, before gRPC has begun, while it begins and afterwards: it ends with an
//! exit code and its cause, and never by a signal.

use std::process::Command;

use testkit::Dir;

use super::support::livenessprobe;

#[test]
fn with_too_few_descriptors_it_ends_with_1_and_the_cause() {
    let dir = Dir::new();
    let product = livenessprobe().command();
    let mut failed = 0;
    let mut named = 0;
    for limit in 4..32 {
        // One that can serve is ended by timeout(1), which then says 124.
        let output = Command::new("sh")
            .args(["-c", "ulimit -n $0; exec timeout 0.5 \"$@\""])
            .arg(limit.to_string())
            .arg(product.get_program())
            .args(product.get_args())
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
    // What is missing is said by name, wherever there is enough to get that far.
    assert!(named > 5, "{named} of {failed}");
}
