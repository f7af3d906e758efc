//! What a work queue counts, for metrics of client-go's names (`util/workqueue/metrics.go`).

use std::time::Duration;

/// Numbers for the metrics of client-go's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// `workqueue_depth`: keys that wait for a worker, and keys in work that come once more.
    pub depth: usize,
    /// `workqueue_adds_total`: keys that became such.
    pub adds: u64,
    /// `workqueue_retries_total`: keys that were added with a delay.
    pub retries: u64,
    /// `workqueue_queue_duration_seconds`: from an add until a worker took the key.
    pub waited: Histogram,
    /// `workqueue_work_duration_seconds`: from then until the worker was done.
    pub worked: Histogram,
    /// `workqueue_unfinished_work_seconds`: the time that all keys in work have been so.
    pub unfinished: Duration,
    /// `workqueue_longest_running_processor_seconds`: the longest of these times.
    pub longest_running: Duration,
    /// The number of keys in work.
    pub in_work: usize,
    /// The number of keys with a delay that has not ended.
    pub delayed: usize,
    /// The time since the oldest key became ready that still waits for a worker.
    pub oldest: Duration,
}

/// Upper bounds of the buckets: from 10 nanoseconds to 10 seconds in steps of ten, as
/// `k8s.io/component-base/metrics/prometheus/workqueue` has them. Above lies one more bucket.
pub const BOUNDS: [Duration; 10] = [
    Duration::from_nanos(10),
    Duration::from_nanos(100),
    Duration::from_micros(1),
    Duration::from_micros(10),
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// How often a duration lay in which bucket, and the sum of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The number of durations up to each of [`BOUNDS`] and above the bound before it, and at the
    /// end the number above the last bound. They are not cumulative yet.
    pub counts: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn observe(&mut self, duration: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::ZERO);
        histogram.observe(Duration::from_nanos(10));
        histogram.observe(Duration::from_nanos(11));
        histogram.observe(Duration::from_secs(10));
        histogram.observe(Duration::from_secs(11));
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.sum, Duration::new(21, 21));
    }
}
