//! Periodic probing, for pods without an HTTP probe. It exits after `--retries` consecutive
//! failures, and keeps a health file for programs that look for one.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use program::panics;
use program::threads::{self, lock};

use crate::flags;
use crate::health_file::HealthFile;
use crate::outcome::{self, Outcome, Readiness};

const STACK: usize = 256 * 1024;

/// The periodic probe.
pub struct Periodic {
    state: Arc<Mutex<State>>,
}

/// How it ended by itself.
pub enum End {
    /// There were too many failures in a row; this was the last.
    GivenUp(String),
    /// The probe panicked.
    Broken(String),
}

struct State {
    file: Option<HealthFile>,
    has_ended: bool,
}

impl Periodic {
    /// Starts probing. `ask` makes a probe and waits for its outcome; `ended` is called with the
    /// reason why the process should end.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(
        settings: &flags::Periodic,
        file: Option<HealthFile>,
        ask: impl Fn() -> Outcome + Send + 'static,
        ended: impl Fn(End) + Send + 'static,
    ) -> Result<Periodic, String> {
        let state = Arc::new(Mutex::new(State {
            file,
            has_ended: false,
        }));
        let mut rounds = Rounds {
            pace: Pace::new(Instant::now(), settings.interval),
            tally: Tally::new(settings.retries),
            state: Arc::clone(&state),
        };
        threads::spawn("periodic", STACK, move || {
            match panics::catch(|| rounds.run(&ask)) {
                Ok(Some(reason)) => ended(End::GivenUp(reason)),
                Ok(None) => {}
                Err(panic) => ended(End::Broken(format!("the periodic probe panicked: {panic}"))),
            }
        })?;
        Ok(Periodic { state })
    }

    /// Removes the health file. No later success creates it again, and no later failure counts.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        if let Some(file) = &mut state.file {
            file.remove();
        }
    }
}

struct Rounds {
    pace: Pace,
    tally: Tally,
    state: Arc<Mutex<State>>,
}

impl Rounds {
    /// Probes until there were too many failures in a row, and gives the reason, or until
    /// [`Periodic::end`].
    fn run(&mut self, ask: &dyn Fn() -> Outcome) -> Option<String> {
        loop {
            let outcome = ask();
            let mut state = lock(&self.state);
            if state.has_ended {
                return None;
            }
            let verdict = self.tally.count(&outcome);
            match (verdict, &mut state.file) {
                (Verdict::Healthy, Some(file)) => file.write(),
                (Verdict::GivenUp(_), Some(file)) => file.remove(),
                _ => {}
            }
            drop(state);
            if let Verdict::GivenUp(failures) = verdict {
                return Some(format!(
                    "{} (the last of {failures} failed probes in a row)",
                    outcome::describe(&outcome)
                ));
            }
            thread::sleep(self.pace.until_next(Instant::now()));
        }
    }
}

/// When probes begin: at the start, and at each multiple of the interval after it. A probe that
/// outlasts the interval delays the next one, and missed ones are not made up.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new(start: Instant, interval: Duration) -> Pace {
        Pace {
            next: start,
            interval,
        }
    }

    /// How long to wait from `now`, when a probe has ended, until the next begins.
    fn until_next(&mut self, now: Instant) -> Duration {
        let late = now.saturating_duration_since(self.next);
        let interval = self.interval.as_nanos().max(1);
        let rounds = late.as_nanos() / interval + 1;
        let ahead = Duration::from_nanos(u64::try_from(rounds * interval).unwrap_or(u64::MAX));
        // An interval that the clock cannot hold never ends.
        self.next = self.next.checked_add(ahead).unwrap_or(now + NEVER);
        self.next.saturating_duration_since(now)
    }
}

/// A year.
const NEVER: Duration = Duration::from_hours(365 * 24);

/// What the outcomes so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Healthy,
    Failing,
    /// There were so many failures in a row.
    GivenUp(u32),
}

struct Tally {
    failures: u32,
    most: u32,
}

impl Tally {
    fn new(most: u32) -> Tally {
        Tally { failures: 0, most }
    }

    fn count(&mut self, outcome: &Outcome) -> Verdict {
        if *outcome == Ok(Readiness::Ready) {
            self.failures = 0;
            return Verdict::Healthy;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.most {
            Verdict::GivenUp(self.failures)
        } else {
            Verdict::Failing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_thousand_probes_do_not_drift() {
        let start = Instant::now();
        let mut pace = Pace::new(start, INTERVAL);
        let mut now = start;
        for round in 1..=1_000 {
            // Each takes a different time, and its thread wakes a little late.
            now += ms(round % 90);
            now += pace.until_next(now);
            assert_eq!(now, start + INTERVAL * u32::try_from(round).unwrap());
            now += ms(round % 7);
        }
    }

    #[test]
    fn a_slow_probe_delays_the_next_one_to_its_place() {
        let start = Instant::now();
        let mut pace = Pace::new(start, INTERVAL);
        assert_eq!(pace.until_next(start + ms(250)), ms(50));
        assert_eq!(pace.until_next(start + ms(300)), ms(100));
        // A probe that ends just when the next one is due leaves it its full interval.
        assert_eq!(pace.until_next(start + ms(500)), ms(100));
    }

    #[test]
    fn no_interval_is_too_short_or_too_long() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::from_nanos(1));
        assert!(pace.until_next(start + ms(1)) <= Duration::from_nanos(1));
        let mut pace = Pace::new(start, Duration::MAX);
        assert!(pace.until_next(start) > Duration::from_hours(1));
    }

    #[test]
    fn failures_in_a_row_are_counted_and_a_success_resets_them() {
        let (well, ill) = (Ok(Readiness::Ready), Ok(Readiness::NotReady));
        let mut tally = Tally::new(3);
        let verdicts: Vec<Verdict> = [&ill, &ill, &well, &ill, &ill, &ill]
            .into_iter()
            .map(|outcome| tally.count(outcome))
            .collect();
        assert_eq!(
            verdicts,
            [
                Verdict::Failing,
                Verdict::Failing,
                Verdict::Healthy,
                Verdict::Failing,
                Verdict::Failing,
                Verdict::GivenUp(3)
            ]
        );
        assert_eq!(Tally::new(1).count(&ill), Verdict::GivenUp(1));
    }
}
