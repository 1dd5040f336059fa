//! Dots: the values of several rows on one axis, each with a mark for what was to be expected.

use crate::frame::BELOW;
use crate::{Axis, Entry, Frame, Picture, Scale, legend, mark, px};
use maud::html;

/// Rows of dots over one axis.
#[derive(Clone, Debug)]
pub struct Dots<'a> {
    /// What they show.
    pub title: String,
    /// The axis.
    pub x: Scale<'a>,
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
    /// What the marks are.
    pub legend: Vec<Entry>,
    /// The width of the frame, in pixels.
    pub width: f64,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// The series' class.
    pub class: String,
    /// The values.
    pub values: Vec<f64>,
    /// A stroke through the row: the median of many.
    pub tick: Option<f64>,
    /// What was to be expected, a hollow mark.
    pub expected: Option<f64>,
    /// From where to where a value may be.
    pub allowed: Option<[f64; 2]>,
    /// What is written behind it.
    pub value: String,
}

const ROW: f64 = 26.0;
/// Characters of a name that are shown.
const NAME: usize = 56;

impl Dots<'_> {
    /// As a picture.
    pub fn picture(&self) -> Picture {
        let longest = self.rows.iter().map(|row| row.name.chars().count().min(NAME)).max().unwrap_or(0);
        let left = 16.0 + longest as f64 * 6.4;
        let behind = self.rows.iter().map(|row| row.value.chars().count()).max().unwrap_or(0) as f64 * 6.4;
        let right = left + self.width;
        let (keys, high) = legend(&self.legend, [8.0, 4.0, right + behind]);
        let top = high + 12.0;
        let frame = Frame { left, top, right, bottom: top + self.rows.len() as f64 * ROW };
        let values = self.rows.iter().flat_map(|row| {
            row.values
                .iter()
                .copied()
                .chain(row.expected)
                .chain(row.tick)
                .chain(row.allowed.into_iter().flatten())
        });
        let x = Axis::round(values.collect::<Vec<_>>().into_iter(), self.x.is_log, left, right);
        let body = html! {
            (keys)
            (frame.abscissa(&x, self.x.label))
            @for (index, row) in self.rows.iter().enumerate() {
                @let y = top + (index as f64 + 0.5) * ROW;
                @let name: String = row.name.chars().take(NAME).collect();
                path class="grid" d={ "M" (px(left)) " " (px(y)) "H" (px(right)) } {}
                text class="end" x=(px(left - 8.0)) y=(px(y + 4.0)) { (name) }
                g class=(row.class) {
                    @if let Some([from, until]) = row.allowed {
                        rect class="band" x=(px(x.place(from))) y=(px(y - 7.0))
                            width=(px((x.place(until) - x.place(from)).max(1.0))) height="14" {}
                    }
                    @if let Some(tick) = row.tick {
                        path class="line" d={ "M" (px(x.place(tick))) " " (px(y - 9.0)) "v18" } {}
                    }
                    @if let Some(expected) = row.expected {
                        path class="hollow" d=(mark(3)) transform={ "translate(" (px(x.place(expected))) " " (px(y)) ")" } {}
                    }
                    @for value in &row.values {
                        circle class={ @if row.values.len() == 1 { "fill" } @else { "pale" } } cx=(px(x.place(*value))) cy=(px(y)) r="4" {}
                    }
                }
                text class="soft" x=(px(right + 10.0)) y=(px(y + 4.0)) { (row.value) }
            }
        };
        Picture {
            title: self.title.clone(),
            width: right + behind + 20.0,
            height: frame.bottom + BELOW,
            body,
        }
    }
}
