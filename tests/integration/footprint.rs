//! The memory that the shipped binary takes, held to what `docs/footprint.md`
//! promises. For `make try-static`: what `cargo build` links against glibc takes
//! more.

use super::support::{Dir, Driver, Sidecar};

const PROBES: usize = 1000;

/// KiB: 3.0 MiB in all, of which 0.5 MiB belong to this process alone.
const RESIDENT_MAX: u64 = 3 * 1024;
const ANONYMOUS_MAX: u64 = 512;

#[test]
#[ignore = "about the static binary alone; run: make try-static"]
fn after_a_thousand_probes_it_is_as_small_as_promised() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::start(&dir.socket(), &[]);
    for _ in 0..PROBES {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
    let [resident, anonymous, threads] =
        ["VmRSS", "RssAnon", "Threads"].map(|field| sidecar.status(field));
    println!(
        "after {PROBES} probes: {resident} KiB resident, {anonymous} KiB anonymous, \
         {threads} threads"
    );
    assert!(resident <= RESIDENT_MAX, "{resident} KiB resident");
    assert!(anonymous <= ANONYMOUS_MAX, "{anonymous} KiB anonymous");
}
