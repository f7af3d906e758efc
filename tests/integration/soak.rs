//! The soak: many probes, a third of which fail by every known fault, after which the sidecar
//! uses no more memory, descriptors or threads than before. `make soak` runs it.

mod fault;
mod figures;
mod rig;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use testkit::Sidecar;

use super::support::livenessprobe;
use fault::Fault;
use figures::Figures;
use worker::{Counts, TIMEOUT, Worker};

/// The first measurement comes after so many probes.
const WARM_UP: usize = 1_000;

/// The smallest number of probes, and the seconds for them.
const PACE: (u64, u64) = (100_000, 300);

/// How much more resident memory there may be at the end, in KiB, in the binary that ships
/// and in the one that `cargo build` links against glibc. glibc does not return all memory
/// that is freed, and its peak is not reached within the first probes.
const LEFT_BEHIND: u64 = 256;
const LEFT_BEHIND_BY_GLIBC: u64 = 2 * 1024;

/// One failing probe in so many may be late, by less than its timeout. All drivers and
/// clients share the processors of this machine, and a late response must not end a soak that
/// is about leaks.
const ON_TIME: usize = 1_000;

/// Workers. Those whose probes wait cost little; there are enough of them for each slow fault
/// to happen often in a short soak.
const WORKERS: usize = 6;
/// Workers of these whose probes fail at once, which keeps the machine busy.
const BUSY_WORKERS: usize = 2;

/// The time between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// The time between two scrapes.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

#[test]
#[ignore = "takes minutes; run: make soak"]
fn many_probes_leave_nothing_behind() {
    let time = seconds();
    let [quick, slow] = [fault::quick(), fault::slow()].map(Faults::new);
    let extra = |number: usize| Worker::extra(format!("n{number}"));
    let mut workers: Vec<Worker> = (1..WORKERS).map(extra).collect();
    workers.insert(0, Worker::first());
    let sidecar = sidecar(&workers);
    let soak = Soak {
        sidecar: &sidecar,
        counts: Counts::default(),
        began: Instant::now(),
    };

    let (busy, waiting) = workers.split_at_mut(BUSY_WORKERS);
    soak.run(&mut [(&quick, busy), (&slow, waiting)], |rounds, _| {
        rounds >= 1
    });
    soak.run(&mut [(&quick, &mut workers)], |_, probes| probes >= WARM_UP);
    soak.scrape();
    let before = Figures::settled(&sidecar);
    println!("after {} probes: {before}", soak.counts.probes());

    let until = Instant::now() + Duration::from_secs(time);
    let (busy, waiting) = workers.split_at_mut(BUSY_WORKERS);
    soak.run(&mut [(&quick, busy), (&slow, waiting)], |_, _| {
        Instant::now() >= until
    });
    let after = Figures::settled(&sidecar);
    let [probes, failing, late] = soak.counts.so_far();
    println!(
        "after {probes} probes: {after}\n\
         {failing} of them failed, by {} faults, each at least {} times; {late} were late",
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

/// Returns how long the soak lasts, in seconds.
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

/// Starts a sidecar for the drivers of all workers, and waits until it knows their names. The
/// threads that fetch the names have ended then.
fn sidecar(workers: &[Worker]) -> Sidecar {
    let flags: Vec<String> = workers.iter().map(Worker::flag).collect();
    let sidecar = Sidecar::run(
        livenessprobe()
            .command()
            .arg("--http-endpoint=127.0.0.1:0")
            .arg(format!("--probe-timeout={}s", TIMEOUT.as_secs()))
            .args(&flags),
    );
    let log = &sidecar.process.err;
    log.wait_for_count("CSI driver name", flags.len());
    sidecar
}

/// Faults, provoked one after the other by several workers.
struct Faults {
    list: Vec<Fault>,
    provoked: AtomicUsize,
}

impl Faults {
    fn new(list: Vec<Fault>) -> Faults {
        Faults {
            list,
            provoked: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &Fault {
        let number = self.provoked.fetch_add(1, Ordering::SeqCst);
        &self.list[number % self.list.len()]
    }

    /// Returns how often each of them has been provoked.
    fn rounds(&self) -> usize {
        self.provoked.load(Ordering::SeqCst) / self.list.len()
    }
}

struct Soak<'a> {
    sidecar: &'a Sidecar,
    counts: Counts,
    began: Instant,
}

impl Soak<'_> {
    /// Lets each group of workers provoke its faults until `is_over` returns true for the
    /// rounds of its faults and the number of all probes, or until a check fails.
    fn run(
        &self,
        groups: &mut [(&Faults, &mut [Worker])],
        is_over: impl Fn(usize, usize) -> bool + Sync,
    ) {
        let is_wrong = AtomicBool::new(false);
        let (working, all_ended) = mpsc::channel();
        std::thread::scope(|scope| {
            let _alarm = Alarm(&is_wrong);
            let workers = groups.iter_mut().flat_map(|(faults, workers)| {
                let faults: &Faults = faults;
                workers.iter_mut().map(move |worker| (faults, worker))
            });
            for (faults, worker) in workers {
                let working = working.clone();
                let (is_wrong, is_over) = (&is_wrong, &is_over);
                scope.spawn(move || {
                    let _alarm = Alarm(is_wrong);
                    let _working = working;
                    while !is_wrong.load(Ordering::Relaxed)
                        && !is_over(faults.rounds(), self.counts.probes())
                    {
                        worker.fail(faults.next(), self.sidecar, &self.counts);
                    }
                });
            }
            drop(working);
            self.watch(&all_ended);
        });
    }

    /// Scrapes and reports until all workers have ended.
    fn watch(&self, all_ended: &mpsc::Receiver<()>) {
        let mut last = (Instant::now(), self.counts.probes());
        while all_ended.recv_timeout(SCRAPE_EVERY) == Err(RecvTimeoutError::Timeout) {
            self.scrape();
            if last.0.elapsed() >= REPORT_EVERY {
                self.report(last);
                last = (Instant::now(), self.counts.probes());
            }
        }
    }

    fn report(&self, (since, before): (Instant, usize)) {
        let [probes, failing, _] = self.counts.so_far();
        let rate = u128::try_from(probes - before).unwrap() * 1_000 / since.elapsed().as_millis();
        println!(
            "{:5} s  {probes} probes, {failing} failing, {rate} a second; {}",
            self.began.elapsed().as_secs(),
            Figures::now(self.sidecar)
        );
    }

    /// Returns how many probes have ended and how many of them failed, by the metrics.
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
        let healthy = sum(&|line| is_called(line) && line.contains("grpc_status_code=\"OK\""));
        [called + unconnected, called + unconnected - healthy]
    }
}

/// Stops all workers when the thread that holds it panics, because a check has failed.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
