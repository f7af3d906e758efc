//! Floods of connections, and honest clients that pause between their connection and their
//! request, as kubelet does on a node that is short of processor time. Each honest client
//! gets its response promptly. `make hostile` runs all floods.

mod crowds;
mod silent;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::flood::{Attacker, Source, get_politely};
use testkit::{Dir, Driver, Sidecar};

use super::support::livenessprobe;
use super::support::siege::{MEMORY, is_full};
use super::support::threads::event_loop;

/// How long kubelet waits by default (`timeoutSeconds`).
const KUBELET: Duration = Duration::from_secs(1);
/// How long a response may take on a machine that has a processor to spare.
const PROMPT: Duration = Duration::from_millis(500);

const ANOTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const KUBELETS_OWN: Source = Source::One(Ipv4Addr::LOCALHOST);
const ANOTHER: Source = Source::One(ANOTHER_ADDRESS);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// Starts a sidecar that may have so many descriptors.
fn start(dir: &Dir, descriptors: u32) -> Sidecar {
    Sidecar::run(Command::new("sh").args([
        "-c",
        &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""),
        livenessprobe().binary(),
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]))
}

/// Returns the processor time that the sidecar has used so far.
fn processor_time(sidecar: &Sidecar) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sidecar.pid)).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().unwrap())
        .sum();
    // USER_HZ is 100 on every architecture that the sidecar is built for (time(7)).
    Duration::from_millis(10) * ticks
}

/// Sends the requests of a hundred clients that pause, during a flood.
fn withstand(attacker: Attacker, descriptors: u32) {
    const PAUSES: [u64; 7] = [0, 5, 15, 50, 100, 400, 500];
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, descriptors);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    event_loop(&sidecar);
    let threads_before = sidecar.status("Threads");
    let flood = attacker.begin(sidecar.address);
    let (began, used) = (Instant::now(), processor_time(&sidecar));
    let answers = get_politely(sidecar.address, 100, &PAUSES.map(Duration::from_millis));
    let used = processor_time(&sidecar).saturating_sub(used);
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
    let rate = flood.rate();
    let slowest = answers.iter().map(|answer| answer.took).max();
    let slowest = slowest.unwrap_or_default();
    let (memory, threads) = (sidecar.status("VmHWM"), sidecar.status("Threads"));
    drop(flood);
    println!(
        "{attacker:?}, {descriptors} descriptors: {rate:.0} connections a second, slowest response \
         {slowest:?}, {share:.2} of a processor, {memory} KiB, {threads} threads"
    );
    for answer in &answers {
        assert_eq!(answer.line, "HTTP/1.1 200 OK", "{answer:?}");
        assert!(answer.took < KUBELET, "{answer:?}");
    }
    let late = answers.iter().filter(|answer| answer.took > PROMPT).count();
    assert!(late == 0 || std::env::var_os("CI").is_some(), "{late} late");
    assert!(memory <= MEMORY, "{memory} KiB resident");
    assert!(
        threads <= threads_before + THREADS,
        "{threads_before} threads, then {threads}"
    );
    let each = if attacker.sends.is_empty() {
        SILENT
    } else {
        ASKING
    };
    let most = AT_REST + each.as_secs_f64() * rate;
    assert!(share < most, "{share} of a processor, and {most} at most");
    if let Some(wanted) = attacker.rate {
        assert!(
            rate > 0.8 * f64::from(wanted),
            "{rate} a second, and {wanted} were wanted"
        );
    }
}

/// How many more threads than before may answer requests.
const THREADS: u64 = 4;

/// The share of a processor that the responses to honest clients may take.
const AT_REST: f64 = 0.25;
/// How much processor time a connection that sends nothing may take; 17 us were measured.
const SILENT: Duration = Duration::from_micros(35);
/// The same for a connection that sends something; 28 us were measured.
const ASKING: Duration = Duration::from_micros(55);

fn withstand_from(source: Source, rate: Option<u32>) {
    for kept in [1_500, 4_000] {
        for descriptors in [1024, 64] {
            let attacker = Attacker {
                source,
                rate,
                kept,
                sends: "",
            };
            withstand(attacker, descriptors);
        }
    }
}

#[test]
fn a_slow_flood_from_kubelet_s_own_address() {
    withstand_from(KUBELETS_OWN, Some(1_300));
}

#[test]
fn a_slow_flood_from_another_address() {
    withstand_from(ANOTHER, Some(1_300));
}

#[test]
fn a_fast_flood_from_kubelet_s_own_address() {
    withstand_from(KUBELETS_OWN, Some(10_000));
}

#[test]
fn a_fast_flood_from_another_address() {
    withstand_from(ANOTHER, Some(10_000));
}

#[test]
fn a_flood_at_full_speed_from_kubelet_s_own_address() {
    withstand_from(KUBELETS_OWN, None);
}

#[test]
fn a_flood_at_full_speed_from_another_address() {
    withstand_from(ANOTHER, None);
}

/// The kernel keeps as many silent connections as the listener's backlog has places, here
/// 4096 (`BACKLOG`). It accepts those beyond that at once, by SYN cookies, and then the
/// sidecar closes connections of the address that holds most.
#[test]
fn a_flood_beyond_the_backlog_from_another_address() {
    let attacker = Attacker {
        source: ANOTHER,
        rate: None,
        kept: 8_000,
        sends: "",
    };
    withstand(attacker, 1024);
}

#[test]
fn a_flood_of_single_bytes() {
    for source in [KUBELETS_OWN, ANOTHER] {
        let attacker = Attacker {
            source,
            rate: None,
            kept: 1_500,
            sends: "G",
        };
        withstand(attacker, 1024);
    }
}

#[test]
fn a_flood_of_requests_that_are_not_waited_for() {
    for source in [KUBELETS_OWN, ANOTHER] {
        let attacker = Attacker {
            source,
            rate: None,
            kept: 1_500,
            sends: "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        withstand(attacker, 1024);
    }
}

/// Measures what SECURITY.md says about a flood from kubelet's own address, which is more
/// than the sidecar withstands.
#[test]
fn a_flood_beyond_the_backlog_from_kubelet_s_own_address_is_measured() {
    if !is_full() {
        return;
    }
    let own = [Some(5_000), Some(10_000), None].map(|rate| (KUBELETS_OWN, rate));
    for (source, rate) in own.into_iter().chain([(Source::Many, None)]) {
        let attacker = Attacker {
            source,
            rate,
            kept: 12_000,
            sends: "",
        };
        for descriptors in [1024, 64] {
            let dir = Dir::new();
            let _driver = Driver::start(&dir.socket(), &[]);
            let sidecar = start(&dir, descriptors);
            let flood = attacker.begin(sidecar.address);
            for pause in [0, 5, 15, 50, 100, 400] {
                let pauses = [Duration::from_millis(pause)];
                let answers = get_politely(sidecar.address, 25, &pauses);
                let good = answers
                    .iter()
                    .filter(|answer| answer.line == "HTTP/1.1 200 OK")
                    .count();
                let slowest = answers.iter().map(|answer| answer.took).max();
                println!(
                    "{attacker:?}, {descriptors} descriptors, {:.0} a second, pause {pause} ms: \
                     {good} of 25 answered, the slowest after {slowest:?}",
                    flood.rate()
                );
                // A request that comes with its connection is read when that is accepted,
                // unless the flood has more addresses than there are places.
                let is_one = matches!(source, Source::One(_));
                assert!(!is_one || pause > 0 || good == 25, "{good} of 25");
            }
            drop(flood);
            assert_eq!(sidecar.healthz().both(), (200, "ok"));
        }
    }
}
