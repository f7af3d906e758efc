//! A scrape in which each family has a series, for `make try-deploy`, which tries promtool,
//! Prometheus' own parser, the alerts and the dashboard on it.

use testkit::{Dir, Driver};

use super::support::livenessprobe;

/// The variable with the path of the file for the scrape.
const SCRAPE: &str = "LIVENESSPROBE_SCRAPE";

#[test]
#[ignore = "makes a file for other checks; run: make try-deploy"]
fn a_scrape_has_every_family() {
    let path = std::env::var(SCRAPE).expect(SCRAPE);
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=300ms"]);
    // One connection that fails, and one probe that succeeds.
    assert_eq!(sidecar.healthz().status, 500);
    let _driver = Driver::start(&dir.socket(), &["--name=hostpath.csi.k8s.io"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert_eq!(sidecar.healthz().status, 200);
    let text = sidecar.get("/metrics").body;
    assert_eq!(text.matches("# TYPE ").count(), 9, "{text}");
    std::fs::write(path, text).unwrap();
}
