//! The memory and time of the binary that ships, against the figures in `docs/footprint.md`.
//! `make try-static` runs these tests one after the other: the binary that `cargo build` links
//! against glibc needs more, and so does one on a busy machine.

use std::time::{Duration, Instant};

use testkit::{Dir, Driver};

use super::support::livenessprobe;

const PROBES: usize = 1000;

/// In KiB: 3.0 MB in all, of which 0.5 MB are not shared with any file.
const RESIDENT_MAX: u64 = 3_000_000 / 1024;
const ANONYMOUS_MAX: u64 = 500_000 / 1024;

#[test]
#[ignore = "about the static binary alone; run: make try-static"]
fn after_a_thousand_probes_it_is_as_small_as_documented() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
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

/// In KiB, for each further driver.
const EXTRA_MAX: u64 = 100;

#[test]
#[ignore = "about the static binary alone; run: make try-static"]
fn a_further_driver_is_as_small_as_documented() {
    const EXTRA: usize = 10;
    let resident = |extra: usize| {
        let dirs: Vec<Dir> = (0..=extra).map(|_| Dir::new()).collect();
        let _drivers: Vec<Driver> = dirs
            .iter()
            .map(|dir| Driver::start(&dir.socket(), &[]))
            .collect();
        let flags: Vec<String> = (1..=extra)
            .map(|number| format!("--extra-csi-address=n{number}={}", dirs[number].socket()))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = livenessprobe().start(&dirs[0].socket(), &flags);
        let mut paths = vec!["/healthz".to_owned()];
        paths.extend((1..=extra).map(|number| format!("/healthz/n{number}")));
        for _ in 0..100 {
            for path in &paths {
                assert_eq!(sidecar.get(path).both(), (200, "ok"));
            }
        }
        assert_eq!(sidecar.get("/metrics").status, 200);
        sidecar.status("VmRSS")
    };
    let (one, many) = (resident(0), resident(EXTRA));
    println!("{one} KiB with one driver, {many} KiB with {EXTRA} more");
    let each = many.saturating_sub(one) / u64::try_from(EXTRA).unwrap();
    assert!(each <= EXTRA_MAX, "{each} KiB for each");
}

/// From start to exit, against a healthy driver.
const ONCE_MAX: Duration = Duration::from_millis(15);

#[test]
#[ignore = "about the static binary alone; run: make try-static"]
fn a_single_probe_is_as_quick_as_documented() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            let output = livenessprobe()
                .command()
                .args(["--once", &format!("--csi-address={}", dir.socket())])
                .output()
                .unwrap();
            assert_eq!(output.stdout, b"ok\n");
            began.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "from start to exit {:?}, {:?} in the middle",
        times[0], times[10]
    );
    assert!(times[10] < ONCE_MAX, "{times:?}");
}
