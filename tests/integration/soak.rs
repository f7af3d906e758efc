//! The soak: many probes, a third of them failing in every way that is known, and
//! nothing adds up. `make soak` runs it.

mod figures;
mod lane;
mod stage;
mod way;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use testkit::Sidecar;

use super::support::livenessprobe;
use figures::Figures;
use lane::{Lane, TIMEOUT, Tally};
use way::Way;

/// What is measured first is measured after so many probes.
const WARM_UP: usize = 1_000;

/// Probes at the least, in seconds.
const PACE: (u64, u64) = (100_000, 300);

/// Resident memory that may stay behind, in KiB: of what ships, and of what
/// `cargo build` links against glibc. There, what is freed is not always given back,
/// and the most that was needed at once is not seen within the first probes.
const LEFT_BEHIND: u64 = 256;
const LEFT_BEHIND_BY_GLIBC: u64 = 2 * 1024;

/// One failing probe in so many may be answered late, if by less than its timeout: all
/// drivers and clients are on the same processors, and none may keep the soak from
/// telling of what adds up.
const ON_TIME: usize = 1_000;

/// Drivers. Those that keep probes waiting cost little: there are as many as make
/// each way to wait happen often in a short soak.
const LANES: usize = 6;
/// Of these, those that are told of at once, and keep the machine busy.
const BUSY_LANES: usize = 2;

/// Between two lines about what there is so far.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Between two scrapes.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

#[test]
#[ignore = "takes minutes; run: make soak"]
fn many_probes_leave_nothing_behind() {
    let time = seconds();
    let [quick, slow] = [way::quick(), way::slow()].map(Ways::new);
    let extra = |number: usize| Lane::extra(format!("n{number}"));
    let mut lanes: Vec<Lane> = (1..LANES).map(extra).collect();
    lanes.insert(0, Lane::first());
    let sidecar = sidecar(&lanes);
    let soak = Soak {
        sidecar: &sidecar,
        tally: Tally::default(),
        began: Instant::now(),
    };

    let (busy, patient) = lanes.split_at_mut(BUSY_LANES);
    soak.run(&mut [(&quick, busy), (&slow, patient)], |rounds, _| {
        rounds >= 1
    });
    soak.run(&mut [(&quick, &mut lanes)], |_, probes| probes >= WARM_UP);
    soak.scrape();
    let before = Figures::settled(&sidecar);
    println!("after {} probes: {before}", soak.tally.probes());

    let until = Instant::now() + Duration::from_secs(time);
    let (busy, patient) = lanes.split_at_mut(BUSY_LANES);
    soak.run(&mut [(&quick, busy), (&slow, patient)], |_, _| {
        Instant::now() >= until
    });
    let after = Figures::settled(&sidecar);
    let [probes, failing, late] = soak.tally.so_far();
    println!(
        "after {probes} probes: {after}\n\
         {failing} of them failed, in {} ways, in each at least {} times; {late} were told late",
        quick.list.len() + slow.list.len(),
        quick.rounds().min(slow.rounds()),
    );

    assert_eq!(soak.scrape(), [probes, failing], "as the sidecar counts");
    let (least, within) = PACE;
    assert!(
        u64::try_from(probes).unwrap() * within >= least * time,
        "{probes} in {time} s"
    );
    assert!(late <= failing / ON_TIME, "{late} of {failing} were late");
    after.equal(&before, left_behind());
    for line in sidecar.process.err.all() {
        assert!("IWE".contains(&line[..1]), "{line}");
    }
}

/// How long it goes on, in seconds.
fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").map_or(300, |seconds| seconds.parse().expect("SOAK_SECONDS"))
}

fn left_behind() -> u64 {
    if livenessprobe().is_shipped() {
        LEFT_BEHIND
    } else {
        LEFT_BEHIND_BY_GLIBC
    }
}

/// One that asks the drivers of all lanes, and knows their names: those who ask for
/// them have ended.
fn sidecar(lanes: &[Lane]) -> Sidecar {
    let flags: Vec<String> = lanes.iter().map(Lane::flag).collect();
    let sidecar = Sidecar::run(
        livenessprobe()
            .command()
            // One heap in glibc, as in musl: each of many has its own most.
            .env("MALLOC_ARENA_MAX", "1")
            .arg("--http-endpoint=127.0.0.1:0")
            .arg(format!("--probe-timeout={}s", TIMEOUT.as_secs()))
            .args(&flags),
    );
    let log = &sidecar.process.err;
    log.wait_for_count("CSI driver name", flags.len());
    sidecar
}

/// Ways to fail, and whose turn it is.
struct Ways {
    list: Vec<Way>,
    turns: AtomicUsize,
}

impl Ways {
    fn new(list: Vec<Way>) -> Ways {
        Ways {
            list,
            turns: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &Way {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst);
        &self.list[turn % self.list.len()]
    }

    /// How often each of them has happened.
    fn rounds(&self) -> usize {
        self.turns.load(Ordering::SeqCst) / self.list.len()
    }
}

struct Soak<'a> {
    sidecar: &'a Sidecar,
    tally: Tally,
    began: Instant,
}

impl Soak<'_> {
    /// Has these lanes fail in these ways until it is over, for the rounds of their
    /// ways and the number of all probes, or until anything is wrong.
    fn run(
        &self,
        groups: &mut [(&Ways, &mut [Lane])],
        is_over: impl Fn(usize, usize) -> bool + Sync,
    ) {
        let is_wrong = AtomicBool::new(false);
        let (working, all_ended) = mpsc::channel();
        std::thread::scope(|scope| {
            let _alarm = Alarm(&is_wrong);
            let lanes = groups.iter_mut().flat_map(|(ways, lanes)| {
                let ways: &Ways = ways;
                lanes.iter_mut().map(move |lane| (ways, lane))
            });
            for (ways, lane) in lanes {
                let working = working.clone();
                let (is_wrong, is_over) = (&is_wrong, &is_over);
                scope.spawn(move || {
                    let _alarm = Alarm(is_wrong);
                    let _working = working;
                    while !is_wrong.load(Ordering::Relaxed)
                        && !is_over(ways.rounds(), self.tally.probes())
                    {
                        lane.take_turn(ways.next(), self.sidecar, &self.tally);
                    }
                });
            }
            drop(working);
            self.watch(&all_ended);
        });
    }

    /// Scrapes and reports until all lanes have come to their end.
    fn watch(&self, all_ended: &mpsc::Receiver<()>) {
        let mut last = (Instant::now(), self.tally.probes());
        while all_ended.recv_timeout(SCRAPE_EVERY) == Err(RecvTimeoutError::Timeout) {
            self.scrape();
            if last.0.elapsed() >= REPORT_EVERY {
                self.report(last);
                last = (Instant::now(), self.tally.probes());
            }
        }
    }

    fn report(&self, (since, before): (Instant, usize)) {
        let [probes, failing, _] = self.tally.so_far();
        let rate = u128::try_from(probes - before).unwrap() * 1_000 / since.elapsed().as_millis();
        println!(
            "{:5} s  {probes} probes, {failing} failing, {rate} a second; {}",
            self.began.elapsed().as_secs(),
            Figures::now(self.sidecar)
        );
    }

    /// How many probes have ended, and how many of them failed, as the metrics have it.
    fn scrape(&self) -> [usize; 2] {
        let response = self.sidecar.get("/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        let sum = |is_about: &dyn Fn(&str) -> bool| {
            let lines = response.body.lines().filter(|line| is_about(line));
            let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
            values.sum::<usize>()
        };
        let unconnected = sum(&|line| line.starts_with("csi_sidecar_connect_failures_total{"));
        let is_called = |line: &str| {
            line.starts_with("csi_sidecar_operations_seconds_count{")
                && line.contains("method_name=\"/csi.v1.Identity/Probe\"")
        };
        let called = sum(&is_called);
        let well = sum(&|line| is_called(line) && line.contains("grpc_status_code=\"OK\""));
        [called + unconnected, called + unconnected - well]
    }
}

/// Tells all lanes that one of them, or who watches them, has found something wrong.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
