//! A worker of the soak: it owns one driver, and sends one request that fails and then two
//! that must succeed, again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::{LATENESS, Response, Sidecar};

use super::fault::Fault;
use super::rig::Rig;

/// Long enough for a healthy response on a machine that the soak keeps busy.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// Requests that must succeed after each that fails.
const GOOD: usize = 2;

/// Counts of what all workers have done so far.
#[derive(Default)]
pub struct Counts {
    probes: AtomicUsize,
    failing: AtomicUsize,
    /// Failing probes that were later than the faulty-driver suite allows. That suite has the
    /// machine for itself; the soak keeps it busy, and it may stand still for a moment.
    late: AtomicUsize,
}

impl Counts {
    pub fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }

    /// Returns the number of probes, of those that failed, and of those that failed late.
    pub fn so_far(&self) -> [usize; 3] {
        [&self.probes, &self.failing, &self.late].map(|count| count.load(Ordering::Relaxed))
    }
}

pub struct Worker {
    /// The name of a further driver.
    name: Option<String>,
    rig: Rig,
}

impl Worker {
    /// Makes the worker for the driver of `--csi-address`, which is a real gRPC server while
    /// there is no fault.
    pub fn first() -> Worker {
        Worker {
            name: None,
            rig: Rig::with_a_real_driver(),
        }
    }

    /// Makes a worker for a further driver.
    pub fn extra(name: String) -> Worker {
        Worker {
            name: Some(name),
            rig: Rig::new(),
        }
    }

    /// Returns the flag that gives the sidecar the address of the driver.
    pub fn flag(&self) -> String {
        let address = self.rig.address();
        match &self.name {
            None => format!("--csi-address={address}"),
            Some(name) => format!("--extra-csi-address={name}={address}"),
        }
    }

    /// Provokes a fault, and checks the response to it and those after it.
    pub fn fail(&mut self, fault: &Fault, sidecar: &Sidecar, counts: &Counts) {
        let driver = self.name.as_ref().map(|name| format!("/{name}"));
        let driver = driver.unwrap_or_default();
        let number = counts.probes.fetch_add(1 + GOOD, Ordering::Relaxed);
        counts.failing.fetch_add(1, Ordering::Relaxed);
        let target = target(number, &driver);
        let response = self.rig.provoke(fault, &|| sidecar.get(&target));
        check_failing(&response, fault, &target);
        if response.took >= TIMEOUT + LATENESS {
            counts.late.fetch_add(1, Ordering::Relaxed);
        }
        for number in number + 1..=number + GOOD {
            let target = self::target(number, &driver);
            check_good(&sidecar.get(&target), fault, &target);
        }
    }
}

/// Returns the target of the request of this number: each kind of path, and one request in
/// five is verbose.
fn target(number: usize, driver: &str) -> String {
    let kind = ["healthz", "healthz", "readyz", "livez"][number % 4];
    let query = if number.is_multiple_of(5) {
        "?verbose"
    } else {
        ""
    };
    format!("/{kind}{driver}{query}")
}

fn check_failing(response: &Response, fault: &Fault, target: &str) {
    let what = fault.what;
    assert_eq!(response.status, 500, "{what}, {target}: {response:?}");
    assert!(
        response.body.contains(fault.words),
        "{what}, {target}: {response:?}"
    );
    assert!(
        response.took < TIMEOUT * 2,
        "{what}, {target}: {response:?}"
    );
}

fn check_good(response: &Response, fault: &Fault, target: &str) {
    let what = fault.what;
    assert_eq!(response.status, 200, "after {what}, {target}: {response:?}");
    let result = response.body.strip_prefix("result: ");
    let result = result.and_then(|details| details.lines().next());
    assert_eq!(
        result.unwrap_or(&response.body),
        "ok",
        "after {what}, {target}"
    );
}
