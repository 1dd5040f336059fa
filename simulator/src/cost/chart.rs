//! A figure as SVG, complete in one file: lines that differ by colour, dashes and marks, with bands.

use super::figures::Figure;
use super::statistics::Estimate;
use std::fmt::Write;

const WIDTH: f64 = 740.0;
const HEIGHT: f64 = 400.0;
/// The frame's left, top, right and bottom.
const FRAME: [f64; 4] = [70.0, 44.0, 490.0, 340.0];
/// From one line of the legend to the next.
const LEGEND_STEP: f64 = 24.0;

/// The palette of Okabe and Ito, which people see apart who do not see all colours, dashes, and marks about the origin.
const LOOKS: [(&str, &str, &str); 6] = [
    ("#0072b2", "", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
    ("#d55e00", "7 3", "M-3.5 -3.5h7v7h-7z"),
    ("#009e73", "2 3", "M0 -4.5L4.5 3.5h-9z"),
    ("#cc79a7", "9 3 2 3", "M0 -5L5 0L0 5L-5 0z"),
    ("#000000", "4 2", "M0 4.5L4.5 -3.5h-9z"),
    ("#e69f00", "1 2", "M-4 -1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z"),
];

const STYLE: &str = "\
text{font:13px sans-serif;fill:#111}.title{font-size:15px;font-weight:bold;text-anchor:middle}\
.x{text-anchor:middle}.y{text-anchor:end;dominant-baseline:central}.note{font-size:11px;fill:#444}\
.legend{dominant-baseline:central}.grid{stroke:#ddd}.frame{fill:none;stroke:#111}.line{fill:none;stroke-width:2}";

/// An axis: where a value is between `start` and `end`, in pixels.
struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    start: f64,
    end: f64,
}

impl Axis {
    /// An axis from the first to the last of these values.
    fn tight(values: impl Iterator<Item = f64> + Clone, is_log: bool, start: f64, end: f64) -> Self {
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
    fn round(values: impl Iterator<Item = f64> + Clone, is_log: bool, start: f64, end: f64) -> Self {
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

    fn place(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        };
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
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

/// The figure as a picture.
pub(super) fn chart(figure: &Figure) -> String {
    let [left, top, right, bottom] = FRAME;
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let x = Axis::tight(points().map(|point| point.x), figure.is_log_x, left, right);
    let y = Axis::round(points().flat_map(|point| [point.low, point.high]), figure.is_log, bottom, top);
    let seeds = points().next().map_or(0, |point| point.n);
    let middle = (left + right) / 2.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text class=\"title\" x=\"{middle}\" y=\"26\">{0}</text>\n",
        escaped(figure.title)
    );
    // Writing to a String cannot fail.
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>\
             <text class=\"x\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 19.0,
            number(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>\
             <text class=\"y\" x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            left - 7.0,
            number(tick)
        );
    }
    let (width, height) = (right - left, bottom - top);
    let _ = write!(
        text,
        "<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"x\" x=\"{middle}\" y=\"{:.1}\">{}</text>\n\
         <text class=\"x\" transform=\"translate(17 {:.1}) rotate(-90)\">{}</text>\n",
        bottom + 42.0,
        escaped(figure.x),
        (top + bottom) / 2.0,
        escaped(figure.y)
    );
    for (series, (colour, dashes, mark)) in figure.series.iter().zip(LOOKS.iter().cycle()) {
        let at = |point: &Estimate, value: f64| format!("{:.1} {:.1}", x.place(point.x), y.place(value));
        let joined = |places: Vec<String>| places.join("L");
        let upper = series.points.iter().map(|point| at(point, point.high));
        let lower = series.points.iter().rev().map(|point| at(point, point.low));
        let line = series.points.iter().map(|point| at(point, point.mean)).collect();
        let _ = write!(
            text,
            "<path d=\"M{}z\" fill=\"{colour}\" fill-opacity=\"0.2\"/>\n\
             <path class=\"line\" d=\"M{}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>\n",
            joined(upper.chain(lower).collect()),
            joined(line)
        );
        for point in &series.points {
            let place = at(point, point.mean);
            let _ = writeln!(text, "<path d=\"{mark}\" fill=\"{colour}\" transform=\"translate({place})\"/>");
        }
    }
    for (index, (series, (colour, dashes, mark))) in
        figure.series.iter().zip(LOOKS.iter().cycle()).enumerate()
    {
        let (at, start) = (top + 12.0 + index as f64 * LEGEND_STEP, right + 14.0);
        let _ = writeln!(
            text,
            "<path class=\"line\" d=\"M{start} {at}h32\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>\
             <path d=\"{mark}\" fill=\"{colour}\" transform=\"translate({:.1} {at})\"/>\
             <text class=\"legend\" x=\"{:.1}\" y=\"{at}\">{}</text>",
            start + 16.0,
            start + 40.0,
            escaped(series.name)
        );
    }
    let _ = writeln!(
        text,
        "<text class=\"note\" x=\"{:.1}\" y=\"{bottom}\">bands: 95 % of the mean, {seeds} seeds</text>",
        right + 14.0
    );
    text + "</svg>\n"
}

/// A tick's value, without the noise of binary fractions.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    rounded.to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

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
