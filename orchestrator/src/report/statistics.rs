//! Percentiles of a sample, and the signed durations that overheads need.

use crate::calibration::at_least;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::time::Duration;

/// A difference of two durations, in nanoseconds; below zero when a measurement undercuts its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delta(pub i64);

impl Delta {
    /// `measured` − `floor`.
    pub fn above(measured: Duration, floor: Duration) -> Self {
        Self(Self::from(measured).0 - Self::from(floor).0)
    }

    /// In milliseconds.
    pub fn as_millis(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl From<Duration> for Delta {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Median with its interval, percentiles and maximum of a sample.
///
/// By the nearest-rank method: the p-th percentile of n values is the one at rank ⌈p/100 · n⌉, so every figure is a
/// value that was measured and none is interpolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranks<T> {
    /// Size of the sample.
    pub n: usize,
    /// Median.
    pub p50: T,
    /// The median's bootstrap 95 % interval.
    pub p50_ci95: [T; 2],
    /// 95th percentile.
    pub p95: T,
    /// 99th percentile.
    pub p99: T,
    /// Maximum.
    pub max: T,
}

/// A percentile of a sorted sample by the nearest-rank method; none when it is empty.
pub fn rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get((percent * sorted.len()).div_ceil(100).max(1) - 1).copied()
}

impl<T: Copy + Ord> Ranks<T> {
    /// Of this sample; none when it is empty.
    pub fn of(sample: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut sorted: Vec<T> = sample.into_iter().collect();
        sorted.sort_unstable();
        Self::of_sorted(&sorted)
    }
}

impl<T: Copy> Ranks<T> {
    /// Of a sample in order; none when it is empty.
    pub fn of_sorted(sorted: &[T]) -> Option<Self> {
        Some(Self {
            n: sorted.len(),
            p50: rank(sorted, 50)?,
            p50_ci95: median_interval(sorted)?,
            p95: rank(sorted, 95)?,
            p99: rank(sorted, 99)?,
            max: *sorted.last()?,
        })
    }
}

/// The bootstrap 95 % interval of the median of a sorted sample (percentile method); none when it is empty.
///
/// Without resampling: the median of a resample of n values is at most the k-th value when at least half of n draws are
/// among the first k, so its distribution is a binomial one, and the interval is what endless resampling would yield.
pub(super) fn median_interval<T: Copy>(sorted: &[T]) -> Option<[T; 2]> {
    let n = sorted.len() as u64;
    let half = n.div_ceil(2);
    let first_with = |probability: f64| {
        // The probability grows with k, and is 1 for k = n.
        let (mut below, mut reached) = (0, n);
        while reached > below + 1 {
            let k = below.midpoint(reached);
            if at_least(half, n, k as f64 / n as f64) >= probability { reached = k } else { below = k }
        }
        reached
    };
    let at = |k: u64| sorted.get((k as usize).checked_sub(1)?).copied();
    Some([at(first_with(0.025))?, at(first_with(0.975))?])
}

impl Ranks<Delta> {
    /// Of these durations; none when there are none.
    pub fn of_durations(sample: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of(sample.into_iter().map(Delta::from))
    }
}

impl Serialize for Ranks<Delta> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Ranks", 6)?;
        fields.serialize_field("n", &self.n)?;
        fields.serialize_field("p50_ms", &self.p50.as_millis())?;
        fields.serialize_field("p50_ci95_ms", &self.p50_ci95.map(Delta::as_millis))?;
        fields.serialize_field("p95_ms", &self.p95.as_millis())?;
        fields.serialize_field("p99_ms", &self.p99.as_millis())?;
        fields.serialize_field("max_ms", &self.max.as_millis())?;
        fields.end()
    }
}

impl Serialize for Ranks<u64> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Ranks", 6)?;
        fields.serialize_field("n", &self.n)?;
        fields.serialize_field("p50", &self.p50)?;
        fields.serialize_field("p50_ci95", &self.p50_ci95)?;
        fields.serialize_field("p95", &self.p95)?;
        fields.serialize_field("p99", &self.p99)?;
        fields.serialize_field("max", &self.max)?;
        fields.end()
    }
}

/// Writes a duration as milliseconds, a float.
pub(super) fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(Delta::from(*duration).as_millis())
}

/// Writes a duration as milliseconds, a float, or null.
pub(super) fn maybe_milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| Delta::from(duration).as_millis()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let told = |sample: &mut dyn Iterator<Item = u64>| {
            Ranks::of(sample).map(|Ranks { n, p50, p95, p99, max, .. }| (n, [p50, p95, p99, max]))
        };
        // The textbook sample: rank ⌈0.5 · 5⌉ = 3, rank ⌈0.95 · 5⌉ = 5.
        assert_eq!(told(&mut [50, 15, 40, 20, 35].into_iter()), Some((5, [35, 50, 50, 50])));
        assert_eq!(told(&mut (1..=100)), Some((100, [50, 95, 99, 100])));
        assert_eq!(told(&mut [7].into_iter()), Some((1, [7; 4])));
        assert_eq!(Ranks::<u64>::of([]), None);
    }

    #[test]
    fn the_medians_interval_is_what_resampling_would_yield() {
        assert_eq!(median_interval(&[7]), Some([7, 7]));
        assert_eq!(median_interval::<u64>(&[]), None);
        // Of 5 values, P(median of a resample ≤ the smallest) = P(Bin(5, 1/5) ≥ 3) = 0.058.
        assert_eq!(median_interval(&[1, 2, 3, 4, 5]), Some([1, 5]));
        let sample: Vec<u64> = (1..=100).collect();
        let [low, high] = median_interval(&sample).unwrap();
        let mut rng = samp_model::random::generator(1, "resample");
        let mut medians: Vec<u64> = (0..4000)
            .map(|_| {
                let mut resample: Vec<u64> = (0..100).map(|_| rng.random_range(1..=100)).collect();
                resample.sort_unstable();
                rank(&resample, 50).unwrap()
            })
            .collect();
        medians.sort_unstable();
        let [by_chance_low, by_chance_high] = [medians[99], medians[3899]];
        assert!(low.abs_diff(by_chance_low) <= 1, "{low} {by_chance_low}");
        assert!(high.abs_diff(by_chance_high) <= 1, "{high} {by_chance_high}");
        let many: Vec<u64> = (0..20_000).collect();
        let [low, high] = median_interval(&many).unwrap();
        assert!((9_800..9_999).contains(&low) && (10_000..10_200).contains(&high), "{low} {high}");
    }

    #[test]
    fn durations_are_written_in_milliseconds() {
        let ranks = Ranks::of_durations([Duration::from_micros(1500)]).unwrap();
        assert_eq!(
            serde_json::to_value(ranks).unwrap(),
            serde_json::json!({
                "n": 1, "p50_ms": 1.5, "p50_ci95_ms": [1.5, 1.5], "p95_ms": 1.5, "p99_ms": 1.5, "max_ms": 1.5,
            })
        );
    }

    #[test]
    fn overheads_may_be_negative() {
        assert_eq!(Delta::above(Duration::from_millis(1), Duration::from_millis(3)).as_millis(), -2.0);
    }
}
