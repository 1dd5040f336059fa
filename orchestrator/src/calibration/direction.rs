//! One direction of a link: what was configured, what was measured, and what is wrong.

use super::Tolerance;
use super::chance::{band, exceeds_p99, is_improbable, losses};
use super::expected::Expected;
use crate::report::{Delta, rank};
use samp_model::control::Probes;
use samp_model::topology::LinkQuality;
use serde::Serialize;
use std::time::Duration;

/// A direction of a link.
#[derive(Clone, Debug, Serialize)]
pub struct Direction {
    /// The link, as commands name it.
    pub link: String,
    /// The node that sent the probes.
    pub from: String,
    /// The node that received them.
    pub to: String,
    /// What the link was to do.
    pub configured: LinkQuality,
    /// What that makes of probes.
    pub expected: Figures,
    /// What became of them; without times when none arrived.
    pub measured: Figures,
    /// How many were sent.
    pub probes: u32,
    /// How many did not arrive.
    pub lost: u32,
    /// What is out of tolerance, and by how much.
    pub faults: Vec<String>,
}

/// One-way times in milliseconds, and the share of probes that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Median.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// Maximum.
    pub max_ms: Option<f64>,
    /// 0.0 to 1.0.
    pub loss: f64,
}

impl Direction {
    /// Compares what became of probes with what was configured.
    pub(super) fn new(
        [link, from, to]: [&str; 3],
        configured: LinkQuality,
        probes: &Probes,
        tolerance: Tolerance,
    ) -> Self {
        let expected = Expected::of(configured);
        let mut sorted = probes.one_way.clone();
        sorted.sort_unstable();
        let sent = probes.sent as usize;
        let lost = sent.saturating_sub(sorted.len());
        let losses = losses(configured.loss, configured.duplicate, sent);
        let mean: f64 = losses.iter().enumerate().map(|(lost, probability)| lost as f64 * probability).sum();
        let loss = mean / sent.max(1) as f64;

        let mut faults = Vec::new();
        if is_improbable(lost, &losses) {
            faults.push(format!("{lost} of {sent} probes lost instead of {}", percent(loss)));
        }
        faults.extend(match expected.is_fixed() {
            true => fixed_faults(&sorted, expected.quantile(0.5), tolerance),
            false => varied_fault(&sorted, &expected, tolerance.delay).into_iter().collect(),
        });
        let at = |share| Some(Delta::from(expected.quantile(share)).as_millis());
        let found = |percent| rank(&sorted, percent).map(millis);
        Self {
            link: link.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            configured,
            expected: Figures { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0), loss },
            measured: Figures {
                p50_ms: found(50),
                p99_ms: found(99),
                max_ms: found(100),
                loss: lost as f64 / sent.max(1) as f64,
            },
            probes: probes.sent,
            lost: u32::try_from(lost).unwrap_or(u32::MAX),
            faults,
        }
    }
}

/// Of one-way times that should all be the same: the median, and the 99th percentile.
fn fixed_faults(sorted: &[u64], expected: Duration, tolerance: Tolerance) -> Vec<String> {
    let off = |nanos: u64| Delta::above(Duration::from_nanos(nanos), expected).0;
    let is_beyond = |nanos: u64, limit: Duration| Duration::from_nanos(off(nanos).unsigned_abs()) > limit;
    let fault = |name: &str, nanos: u64| {
        let direction = if off(nanos) > 0 { "more" } else { "less" };
        let off = millis(off(nanos).unsigned_abs());
        format!("{name} {:.3} ms, {off:.3} ms {direction} than configured", millis(nanos))
    };
    let mut faults = Vec::new();
    if let Some(p50) = rank(sorted, 50).filter(|&p50| is_beyond(p50, tolerance.delay)) {
        faults.push(fault("p50", p50));
    }
    let beyond = sorted.iter().filter(|&&nanos| is_beyond(nanos, tolerance.p99())).count();
    if exceeds_p99(beyond as u64, sorted.len() as u64)
        && let Some(p99) = rank(sorted, 99)
    {
        faults.push(fault("p99", p99));
    }
    faults
}

/// Of one-way times with a distribution: where the sample's is farthest outside of the band about it.
fn varied_fault(sorted: &[u64], expected: &Expected, tolerance: Duration) -> Option<String> {
    let tolerance = tolerance.as_nanos() as f64;
    let n = sorted.len() as f64;
    let band = band(sorted.len());
    let misfit = |(number, &nanos): (usize, &u64)| {
        let (before, until) = (number as f64 / n, (number + 1) as f64 / n);
        let most = expected.share(nanos as f64 + tolerance);
        // The share below this value, without it.
        let least = expected.share((nanos as f64 - tolerance).next_down());
        let early = (until - most - band, until, most);
        let late = (least - before - band, before, least);
        (if early.0 > late.0 { early } else { late }, nanos)
    };
    let worst = sorted.iter().enumerate().map(misfit).max_by(|a, b| a.0.0.total_cmp(&b.0.0))?;
    let ((beyond, share, expected), nanos) = worst;
    (beyond > 0.0).then(|| {
        let (share, expected, at) = (percent(share), percent(expected), millis(nanos));
        format!("{share} of the probes took up to {at:.3} ms, by its distribution {expected} do")
    })
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology::Loss;

    const MS: u64 = 1_000_000;

    fn fixed(one_way: Vec<u64>) -> Vec<String> {
        let quality = LinkQuality { one_way_delay: Duration::from_millis(5), ..LinkQuality::IDEAL };
        faults(quality, one_way.len() as u32, one_way)
    }

    fn faults(quality: LinkQuality, sent: u32, one_way: Vec<u64>) -> Vec<String> {
        let probes = Probes { sent, one_way };
        let direction = Direction::new(["a--b", "a", "b"], quality, &probes, Tolerance::default());
        assert_eq!(direction.lost, sent - probes.one_way.len() as u32);
        direction.faults
    }

    #[test]
    fn a_link_that_does_what_it_should_has_no_faults() {
        assert!(fixed(vec![5 * MS + 40_000; 100]).is_empty());
        // A few late ones are the machine's, not the link's.
        let mut some = vec![5 * MS + 40_000; 196];
        some.extend([50 * MS; 4]);
        assert!(fixed(some).is_empty());
    }

    #[test]
    fn a_wrong_delay_is_told_with_how_far_it_is_off() {
        assert_eq!(fixed(vec![8 * MS; 20])[0], "p50 8.000 ms, 3.000 ms more than configured");
        let early = fixed(vec![MS; 20]);
        assert_eq!(early[0], "p50 1.000 ms, 4.000 ms less than configured");
        assert_eq!(early.len(), 2, "the 99th percentile as well");
    }

    #[test]
    fn a_long_tail_is_a_fault_of_its_own() {
        let mut tail = vec![5 * MS; 160];
        tail.extend([9 * MS; 40]);
        assert_eq!(fixed(tail), ["p99 9.000 ms, 4.000 ms more than configured"]);
    }

    #[test]
    fn losses_are_compared_with_their_distribution() {
        let lossy = |share| LinkQuality { loss: Loss::Random(share), ..LinkQuality::IDEAL };
        assert!(faults(lossy(0.0), 200, vec![0; 200]).is_empty());
        assert_eq!(faults(lossy(0.0), 200, vec![0; 199]), ["1 of 200 probes lost instead of 0.0 %"]);
        assert!(faults(lossy(0.1), 200, vec![0; 175]).is_empty());
        assert_eq!(faults(lossy(0.1), 200, vec![0; 100]), ["100 of 200 probes lost instead of 10.0 %"]);
        assert_eq!(faults(lossy(0.5), 200, vec![0; 200]), ["0 of 200 probes lost instead of 50.0 %"]);
        assert_eq!(faults(lossy(0.0), 20, Vec::new()), ["20 of 20 probes lost instead of 0.0 %"]);
    }

    #[test]
    fn jitter_is_compared_as_a_distribution() {
        let quality = LinkQuality {
            one_way_delay: Duration::from_millis(20),
            jitter: "10ms".parse().unwrap(),
            ..LinkQuality::IDEAL
        };
        let evenly = |from: u64, to: u64| (0..200).map(|n| from + (to - from) * n / 200).collect::<Vec<_>>();
        assert!(faults(quality, 200, evenly(10 * MS, 30 * MS)).is_empty());
        let narrow = faults(quality, 200, vec![20 * MS; 200]);
        assert!(narrow[0].contains("100.0 % of the probes took up to 20.000 ms"), "{narrow:?}");
        assert_eq!(faults(quality, 200, evenly(20 * MS, 40 * MS)).len(), 1);
        assert_eq!(faults(quality, 200, evenly(0, 20 * MS)).len(), 1);
        // Two probes say little.
        assert!(faults(quality, 2, vec![11 * MS, 12 * MS]).is_empty());
    }

    #[test]
    fn reordering_is_a_part_of_the_distribution() {
        let quality =
            LinkQuality { one_way_delay: Duration::from_millis(20), reorder: 0.5, ..LinkQuality::IDEAL };
        let mut half = vec![50_000; 100];
        half.extend([20 * MS + 50_000; 100]);
        assert!(faults(quality, 200, half).is_empty());
        assert_eq!(faults(quality, 200, vec![20 * MS; 200]).len(), 1);
    }
}
