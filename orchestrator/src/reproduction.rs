//! Whether what was measured again is what was measured before, metric by metric.

use crate::report::{Figures, Samples, Values, number, table, unpaired};
use samp_model::metric::Metric;
use serde::Serialize;

/// A difference so small, in hundredths of the first median, makes none.
const PERCENT: f64 = 5.0;

/// What came of doing it again.
#[derive(Clone, Debug, Serialize)]
pub struct Reproduction {
    /// Whether everything was reproduced.
    pub reproduced: bool,
    /// Each metric of each cell.
    pub metrics: Vec<Again>,
}

/// A metric, before and again.
#[derive(Clone, Debug, Serialize)]
pub struct Again {
    /// The cell; none where there is but one run.
    pub cell: Option<String>,
    /// Which metric.
    pub metric: Metric,
    /// Before.
    pub first: Figures,
    /// Again; none when nothing was measured.
    pub again: Option<Figures>,
    /// The median again less the median before, or of shares in percent.
    pub difference: Option<f64>,
    /// Its bootstrap 95 % interval; shares have their own.
    pub ci95: Option<[f64; 2]>,
    /// Whether that is the same.
    pub reproduced: bool,
}

impl Reproduction {
    /// Of the samples of each cell, before and again.
    pub fn new<'s>(cells: impl IntoIterator<Item = (Option<String>, [&'s Samples; 2])>) -> Self {
        let metrics: Vec<_> = cells
            .into_iter()
            .flat_map(|(cell, [first, again])| {
                let of = move |metric| {
                    Some(Again::new(cell.clone(), metric, first.get(metric)?, again.get(metric)))
                };
                Metric::all().filter_map(of).collect::<Vec<_>>()
            })
            .collect();
        // Of nothing nothing is reproduced.
        Self { reproduced: !metrics.is_empty() && metrics.iter().all(|again| again.reproduced), metrics }
    }

    /// As people read it.
    pub fn describe(&self) -> String {
        let has_cells = self.metrics.iter().any(|again| again.cell.is_some());
        let row = |again: &Again| {
            let metric = again.metric;
            let middle = |figures: &Figures| number(metric, figures.get(None));
            let difference = again.difference.map_or("-".to_owned(), |difference| {
                format!("{}{}", if difference > 0.0 { "+" } else { "" }, number(metric, difference))
            });
            let interval = again.ci95.map_or("-".to_owned(), |[low, high]| {
                format!("{} to {}", number(metric, low), number(metric, high))
            });
            let unit = match metric.kind().unit() {
                "" => metric.name().to_owned(),
                unit => format!("{}, {unit}", metric.name()),
            };
            let mut row = vec![format!("  {unit}")];
            if has_cells {
                row.insert(0, format!("  {}", again.cell.as_deref().unwrap_or_default()));
            }
            row.extend([
                middle(&again.first),
                again.again.as_ref().map_or("-".to_owned(), middle),
                difference,
                interval,
                if again.reproduced { "yes" } else { "NO" }.to_owned(),
            ]);
            row
        };
        let mut header = vec!["  metric", "before", "again", "difference", "95 % interval", "reproduced"];
        if has_cells {
            header.insert(0, "  cell");
        }
        let mut text = table(&header, self.metrics.iter().map(row));
        let reproduced = self.metrics.iter().filter(|again| again.reproduced).count();
        text += &format!("\n{reproduced} of {} metrics reproduced\n", self.metrics.len());
        text
    }
}

impl Again {
    fn new(cell: Option<String>, metric: Metric, first: &Values, again: Option<&Values>) -> Self {
        let (difference, ci95, reproduced) = match (first, again) {
            (Values::Sample(first), Some(Values::Sample(again))) => match unpaired(first, again) {
                Some((difference, [low, high])) => {
                    let small =
                        difference.abs() <= PERCENT / 100.0 * Values::Sample(first.clone()).middle().abs();
                    (Some(difference), Some([low, high]), small || (low <= 0.0 && 0.0 <= high))
                }
                None => (None, None, false),
            },
            (first, Some(again)) => {
                let overlap = match (first.figures(), again.figures()) {
                    (
                        Figures::Share { ci95: [low, high], .. },
                        Figures::Share { ci95: [other_low, other_high], .. },
                    ) => low <= other_high && other_low <= high,
                    _ => false,
                };
                (Some(again.middle() - first.middle()), None, overlap)
            }
            (_, None) => (None, None, false),
        };
        let again = again.map(Values::figures);
        Self { cell, metric, first: first.figures(), again, difference, ci95, reproduced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(first: &Values, again: Option<&Values>) -> (Option<f64>, bool) {
        let again = Again::new(None, Metric::Srd, first, again);
        (again.difference, again.reproduced)
    }

    #[test]
    fn what_is_the_same_but_for_chance_is_reproduced() {
        let sample = |shift: f64| Values::Sample((0..50).map(|value| shift + f64::from(value)).collect());
        assert_eq!(again(&sample(100.0), Some(&sample(100.0))), (Some(0.0), true));
        // Within the interval, and farther than five hundredths.
        assert_eq!(again(&sample(10.0), Some(&sample(13.0))), (Some(3.0), true));
        assert_eq!(again(&sample(10.0), Some(&sample(60.0))), (Some(50.0), false));
        // One value has no interval to speak of; then five hundredths count.
        let one = |value: f64| Values::Sample(vec![value]);
        assert_eq!(again(&one(100.0), Some(&one(104.0))), (Some(4.0), true));
        assert_eq!(again(&one(100.0), Some(&one(106.0))), (Some(6.0), false));
        assert_eq!(again(&one(100.0), None), (None, false));
    }

    #[test]
    fn shares_are_reproduced_when_their_intervals_overlap() {
        let share = |of| Values::Share { of, all: 100 };
        assert_eq!(again(&share(50), Some(&share(55))), (Some(5.0), true));
        assert_eq!(again(&share(10), Some(&share(90))), (Some(80.0), false));
    }
}
