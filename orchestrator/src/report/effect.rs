//! What one level of a factor does, compared with another.
//!
//! Times of handoffs and calls are sums of a few link delays: several peaks and a long tail, nothing like a normal
//! distribution. So differences are of medians, with bootstrap intervals, and the size of an effect is Cliff's delta, which
//! needs ranks only: the probability that a value of the second sample is larger than one of the first, less that it
//! is smaller. It is 1 when all are larger, 0 when neither tends to be, −1 when all are smaller.

use super::statistics::{median_interval, rank};
use rand::RngExt;
use samp_model::random;

/// Resamples of a bootstrap.
const ROUNDS: usize = 1000;

/// Cliff's delta of two sorted samples (Cliff 1993); none when one is empty.
pub fn cliffs_delta(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let above = |value: &f64| {
        let smaller = first.partition_point(|other| other < value);
        let larger = first.len() - first.partition_point(|other| other <= value);
        smaller as f64 - larger as f64
    };
    Some(second.iter().map(above).sum::<f64>() / (first.len() * second.len()) as f64)
}

/// The median of paired differences and its bootstrap 95 % interval; one pair has no interval.
pub fn paired(mut differences: Vec<f64>) -> Option<(f64, Option<[f64; 2]>)> {
    differences.sort_by(f64::total_cmp);
    let median = rank(&differences, 50)?;
    let interval = if differences.len() > 1 { median_interval(&differences) } else { None };
    Some((median, interval))
}

/// The difference of the medians of two sorted samples that are not paired, the second less the first, and its bootstrap
/// 95 % interval.
pub fn unpaired(first: &[f64], second: &[f64]) -> Option<(f64, [f64; 2])> {
    let difference = rank(second, 50)? - rank(first, 50)?;
    // The same every time: an interval is to depend on the samples only.
    let mut rng = random::generator(0, "bootstrap");
    let mut resampled = |sorted: &[f64]| {
        let mut places: Vec<usize> = (0..sorted.len()).map(|_| rng.random_range(0..sorted.len())).collect();
        let middle = sorted.len().div_ceil(2) - 1;
        sorted[*places.select_nth_unstable(middle).1]
    };
    let mut differences: Vec<f64> = (0..ROUNDS).map(|_| resampled(second) - resampled(first)).collect();
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((share * ROUNDS as f64).ceil() as usize).clamp(1, ROUNDS) - 1];
    Some((difference, [at(0.025), at(0.975)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cliffs_delta_counts_what_is_larger_and_smaller() {
        let one = [1.0, 2.0, 3.0];
        assert_eq!(cliffs_delta(&one, &one), Some(0.0));
        assert_eq!(cliffs_delta(&one, &[4.0, 5.0]), Some(1.0));
        assert_eq!(cliffs_delta(&one, &[0.0]), Some(-1.0));
        // Of 6 pairs 3 are larger, 2 smaller, 1 is equal.
        assert_eq!(cliffs_delta(&one, &[2.0, 2.5]), Some(1.0 / 6.0));
        assert_eq!(cliffs_delta(&one, &[]), None);
    }

    #[test]
    fn pairs_have_an_interval_when_there_are_some() {
        assert_eq!(paired(vec![]), None);
        assert_eq!(paired(vec![2.0]), Some((2.0, None)));
        let (median, interval) = paired(vec![5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((median, interval), (3.0, Some([1.0, 5.0])));
    }

    #[test]
    fn the_interval_of_a_difference_covers_it() {
        let first: Vec<f64> = (0..200).map(f64::from).collect();
        let second: Vec<f64> = first.iter().map(|value| value + 50.0).collect();
        let (difference, [low, high]) = unpaired(&first, &second).unwrap();
        assert_eq!(difference, 50.0);
        assert!(low < 50.0 && 50.0 < high && high - low < 60.0, "{low} to {high}");
        assert_eq!(unpaired(&first, &second), unpaired(&first, &second));
        let (_, [low, high]) = unpaired(&[1.0], &[3.0]).unwrap();
        assert_eq!([low, high], [2.0, 2.0]);
    }
}
