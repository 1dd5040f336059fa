//! What a link's quality makes of probes: how their one-way times are distributed, as `docs/emulation.md` says.

use samp_model::control::PROBE_BYTES;
use samp_model::topology::LinkQuality;
use std::time::Duration;

/// Halvings until a share is known to better than a millionth.
const HALVINGS: u32 = 24;

/// The distribution of one-way times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    quality: LinkQuality,
    /// Without jitter, of a probe in order, in nanoseconds.
    middle: f64,
}

impl Expected {
    /// Of probes far enough apart that none waits for another.
    pub(super) fn of(quality: LinkQuality) -> Self {
        let middle = quality.one_way_delay + quality.time_on_line(PROBE_BYTES);
        Self { quality, middle: middle.as_nanos() as f64 }
    }

    /// Whether all take the same time.
    pub(super) fn is_fixed(&self) -> bool {
        self.quality.jitter.deviation.is_zero() && self.quality.reorder == 0.0
    }

    /// What this share of all probes does not exceed.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let LinkQuality { jitter, reorder, .. } = self.quality;
        if share <= reorder {
            return Duration::ZERO;
        }
        let in_order = (share - reorder) / (1.0 - reorder);
        let deviation = jitter.deviation.as_nanos() as f64 * jitter.distribution.quantile(in_order);
        Duration::from_nanos((self.middle + deviation).max(0.0) as u64)
    }

    /// The share of probes that take so many nanoseconds at most.
    pub(super) fn share(&self, nanos: f64) -> f64 {
        if nanos < 0.0 {
            return 0.0;
        }
        let LinkQuality { jitter, reorder, .. } = self.quality;
        reorder + (1.0 - reorder) * self.share_in_order(nanos, jitter.deviation.as_nanos() as f64)
    }

    fn share_in_order(&self, nanos: f64, deviation: f64) -> f64 {
        if deviation == 0.0 {
            return if nanos >= self.middle { 1.0 } else { 0.0 };
        }
        let distribution = self.quality.jitter.distribution;
        let units = (nanos - self.middle) / deviation;
        if units < distribution.quantile(0.0) {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            if distribution.quantile(middle) <= units { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 1e6;

    fn expected(jitter: &str, reorder: f64, rate: Option<u64>) -> Expected {
        let jitter = jitter.parse().unwrap();
        let one_way_delay = Duration::from_millis(10);
        Expected::of(LinkQuality { one_way_delay, jitter, reorder, rate, ..LinkQuality::IDEAL })
    }

    #[test]
    fn a_delay_alone_is_a_step() {
        let fixed = expected("0", 0.0, None);
        assert!(fixed.is_fixed());
        assert_eq!((fixed.share(9.9 * MS), fixed.share(10.0 * MS)), (0.0, 1.0));
        assert_eq!(fixed.quantile(0.5), Duration::from_millis(10));
        // 480 bits at 48 kbit/s.
        assert_eq!(expected("0", 0.0, Some(48_000)).quantile(0.99), Duration::from_millis(20));
    }

    #[test]
    fn jitter_has_its_shares_and_quantiles() {
        for (jitter, at, share) in [
            ("4ms", 5.9, 0.0),
            ("4ms", 8.0, 0.25),
            ("4ms", 14.1, 1.0),
            ("2ms normal", 10.0, 0.5),
            ("2ms normal", 12.0, 0.8413),
            ("2ms normal", 18.1, 1.0),
        ] {
            let found = expected(jitter, 0.0, None).share(at * MS);
            assert!((found - share).abs() < 0.002, "{jitter} at {at}: {found}");
        }
        assert_eq!(expected("4ms", 0.0, None).quantile(0.75), Duration::from_millis(12));
    }

    #[test]
    fn those_that_overtake_take_no_time() {
        let some = expected("0", 0.25, None);
        assert!(!some.is_fixed());
        assert_eq!((some.share(-1.0), some.share(0.0), some.share(10.0 * MS)), (0.0, 0.25, 1.0));
        assert_eq!((some.quantile(0.2), some.quantile(0.3)), (Duration::ZERO, Duration::from_millis(10)));
    }
}
