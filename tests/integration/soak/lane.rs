//! A driver with its own path, and whoever asks for its health: one failing probe,
//! then two that must not know of it, again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::stage::Stage;
use super::way::Way;
use testkit::{LATENESS, Response, Sidecar};

/// Long enough for a good answer on a machine that all of this keeps busy.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// Good probes for each that fails.
const GOOD: usize = 2;

/// What has been asked so far.
#[derive(Default)]
pub struct Tally {
    probes: AtomicUsize,
    failing: AtomicUsize,
    /// Later than the suite allows. It has the machine for itself; here all of it is
    /// busy on purpose, and may stand still for a moment.
    late: AtomicUsize,
}

impl Tally {
    pub fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }

    /// Probes, how many of them failed, and how many of these were told late.
    pub fn so_far(&self) -> [usize; 3] {
        [&self.probes, &self.failing, &self.late].map(|count| count.load(Ordering::Relaxed))
    }
}

pub struct Lane {
    name: Option<String>,
    stage: Stage,
}

impl Lane {
    /// The one of `--csi-address`: a real gRPC server while all is well.
    pub fn first() -> Lane {
        Lane {
            name: None,
            stage: Stage::with_a_real_driver(),
        }
    }

    pub fn extra(name: String) -> Lane {
        Lane {
            name: Some(name),
            stage: Stage::new(),
        }
    }

    /// How the sidecar is told of the driver.
    pub fn flag(&self) -> String {
        let address = self.stage.address();
        match &self.name {
            None => format!("--csi-address={address}"),
            Some(name) => format!("--extra-csi-address={name}={address}"),
        }
    }

    /// A driver fails in this way, and is well again.
    pub fn take_turn(&mut self, way: &Way, sidecar: &Sidecar, tally: &Tally) {
        let whose = self.name.as_ref().map(|name| format!("/{name}"));
        let whose = whose.unwrap_or_default();
        let number = tally.probes.fetch_add(1 + GOOD, Ordering::Relaxed);
        tally.failing.fetch_add(1, Ordering::Relaxed);
        let target = target(number, &whose);
        let response = self.stage.play(way, &|| sidecar.get(&target));
        check_failing(&response, way, &target);
        if response.took >= TIMEOUT + LATENESS {
            tally.late.fetch_add(1, Ordering::Relaxed);
        }
        for number in number + 1..=number + GOOD {
            let target = self::target(number, &whose);
            check_good(&sidecar.get(&target), way, &target);
        }
    }
}

/// All kinds of paths, and one in five for a person.
fn target(number: usize, whose: &str) -> String {
    let kind = ["healthz", "healthz", "readyz", "livez"][number % 4];
    let query = if number.is_multiple_of(5) {
        "?verbose"
    } else {
        ""
    };
    format!("/{kind}{whose}{query}")
}

fn check_failing(response: &Response, way: &Way, target: &str) {
    let what = way.what;
    assert_eq!(response.status, 500, "{what}, {target}: {response:?}");
    assert!(
        response.body.contains(way.words),
        "{what}, {target}: {response:?}"
    );
    assert!(
        response.took < TIMEOUT * 2,
        "{what}, {target}: {response:?}"
    );
}

fn check_good(response: &Response, way: &Way, target: &str) {
    let what = way.what;
    assert_eq!(response.status, 200, "after {what}, {target}: {response:?}");
    let told = response.body.strip_prefix("result: ");
    let told = told.and_then(|details| details.lines().next());
    assert_eq!(
        told.unwrap_or(&response.body),
        "ok",
        "after {what}, {target}"
    );
}
