//! Moments, jitter, and the one form of a timestamp that the API server accepts in a lease.
//!
//! Everything here is a value: the clock is read by the caller, so that tests can pass any time.

use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use program::utc::Utc;

/// A moment of CLOCK_BOOTTIME, as the time since the machine started.
///
/// Not `std::time::Instant`, which is CLOCK_MONOTONIC and stands still while the machine is
/// suspended (<https://github.com/rust-lang/rust/issues/87906>). A leader on a node that was
/// suspended would believe after the resume that its lease still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment that is this long after the machine started.
    #[must_use]
    pub const fn since_boot(elapsed: Duration) -> Moment {
        Moment(elapsed)
    }

    /// The time from `earlier` to this moment, and zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds since the machine started. After 584 years the number stays at its maximum.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// A sum that does not fit is the last moment there is, because a delay comes from a flag and
    /// must not cause a panic.
    fn add(self, delay: Duration) -> Moment {
        Moment(self.0.saturating_add(delay))
    }
}

/// A source of jitter: xorshift64* (<https://www.jstatsoft.org/article/view/v008i14>, and Vigna's
/// multiplication, <https://arxiv.org/abs/1402.6246>).
///
/// Replicas that begin at the same time have to differ, and nothing depends on whether their
/// numbers can be guessed. The caller passes random bytes once. The package `rand` is not needed
/// for that.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// A source that depends on `seed` alone.
    #[must_use]
    pub const fn new(seed: [u8; 8]) -> Jitter {
        match u64::from_le_bytes(seed) {
            // Zero is the one state that xorshift never leaves.
            0 => Jitter(0x9e37_79b9_7f4a_7c15),
            state => Jitter(state),
        }
    }

    /// The next 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        // The upper half, because it passes statistical tests that the lower half fails.
        let [.., a, b, c, d] = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A duration from zero to just below `limit`. A limit above 584 years counts as 584 years.
    pub fn below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let share = (u128::from(limit) * u128::from(self.bits())) >> 32;
        Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// The end of the year 9999, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// Writes a Kubernetes `MicroTime`: `2026-11-20T09:12:12.172000Z`.
///
/// There are exactly six digits after the point, because Go parses the field with one fixed layout
/// (`RFC3339Micro` in apimachinery's `micro_time.go`) and the API server refuses any other number.
/// The year has four digits for the same reason, so a clock outside of 1970 to 9999 is taken as
/// the nearest moment inside.
#[must_use]
pub fn micro_time(time: SystemTime) -> String {
    let last = UNIX_EPOCH + Duration::new(LAST_SECOND, 999_999_999);
    let utc = Utc::from(time.min(last));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_stay_in_range() {
        let last = Moment::since_boot(Duration::MAX);
        let first = Moment::default();
        assert_eq!(last + Duration::from_secs(1), last);
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.since(first), Duration::MAX);
        assert_eq!(last.nanoseconds(), u64::MAX);
        assert_eq!((first + Duration::from_micros(3)).nanoseconds(), 3_000);
    }

    #[test]
    fn jitter_depends_on_its_seed_and_fills_its_range() {
        let limit = Duration::from_secs(6);
        let draw = |seed: u64| {
            let mut jitter = Jitter::new(seed.to_le_bytes());
            (0..1_000).map(|_| jitter.below(limit)).collect::<Vec<_>>()
        };
        for seed in [0, 1, u64::MAX] {
            let drawn = draw(seed);
            assert_eq!(drawn, draw(seed));
            assert!(drawn.iter().all(|delay| *delay < limit));
            for tenth in 0..10 {
                let range = limit * tenth / 10..limit * (tenth + 1) / 10;
                let hits = drawn.iter().filter(|delay| range.contains(delay)).count();
                assert!((50..150).contains(&hits), "{seed}, {tenth}: {hits}");
            }
        }
        assert_ne!(draw(1), draw(2));
        assert_eq!(Jitter::new([1; 8]).below(Duration::ZERO), Duration::ZERO);
        assert!(Jitter::new([1; 8]).below(Duration::MAX) < Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_micro_time_has_six_digits_and_four_for_the_year() {
        let at = |seconds, nanoseconds| UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        for (time, text) in [
            (at(0, 0), "1970-01-01T00:00:00.000000Z"),
            (
                at(1_795_165_932, 172_000_999),
                "2026-11-20T09:12:12.172000Z",
            ),
            (at(1_795_165_932, 7_999), "2026-11-20T09:12:12.000007Z"),
            (at(LAST_SECOND + 1, 5), "9999-12-31T23:59:59.999999Z"),
            (
                UNIX_EPOCH - Duration::from_secs(9),
                "1970-01-01T00:00:00.000000Z",
            ),
        ] {
            assert_eq!(micro_time(time), text);
        }
    }
}
