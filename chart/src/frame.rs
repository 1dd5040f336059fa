//! What charts have in common: the frame with its ticks, and the legend.

use crate::{Axis, dashes, mark};
use maud::{Markup, html};

/// What an axis shows.
#[derive(Clone, Copy, Debug)]
pub struct Scale<'a> {
    /// What, with its unit.
    pub label: &'a str,
    /// Whether it is logarithmic.
    pub is_log: bool,
}

/// The part of a picture in which values are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its right edge.
    pub right: f64,
    /// Its lower edge.
    pub bottom: f64,
}

/// Room below a frame for ticks and a label.
pub(crate) const BELOW: f64 = 42.0;
/// From one line of a legend to the next.
const LEGEND_STEP: f64 = 20.0;
/// What a character takes on average, in the size of legends.
const CHARACTER: f64 = 6.4;

impl Frame {
    /// Grid, ticks and label of a horizontal axis.
    pub fn abscissa(&self, axis: &Axis, label: &str) -> Markup {
        html! {
            @for tick in axis.ticks() {
                @let at = px(axis.place(tick));
                path class="grid" d={ "M" (at) " " (px(self.top)) "V" (px(self.bottom)) } {}
                text class="soft middle" x=(at) y=(px(self.bottom + 16.0)) { (number(tick)) }
            }
            path class="base" d={ "M" (px(self.left)) " " (px(self.bottom)) "H" (px(self.right)) } {}
            text class="soft middle" x=(px((self.left + self.right) / 2.0)) y=(px(self.bottom + 34.0)) { (label) }
        }
    }

    /// Grid, ticks and label of a vertical axis.
    pub fn ordinate(&self, axis: &Axis, label: &str) -> Markup {
        html! {
            @for tick in axis.ticks() {
                @let at = axis.place(tick);
                path class="grid" d={ "M" (px(self.left)) " " (px(at)) "H" (px(self.right)) } {}
                text class="soft end" x=(px(self.left - 7.0)) y=(px(at + 4.0)) { (number(tick)) }
            }
            text class="soft" x="4" y=(px(self.top - 10.0)) { (label) }
        }
    }
}

/// What a legend explains.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The series' class.
    pub class: String,
    /// What it is.
    pub name: String,
    /// How it is drawn.
    pub key: Key,
}

/// How a legend shows what it explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// As a line with dashes and, where points are marked, the mark of the series with this index.
    Line(usize, bool),
    /// As the mark of the series with this index.
    Mark(usize),
    /// As a mark that is not filled.
    Hollow(usize),
    /// As a full box.
    Box,
    /// As a pale box.
    Pale,
    /// As a stroke from top to bottom.
    Tick,
}

/// A legend from `left` to `right` at `top`, and how high it is.
pub fn legend(entries: &[Entry], [left, top, right]: [f64; 3]) -> (Markup, f64) {
    let (mut x, mut y) = (left, top + 10.0);
    let mut places = Vec::new();
    for entry in entries {
        let key = if matches!(entry.key, Key::Line(..)) { 36.0 } else { 18.0 };
        let width = key + entry.name.chars().count() as f64 * CHARACTER + 16.0;
        if x > left && x + width > right {
            (x, y) = (left, y + LEGEND_STEP);
        }
        places.push((entry, x, y, key));
        x += width;
    }
    let drawn = html! {
        @for (entry, x, y, key) in places {
            g class=(entry.class) transform={ "translate(" (px(x)) " " (px(y)) ")" } {
                @match entry.key {
                    Key::Line(index, is_marked) => {
                        path class="line" d="M0 0h30" stroke-dasharray=(dashes(index)) {}
                        @if is_marked { path class="fill" d=(mark(index)) transform="translate(15 0)" {} }
                    }
                    Key::Mark(index) => path class="fill" d=(mark(index)) transform="translate(6 0)" {},
                    Key::Hollow(index) => path class="hollow" d=(mark(index)) transform="translate(6 0)" {},
                    Key::Box => rect class="fill" x="0" y="-6" width="12" height="12" {},
                    Key::Pale => rect class="pale" x="0" y="-6" width="12" height="12" {},
                    Key::Tick => path class="line" d="M6 -7v14" {},
                }
                text x=(px(key)) y="4" { (entry.name) }
            }
        }
    };
    (drawn, if entries.is_empty() { 0.0 } else { y - top + 16.0 })
}

/// A number for people, without the noise of binary fractions.
pub fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    // Of nothing that is negative, nothing is left.
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

/// A coordinate: tenths of a pixel are all that is seen.
pub fn px(value: f64) -> String {
    number((value * 10.0).round() / 10.0)
}
