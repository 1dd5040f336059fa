//! Axes: where values are, and which of them are marked.

/// An axis: where a value is between `start` and `end`, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    start: f64,
    end: f64,
}

impl Axis {
    /// An axis from the first to the last of these values.
    pub fn tight(values: impl Iterator<Item = f64> + Clone, is_log: bool, start: f64, end: f64) -> Self {
        let (from, to) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::MIN, f64::max));
        // A single value needs an axis, too.
        if from < to {
            Self { from, to, is_log, start, end }
        } else {
            Self::round([from].into_iter(), is_log, start, end)
        }
    }

    /// An axis between round values about all of these. A linear one begins at 0 unless a value is smaller, a
    /// logarithmic one is for what is positive.
    pub fn round(values: impl Iterator<Item = f64> + Clone, is_log: bool, start: f64, end: f64) -> Self {
        let least = values.clone().filter(|value| !is_log || *value > 0.0).fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::MIN, f64::max);
        let (from, to) = match is_log {
            // Of nothing positive there is nothing to show.
            true if !least.is_finite() => (1.0, 10.0),
            true => {
                let from = 10_f64.powf(least.log10().floor());
                (from, 10_f64.powf(most.log10().ceil()).max(10.0 * from))
            }
            false => {
                let step = step(most.max(0.0) - least.min(0.0));
                ((least.min(0.0) / step).floor() * step, (most.max(step) / step).ceil() * step)
            }
        };
        Self { from, to, is_log, start, end }
    }

    /// Where a value is, in pixels.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        };
        self.start + share * (self.end - self.start)
    }

    /// Where it ends, in pixels.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// The round values that are marked on it.
    pub fn ticks(&self) -> Vec<f64> {
        let (from, to) = (self.from, self.to);
        if !self.is_log {
            let step = step(to - from);
            let first = (from / step).ceil();
            return (0..=((to / step - first) + 1e-9) as u32)
                .map(|number| (first + f64::from(number)) * step)
                .collect();
        }
        let factors: &[f64] = if to / from > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
        let all =
            decades.flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)));
        all.filter(|tick| (from * 0.999..=to * 1.001).contains(tick)).collect()
    }
}

/// The distance of ticks over such a span: 1, 2 or 5 times a power of 10.
fn step(span: f64) -> f64 {
    let rough = if span > 0.0 { span / 6.0 } else { 1.0 };
    let power = 10_f64.powf(rough.log10().floor());
    power * [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number;

    #[test]
    fn axes_have_round_ticks_about_all_values() {
        let ticks = |values: &[f64], is_log| {
            let axis = Axis::round(values.iter().copied(), is_log, 0.0, 100.0);
            (
                axis.ticks().into_iter().map(number).collect::<Vec<_>>(),
                values.iter().map(|v| axis.place(*v)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(ticks(&[0.0, 1.0], false).0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(&[87.0, 431.0], false).0, ["0", "100", "200", "300", "400", "500"]);
        assert_eq!(ticks(&[12.0, 995.0], true).0, ["10", "20", "50", "100", "200", "500", "1000"]);
        assert_eq!(ticks(&[0.0, 0.0], false).0.first().unwrap(), "0");
        assert_eq!(ticks(&[0.0, 0.0], true).0, ["1", "2", "5", "10"]);
        assert_eq!(
            ticks(&[0.3, 4e5], true).0,
            ["0.1", "1", "10", "100", "1000", "10000", "100000", "1000000"]
        );
        let tight = Axis::tight([1.0, 4.0, 128.0].into_iter(), true, 0.0, 70.0);
        assert_eq!(tight.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!((tight.place(1.0), tight.place(128.0)), (0.0, 70.0));
        for is_log in [false, true] {
            for values in [[0.0, 0.0], [-3.0, 8.0], [0.003, 7e5], [5.0, 5.0], [10.0, 10.0]] {
                let (_, places) = ticks(&values, is_log);
                assert!(
                    places.iter().all(|place| (-1e-6..=100.0 + 1e-6).contains(place)),
                    "{values:?}: {places:?}"
                );
            }
        }
    }
}
