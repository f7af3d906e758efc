//! The three durations of an election.

use std::time::Duration;

/// The flags `--leader-election-lease-duration`, `--leader-election-renew-deadline` and
/// `--leader-election-retry-period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a record has to stand still before another candidate may take the lease.
    pub lease_duration: Duration,
    /// How long a leader leads after the last successful renewal.
    pub renew_deadline: Duration,
    /// The time between two renewals, and the shortest time between two attempts of a candidate.
    pub retry_period: Duration,
}

impl Default for Timing {
    /// Upstream's 15, 10 and 5 seconds.
    fn default() -> Timing {
        Timing {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// Checks what client-go's `NewLeaderElector` checks.
    ///
    /// # Errors
    ///
    /// A sentence about the rule that these durations violate.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.retry_period.is_zero() {
            return Err("the retry period must be longer than zero");
        }
        // client-go multiplies by its JitterFactor, 1.2.
        if self.renew_deadline <= self.longest_jitter() {
            return Err("the renew deadline must be longer than 1.2 times the retry period");
        }
        if self.lease_duration <= self.renew_deadline {
            return Err("the lease duration must be longer than the renew deadline");
        }
        Ok(())
    }

    /// The seconds that are written into the lease. client-go rounds them down; rounded up, the
    /// lease never ends for others before the renew deadline ends for its holder.
    pub(super) fn lease_seconds(&self) -> u32 {
        let whole = self.lease_duration.as_secs();
        let begun = u64::from(self.lease_duration.subsec_nanos() > 0);
        let seconds = i32::try_from(whole.saturating_add(begun)).unwrap_or(i32::MAX);
        u32::try_from(seconds).unwrap_or_default()
    }

    /// What a candidate adds to the retry period at most.
    pub(super) fn longest_jitter(&self) -> Duration {
        self.retry_period.saturating_mul(6) / 5
    }

    /// The time for one request, so that the first one that hangs leaves room for a second.
    pub(super) fn request_limit(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// The pause of a leader after an attempt that failed. client-go waits a whole retry period,
    /// which with the defaults leaves one attempt before the renew deadline.
    pub(super) fn pause(&self) -> Duration {
        self.retry_period / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_client_go_refuses_are_refused() {
        let timing = |lease_duration, renew_deadline, retry_period| Timing {
            lease_duration: Duration::from_millis(lease_duration),
            renew_deadline: Duration::from_millis(renew_deadline),
            retry_period: Duration::from_millis(retry_period),
        };
        assert_eq!(Timing::default().check(), Ok(()));
        assert_eq!(timing(6_002, 6_001, 5_000).check(), Ok(()));
        assert!(timing(6_001, 6_001, 5_000).check().is_err());
        assert!(timing(9_000, 6_000, 5_000).check().is_err());
        assert!(timing(9_000, 6_000, 0).check().is_err());
        assert!(timing(1, 0, 0).check().is_err());
        assert_eq!(timing(6_001, 6_000, 5_000).lease_seconds(), 7);
        assert_eq!(timing(6_000, 5_000, 1_000).lease_seconds(), 6);
        assert_eq!(
            timing(u64::MAX, 5_000, 1_000).lease_seconds(),
            2_147_483_647
        );
    }
}
