//! What chance explains: bounds beyond which a sample does not come from the distribution that it should.

use samp_model::topology::Loss;

/// What is less probable is not put down to chance. A calibration of 1,000 links makes some thousand comparisons, so fewer
/// than one in a thousand fails by chance alone.
pub(super) const IMPROBABLE: f64 = 1e-7;

/// The probability of `least` or more events among `trials` of this probability each (the binomial distribution).
pub(crate) fn at_least(least: u64, trials: u64, probability: f64) -> f64 {
    if least == 0 || probability >= 1.0 {
        return 1.0;
    }
    if probability <= 0.0 || least > trials {
        return 0.0;
    }
    // By logarithms, as the first terms of many trials are below the smallest number.
    let odds = (probability / (1.0 - probability)).ln();
    let mut term = trials as f64 * (1.0 - probability).ln();
    let mut below = term.exp();
    for events in 1..least {
        term += ((trials - events + 1) as f64 / events as f64).ln() + odds;
        below += term.exp();
    }
    1.0 - below
}

/// Whether more than one in a hundred of all such values lie beyond a limit that `beyond` of `n` lie beyond: the limit is
/// below their 99th percentile.
pub(super) fn exceeds_p99(beyond: u64, n: u64) -> bool {
    at_least(beyond, n, 0.01) < IMPROBABLE
}

/// How far the share of a sample of `n` below any value may be from the distribution's (Dvoretzky, Kiefer and Wolfowitz
/// 1956, with Massart's constant of 1990).
pub(super) fn band(n: usize) -> f64 {
    ((2.0 / IMPROBABLE).ln() / (2.0 * n as f64)).sqrt()
}

/// The probability of each number of packets lost, of `n`.
pub(super) fn losses(loss: Loss, duplicate: f64, n: usize) -> Vec<f64> {
    let (p, r, bad, good) = match loss {
        Loss::Random(share) => (0.0, 1.0, 0.0, share),
        Loss::GilbertElliott { p, r, bad, good } => (p, r, bad, good),
    };
    // One that is doubled and lost arrives once.
    let [bad, good] = [bad, good].map(|share| share * (1.0 - duplicate));
    let in_bad = if p > 0.0 { p / (p + r) } else { 0.0 };
    // By number of losses so far, in the good and in the bad state.
    let mut counts = vec![[0.0; 2]; n + 1];
    counts[0] = [1.0 - in_bad, in_bad];
    for sent in 0..n {
        for lost in (0..=sent).rev() {
            let [in_good, in_bad] = std::mem::take(&mut counts[lost]);
            let states = [(in_good, good, [1.0 - p, p]), (in_bad, bad, [r, 1.0 - r])];
            for (probability, share, [to_good, to_bad]) in states {
                for (lost, probability) in
                    [(lost, probability * (1.0 - share)), (lost + 1, probability * share)]
                {
                    counts[lost][0] += probability * to_good;
                    counts[lost][1] += probability * to_bad;
                }
            }
        }
    }
    counts.into_iter().map(|[in_good, in_bad]| in_good + in_bad).collect()
}

/// Whether so many losses are too many or too few for this distribution.
pub(super) fn is_improbable(lost: usize, losses: &[f64]) -> bool {
    let fewer: f64 = losses.iter().take(lost + 1).sum();
    let more: f64 = losses.iter().skip(lost).sum();
    fewer < IMPROBABLE || more < IMPROBABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn binomial_tails_are_those_of_the_textbook() {
        assert_close(at_least(0, 10, 0.3), 1.0);
        assert_close(at_least(1, 2, 0.5), 0.75);
        assert_close(at_least(2, 3, 0.25), 10.0 / 64.0);
        assert_close(at_least(5, 4, 0.5), 0.0);
        assert_close(at_least(3, 3, 1.0), 1.0);
        assert_close(at_least(1, 3, 0.0), 0.0);
        assert!((at_least(10_000, 1_000_000, 0.01) - 0.5).abs() < 0.01, "also of a million");
    }

    #[test]
    fn a_few_late_ones_are_chance_and_many_are_not() {
        for (beyond, n, exceeds) in
            [(0, 0, false), (1, 1, false), (5, 20, false), (7, 20, true), (12, 200, false), (16, 200, true)]
        {
            assert_eq!(exceeds_p99(beyond, n), exceeds, "{beyond} of {n}");
        }
        assert!(!exceeds_p99(10_200, 1_000_000) && exceeds_p99(11_000, 1_000_000));
    }

    #[test]
    fn a_larger_sample_has_a_narrower_band() {
        assert!((band(200) - 0.205).abs() < 0.001, "{}", band(200));
        assert!(band(20) > band(21) && band(1) > 1.0, "one probe says nothing");
    }

    #[test]
    fn losses_alone_are_binomial() {
        let losses = losses(Loss::Random(0.25), 0.0, 3);
        for (found, expected) in losses.iter().zip([27.0, 27.0, 9.0, 1.0]) {
            assert_close(*found, expected / 64.0);
        }
    }

    #[test]
    fn bursts_have_the_models_mean_and_are_wider() {
        const N: usize = 200;
        let mean = |losses: &[f64]| losses.iter().enumerate().map(|(lost, p)| lost as f64 * p).sum::<f64>();
        let bursts = losses(Loss::GilbertElliott { p: 0.01, r: 0.09, bad: 1.0, good: 0.0 }, 0.0, N);
        let alone = losses(Loss::Random(0.1), 0.0, N);
        assert_close(bursts.iter().sum(), 1.0);
        assert!((mean(&bursts) - 20.0).abs() < 1e-6 && (mean(&alone) - 20.0).abs() < 1e-6);
        assert!(is_improbable(100, &alone) && !is_improbable(100, &bursts));
        assert!(!is_improbable(0, &bursts) && is_improbable(200, &bursts));
        let doubled = losses(Loss::Random(0.2), 0.5, N);
        assert!((mean(&doubled) - 20.0).abs() < 1e-6);
    }

    #[test]
    fn one_loss_where_there_are_none_is_too_many() {
        let none = losses(Loss::default(), 0.0, 20);
        assert!(!is_improbable(0, &none) && is_improbable(1, &none));
        let all = losses(Loss::Random(1.0), 0.0, 20);
        assert!(!is_improbable(20, &all) && is_improbable(19, &all));
    }
}
