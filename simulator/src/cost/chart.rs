//! A figure as a chart: lines that differ by colour, dashes and marks, with bands.

use super::figures::Figure;
use super::statistics::Estimate;
use samp_chart::{Line, Lines, Picture, Point, Scale, Shape};

/// Width and height of the frame, in pixels.
const SIZE: [f64; 2] = [660.0, 320.0];

/// The figure as a picture.
pub(super) fn chart(figure: &Figure) -> Picture {
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let seeds = points().next().map_or(0, |point| point.n);
    let point = |&Estimate { x, mean, low, high, .. }: &Estimate| Point { x, y: mean, low, high };
    Lines {
        title: figure.title.to_owned(),
        x: Scale { label: figure.x, is_log: figure.is_log_x },
        y: Scale { label: figure.y, is_log: figure.is_log },
        lines: figure
            .series
            .iter()
            .map(|series| Line {
                name: series.name.to_owned(),
                points: series.points.iter().map(point).collect(),
            })
            .collect(),
        shape: Shape::Marked,
        note: format!("bands: 95 % of the mean, {seeds} seeds"),
        size: SIZE,
    }
    .picture()
}
