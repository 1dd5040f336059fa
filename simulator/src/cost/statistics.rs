//! A value over seeds: its mean, and how far that is to be trusted.

use serde::Serialize;

/// Student's t for a two-sided 95 % interval, with 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A value at one place of a figure, over all seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Where.
    pub x: f64,
    /// The mean over the seeds.
    pub mean: f64,
    /// The lower end of the 95 % interval of the mean.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The least of all seeds.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// How many seeds.
    pub n: usize,
}

impl Estimate {
    /// Of these values, at least one; with one alone the interval is empty.
    pub fn of(x: f64, values: &[f64]) -> Self {
        let n = values.len();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // The mean of equal values is that value.
        let mean = (values.iter().sum::<f64>() / n as f64).clamp(min, max);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let half = match n {
            1 => 0.0,
            _ => t_95(n - 1) * (squares / (n - 1) as f64 / n as f64).sqrt(),
        };
        Self { x, mean, low: mean - half, high: mean + half, min, max, n }
    }
}

fn t_95(degrees: usize) -> f64 {
    // Beyond the table, the first terms of its expansion about the normal distribution.
    T_95.get(degrees - 1)
        .copied()
        .unwrap_or(1.960 + 2.372 / degrees as f64 + 2.822 / (degrees as f64).powi(2))
}

/// `sum / count`, or 0 of nothing.
pub(super) fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_by_hand() {
        // Mean 4, sample deviation 2, t of 2 degrees of freedom 4.303: ± 4.303 · 2 / √3.
        let estimate = Estimate::of(0.5, &[2.0, 4.0, 6.0]);
        assert_eq!(
            (estimate.x, estimate.mean, estimate.min, estimate.max, estimate.n),
            (0.5, 4.0, 2.0, 6.0, 3)
        );
        assert!(
            (estimate.high - 4.0 - 4.968_68).abs() < 1e-4 && (4.0 - estimate.low - 4.968_68).abs() < 1e-4
        );
        let one = Estimate::of(0.0, &[3.0]);
        assert_eq!((one.low, one.high), (3.0, 3.0));
    }

    #[test]
    fn the_table_of_t_goes_on_smoothly() {
        assert!(
            (t_95(31) - 2.040).abs() < 1e-3
                && (t_95(60) - 2.000).abs() < 1e-3
                && (t_95(1000) - 1.962).abs() < 1e-3
        );
    }
}
