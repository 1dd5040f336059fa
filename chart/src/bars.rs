//! Bars: rows of parts that follow one another.

use crate::frame::BELOW;
use crate::{Axis, Entry, Frame, Picture, legend, px};
use maud::html;

/// Rows of bars over one axis.
#[derive(Clone, Debug)]
pub struct Bars<'a> {
    /// What they show.
    pub title: String,
    /// What is measured, with its unit.
    pub label: &'a str,
    /// The rows, from top to bottom.
    pub rows: Vec<Bar>,
    /// What the parts are.
    pub legend: Vec<Entry>,
    /// The width of the frame, in pixels.
    pub width: f64,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose it is.
    pub name: String,
    /// Where more is said about it, if it is.
    pub href: Option<String>,
    /// Its parts.
    pub parts: Vec<Part>,
    /// What is written behind it.
    pub value: String,
}

/// A part of a bar.
#[derive(Clone, Debug)]
pub struct Part {
    /// The series' class, and whether it is pale.
    pub class: String,
    /// Whether it is to be pale.
    pub is_pale: bool,
    /// Where it begins.
    pub from: f64,
    /// How long it is.
    pub length: f64,
    /// What it is, for who points at it.
    pub tip: String,
}

/// From one row to the next.
const ROW: f64 = 22.0;
/// Characters of a name that are shown.
const NAME: usize = 28;

impl Bars<'_> {
    /// As a picture.
    pub fn picture(&self) -> Picture {
        let longest = self.rows.iter().map(|row| row.name.chars().count().min(NAME)).max().unwrap_or(0);
        let left = 16.0 + longest as f64 * 6.6;
        let behind = self.rows.iter().map(|row| row.value.chars().count()).max().unwrap_or(0) as f64 * 6.6;
        let right = left + self.width;
        let (keys, high) = legend(&self.legend, [8.0, 4.0, right + behind]);
        let top = high + 12.0;
        let frame = Frame { left, top, right, bottom: top + self.rows.len() as f64 * ROW + 4.0 };
        let ends = self.rows.iter().flat_map(|row| &row.parts).map(|part| part.from + part.length);
        let x = Axis::round(ends.chain([0.0]), false, left, right);
        let body = html! {
            (keys)
            (frame.abscissa(&x, self.label))
            @for (index, row) in self.rows.iter().enumerate() {
                @let y = top + 4.0 + index as f64 * ROW;
                @let end = row.parts.iter().map(|part| part.from + part.length).fold(0.0, f64::max);
                @let name: String = row.name.chars().take(NAME).collect();
                @let label = html! { text class="end" x=(px(left - 8.0)) y=(px(y + 12.0)) { (name) } };
                @match &row.href {
                    Some(href) => a href=(href) { (label) },
                    None => (label),
                }
                @for part in &row.parts {
                    @let (from, until) = (x.place(part.from), x.place(part.from + part.length));
                    g class=(part.class) {
                        // What is pale is seen through, and behind it there is the grid.
                        @let (at, width) = (px(from), px((until - from).max(0.5)));
                        rect class="ground" x=(at) y=(px(y)) width=(width) height="16" {}
                        rect class={ @if part.is_pale { "pale cut" } @else { "fill cut" } } x=(at) y=(px(y)) width=(width)
                            height="16" { title { (part.tip) } }
                    }
                }
                text class="soft" x=(px(x.place(end) + 6.0)) y=(px(y + 12.0)) { (row.value) }
            }
        };
        Picture {
            title: self.title.clone(),
            width: right + behind + 12.0,
            height: frame.bottom + BELOW,
            body,
        }
    }
}
