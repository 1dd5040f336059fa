//! Percentiles of a sample, and the signed durations that overheads need.

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

/// Median, 95th percentile and maximum of a sample.
///
/// By the nearest-rank method: the p-th percentile of n values is the one at rank ⌈p/100 · n⌉, so every figure is a
/// value that was measured and none is interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks<T> {
    /// Size of the sample.
    pub n: usize,
    /// Median.
    pub p50: T,
    /// 95th percentile.
    pub p95: T,
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
        let max = *sorted.last()?;
        Some(Self { n: sorted.len(), p50: rank(&sorted, 50)?, p95: rank(&sorted, 95)?, max })
    }
}

impl Ranks<Delta> {
    /// Of these durations; none when there are none.
    pub fn of_durations(sample: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of(sample.into_iter().map(Delta::from))
    }
}

impl Serialize for Ranks<Delta> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Ranks", 4)?;
        fields.serialize_field("n", &self.n)?;
        fields.serialize_field("p50_ms", &self.p50.as_millis())?;
        fields.serialize_field("p95_ms", &self.p95.as_millis())?;
        fields.serialize_field("max_ms", &self.max.as_millis())?;
        fields.end()
    }
}

impl Serialize for Ranks<u64> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Ranks", 4)?;
        fields.serialize_field("n", &self.n)?;
        fields.serialize_field("p50", &self.p50)?;
        fields.serialize_field("p95", &self.p95)?;
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

    #[test]
    fn percentiles_are_nearest_ranks() {
        // The textbook sample: rank ⌈0.5 · 5⌉ = 3, rank ⌈0.95 · 5⌉ = 5.
        assert_eq!(Ranks::of([50u64, 15, 40, 20, 35]), Some(Ranks { n: 5, p50: 35, p95: 50, max: 50 }));
        assert_eq!(Ranks::of(1..=100u64), Some(Ranks { n: 100, p50: 50, p95: 95, max: 100 }));
        assert_eq!(Ranks::of([7u64]), Some(Ranks { n: 1, p50: 7, p95: 7, max: 7 }));
        assert_eq!(Ranks::<u64>::of([]), None);
    }

    #[test]
    fn durations_are_written_in_milliseconds() {
        let ranks = Ranks::of_durations([Duration::from_micros(1500)]).unwrap();
        assert_eq!(
            serde_json::to_value(ranks).unwrap(),
            serde_json::json!({ "n": 1, "p50_ms": 1.5, "p95_ms": 1.5, "max_ms": 1.5 })
        );
    }

    #[test]
    fn overheads_may_be_negative() {
        assert_eq!(Delta::above(Duration::from_millis(1), Duration::from_millis(3)).as_millis(), -2.0);
    }
}
