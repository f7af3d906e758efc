//! Floods of silent connections, and honest clients whose request follows their
//! connection a little later, as kubelet's does on a node that is short of processor.
//! Each of them is answered, and promptly. `make hostile` runs all floods.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::flood::{Attacker, Source, get_politely};
use testkit::{Dir, Driver, Sidecar, eventually};

use super::support::siege::{MEMORY, connect, crowd, crowd_from, is_full, reset};
use super::support::{livenessprobe, requests_at_rest};

/// What kubelet waits by default (`timeoutSeconds`).
const KUBELET: Duration = Duration::from_secs(1);
/// What a client waits for its answer at most, on a machine with a processor to spare.
const PROMPT: Duration = Duration::from_millis(500);

const ANOTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const KUBELETS_OWN: Source = Source::One(Ipv4Addr::LOCALHOST);
const ANOTHER: Source = Source::One(ANOTHER_ADDRESS);

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A sidecar that may have so many descriptors.
fn start(dir: &Dir, descriptors: u32) -> Sidecar {
    Sidecar::run(Command::new("sh").args([
        "-c",
        &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""),
        livenessprobe().binary(),
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]))
}

/// Processor time so far.
fn processor_time(sidecar: &Sidecar) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sidecar.pid)).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().unwrap())
        .sum();
    // USER_HZ is 100 on every architecture that Linux has here (time(7)).
    Duration::from_millis(10) * ticks
}

/// A hundred clients that pause while a attacker floods a sidecar.
fn withstand(attacker: Attacker, descriptors: u32) {
    const PAUSES: [u64; 7] = [0, 5, 15, 50, 100, 400, 500];
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, descriptors);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    // tiny_http's spare threads of the start may end meanwhile, and others take over.
    requests_at_rest(&sidecar);
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
        "{attacker:?}, {descriptors} descriptors: {rate:.0} connections a second, slowest answer \
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
    let a_connection = if attacker.sends.is_empty() {
        SILENT
    } else {
        ASKING
    };
    let most = AT_REST + a_connection.as_secs_f64() * rate;
    assert!(share < most, "{share} of a processor, and {most} at most");
    if let Some(wanted) = attacker.rate {
        assert!(
            rate > 0.8 * f64::from(wanted),
            "{rate} a second, and {wanted} were wanted"
        );
    }
}

/// Threads that requests may have started since: as many as there are streams.
const THREADS: u64 = 4;

/// What of a processor the clients that are answered may take.
const AT_REST: f64 = 0.25;
/// What each connection of a flood may take that says nothing; 17 us were measured.
const SILENT: Duration = Duration::from_micros(35);
/// And each that says something; 28 us were measured.
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
/// 4096 (`BACKLOG`). It lets those beyond that through at once, by SYN cookies, and then
/// the address that holds most gives way.
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

/// What SECURITY.md says of the same from kubelet's own address: this is where it ends.
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
                // unless attackers have more addresses than there are places.
                let is_one = matches!(source, Source::One(_));
                assert!(!is_one || pause > 0 || good == 25, "{good} of 25");
            }
            // It lives, and is well afterwards.
            drop(flood);
            assert_eq!(sidecar.healthz().both(), (200, "ok"));
        }
    }
}

/// So many clients that connect at once and ask one after the other within half a second;
/// gives the first lines of their answers. In one thread: each of 400 would let more time
/// pass than it should, on a machine that has two processors.
fn ask_at_once(sidecar: &Sidecar, count: u32) -> Vec<String> {
    let mut clients = crowd(sidecar.address, usize::try_from(count).unwrap(), b"");
    let began = Instant::now();
    for (number, client) in (0..).zip(&mut clients) {
        let due = began + Duration::from_millis(500) / count * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.write_all(REQUEST).unwrap();
    }
    assert!(began.elapsed() < KUBELET, "too slow to ask in time");
    let answers = clients.into_iter().map(|mut client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    });
    answers.collect()
}

/// So many clients that connect at once; each asks some time later.
fn a_crowd_that_speaks_later(count: usize, first: Duration) {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 1024);
    let silent = crowd(sidecar.address, count, b"");
    thread::sleep(first);
    // One after the other, and all before the first answer is read: none is to be late for
    // the two seconds that a request has, however busy this machine is.
    for mut stream in &silent {
        stream.write_all(REQUEST).unwrap();
    }
    for (number, mut stream) in silent.into_iter().enumerate() {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{number} of {count}: {answer:?}"
        );
    }
}

#[test]
fn crowds_that_connect_at_once_and_speak_later_are_all_answered() {
    for count in [127, 129, 400, 511, 513] {
        a_crowd_that_speaks_later(count, Duration::ZERO);
    }
}

#[test]
fn four_hundred_that_connect_at_once_are_all_answered_with_64_descriptors() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 64);
    for answer in ask_at_once(&sidecar, 400) {
        assert_eq!(answer, "HTTP/1.1 200 OK");
    }
}

#[test]
fn crowds_that_are_silent_for_longer_than_the_kernel_keeps_them_are_all_answered() {
    for count in [127, 129, 511, 513] {
        a_crowd_that_speaks_later(count, Duration::from_millis(1_500));
    }
}

/// The one that takes the last place may come with others, which wait for a place then and
/// are not turned away at once.
#[test]
fn a_crowd_that_speaks_in_one_moment_waits_for_room() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=60ms"]);
    let sidecar = start(&dir, 1024);
    requests_at_rest(&sidecar);
    let at_rest = sidecar.descriptors();
    let silent = crowd(sidecar.address, 560, b"");
    // The kernel has kept them until now.
    eventually("560 connections", || sidecar.descriptors() >= at_rest + 560);
    sidecar.process.freeze();
    for mut stream in &silent {
        stream.write_all(REQUEST).unwrap();
    }
    sidecar.process.thaw();
    for mut stream in silent {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}

#[test]
fn there_are_512_places_for_requests_and_no_fewer() {
    for (count, turned_away) in [(511, 0), (512, 0), (513, 1)] {
        let dir = Dir::new();
        let _driver = Driver::start(&dir.socket(), &["--hang"]);
        let sidecar = start(&dir, 1024);
        let answers: Vec<String> = crowd(sidecar.address, count, REQUEST)
            .into_iter()
            .map(|mut stream| {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
            .collect();
        let refused = answers
            .iter()
            .filter(|answer| answer.starts_with("HTTP/1.1 503 "));
        assert_eq!(refused.count(), turned_away, "{count}");
    }
}

/// A attacker's requests take all places before a driver that is slow. Kubelet's is
/// answered from its probe all the same, unless the attacker has kubelet's address.
#[test]
fn a_crowd_of_requests_from_another_address_leaves_room_for_kubelet() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = start(&dir, 1024);
    requests_at_rest(&sidecar);
    let at_rest = sidecar.descriptors();
    let attackers = crowd_from(ANOTHER_ADDRESS, sidecar.address, 600, REQUEST);
    eventually("512 requests", || sidecar.descriptors() >= at_rest + 512);
    for answer in get_politely(sidecar.address, 20, &[Duration::ZERO]) {
        assert_eq!(answer.line, "HTTP/1.1 200 OK", "{answer:?}");
        assert!(answer.took < Duration::from_millis(2_700), "{answer:?}");
    }
    drop(attackers);
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn four_hundred_clients_before_a_driver_that_takes_a_second_are_all_answered() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = start(&dir, 1024);
    for answer in ask_at_once(&sidecar, 400) {
        assert_eq!(answer, "HTTP/1.1 200 OK");
    }
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn a_connection_that_says_nothing_is_closed_after_its_time() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = start(&dir, 1024);
    let began = Instant::now();
    let mut silent: TcpStream = connect(sidecar.address);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    // A second in the kernel, and two here; the kernel's timer has its own steps.
    let took = began.elapsed();
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// While no further request has room, connections without one are not read, and their
/// end must not keep the event loop running.
#[test]
fn connections_that_are_reset_while_there_is_no_room_cost_nothing() {
    let dir = Dir::new();
    // Without a driver requests wait for one, and no call comes and goes meanwhile.
    let sidecar = start(&dir, 1024);
    requests_at_rest(&sidecar);
    let event_loop = sidecar.threads_named("door")[0];
    let on_processor = || {
        let path = format!("/proc/{}/task/{event_loop}/schedstat", sidecar.pid);
        let text = std::fs::read_to_string(path).unwrap();
        let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
        Duration::from_nanos(nanoseconds)
    };
    let at_rest = sidecar.descriptors();
    let begun = crowd(sidecar.address, 15, b"GET /");
    let mut waiting = crowd(sidecar.address, 511, REQUEST);
    eventually("511 requests", || {
        sidecar.descriptors() >= at_rest + 15 + 511
    });
    waiting.extend(crowd(sidecar.address, 1, REQUEST));
    eventually("the last request", || {
        sidecar.descriptors() >= at_rest + 15 + 512
    });
    let (before, full) = (on_processor(), Instant::now());
    for stream in begun {
        reset(stream);
    }
    assert!(
        full.elapsed() < Duration::from_millis(80),
        "too slow to reset them in time"
    );
    // As long as newcomers wait for room (`FULL_TIME`).
    thread::sleep(Duration::from_millis(100));
    let took = on_processor().saturating_sub(before);
    assert!(took < Duration::from_millis(20), "{took:?}");
}
