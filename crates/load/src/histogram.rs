//! How long answers took: counts in buckets that grow with the value, so that recording is a shift and an addition.
//!
//! 128 buckets to each doubling: a value read back is at most 0.8 % above the one recorded.

use std::time::Duration;

/// Buckets to each doubling.
const STEPS: u64 = 128;
const STEPS_BITS: u32 = STEPS.trailing_zeros();
/// Doublings above the first [`STEPS`] values: the last bucket holds everything from 2^43 ns, more than two hours.
const DOUBLINGS: u32 = 36;
const BUCKETS: usize = ((DOUBLINGS as u64 + 1) * STEPS) as usize;

/// Counts of durations, by nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, sum_ns: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts everything the other one has counted, too.
    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The longest, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The mean, exactly; zero if nothing was counted.
    pub fn mean(&self) -> Duration {
        let ns = self.sum_ns.checked_div(u128::from(self.total)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The duration that this share (0 to 1) of what was counted did not exceed, rounded up by at most 0.8 %. Zero if nothing
    /// was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        if self.total == 0 {
            return Duration::ZERO;
        }
        let wanted = ((share.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(index).min(self.max_ns));
            }
        }
        self.max()
    }
}

/// The bucket of a value.
#[inline]
fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let doubling = ns.ilog2() - STEPS_BITS;
    let step = (ns >> doubling) - STEPS;
    ((u64::from(doubling + 1) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (doubling, step) = (index as u64 / STEPS, index as u64 % STEPS);
    match doubling.checked_sub(1) {
        None => step,
        Some(shift) => ((STEPS + step + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|ns| histogram.record(Duration::from_nanos(ns)));
        histogram
    }

    #[test]
    fn every_value_is_read_back_at_most_a_percent_too_large() {
        let mut ns = 1_u64;
        while ns < 1 << 42 {
            let read = upper(bucket(ns));
            assert!(read >= ns && (read - ns) as f64 <= ns as f64 * 0.008, "{ns} is read as {read}");
            ns += 1 + ns / 37;
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for index in 1..BUCKETS - 1 {
            assert_eq!(bucket(upper(index - 1) + 1), index);
            assert_eq!(bucket(upper(index)), index);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let histogram = of(1..=1000);
        for (share, expected) in [(0.0, 1), (0.5, 500), (0.95, 950), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let read = histogram.quantile(share).as_nanos() as f64;
            assert!((read - f64::from(expected)).abs() <= f64::from(expected) * 0.008, "{share}: {read}");
        }
        assert_eq!(histogram.mean(), Duration::from_nanos(500));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn two_histograms_added_are_the_histogram_of_both() {
        let mut both = of(0..500);
        both.add(&of(500..1000));
        let once = of(0..1000);
        assert_eq!(both.count(), once.count());
        assert_eq!((both.max(), both.mean()), (once.max(), once.mean()));
        assert_eq!(both.quantile(0.9), once.quantile(0.9));
    }
}
