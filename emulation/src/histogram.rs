//! How durations are distributed, in constant space.

use std::time::Duration;

/// Buckets that each power of two is divided into: a percentile is exact to 1/16.
const PARTS: u32 = 16;

/// A histogram of nanoseconds, log-linear.
#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Histogram { buckets: vec![0; bucket_of(u64::MAX) + 1], count: 0, max: 0 }
    }

    /// Adds a value.
    pub fn add(&mut self, nanos: u64) {
        self.buckets[bucket_of(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The greatest value.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The value that this share of all values does not exceed, rounded up to its bucket's end; zero when empty.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end_of(bucket).min(self.max));
            }
        }
        Duration::ZERO
    }
}

/// Values below `PARTS` have a bucket each; above, each power of two has `PARTS` of them.
fn bucket_of(nanos: u64) -> usize {
    if nanos < u64::from(PARTS) {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() - PARTS.ilog2();
    (exponent * PARTS) as usize + (nanos >> exponent) as usize
}

/// The greatest value in a bucket.
fn end_of(bucket: usize) -> u64 {
    let parts = PARTS as usize;
    if bucket < parts {
        return bucket as u64;
    }
    let exponent = bucket / parts - 1;
    let part = (bucket - exponent * parts) as u128;
    u64::try_from(((part + 1) << exponent) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another() {
        let mut values: Vec<u64> =
            (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, 3 << bit >> 1]).collect();
        values.push(u64::MAX);
        for value in values {
            let bucket = bucket_of(value);
            assert!(value <= end_of(bucket), "{value}");
            assert!(bucket == 0 || end_of(bucket - 1) < value, "{value}");
            assert!(end_of(bucket) - value <= value / u64::from(PARTS), "{value}");
        }
    }

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        (1..=1000).for_each(|n| histogram.add(n * 1000));
        assert!((500_000..532_000).contains(&(histogram.quantile(0.5).as_nanos() as u64)));
        assert!((990_000..=1_000_000).contains(&(histogram.quantile(0.99).as_nanos() as u64)));
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(1));
    }
}
