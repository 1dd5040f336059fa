//! Charts as SVG in one visual language, inside of a page or as files of their own.
//!
//! Whatever is text in a chart is escaped: names may be hostile.

mod axis;
mod bars;
mod dots;
mod frame;
mod lines;
mod picture;
mod stems;

pub use self::axis::Axis;
pub use self::bars::{Bar, Bars, Part};
pub use self::dots::{Dots, Row};
pub use self::frame::{Entry, Frame, Key, Scale, legend, number, px};
pub use self::lines::{Line, Lines, Point, Shape};
pub use self::picture::{Picture, STYLE, variables};
pub use self::stems::{Event, Stem, Stems};

/// Colours that a chart has for its series, `s1` to `s6`; all else in it is ink.
pub const COLOURS: usize = 6;

/// The class of the series with this index.
pub fn class(index: usize) -> String {
    format!("s{}", index % COLOURS + 1)
}

/// Dashes of a line, and marks about the origin, so that series differ not by colour alone.
const LOOKS: [(&str, &str); COLOURS] = [
    ("", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
    ("7 3", "M-3.5 -3.5h7v7h-7z"),
    ("2 3", "M0 -4.5L4.5 3.5h-9z"),
    ("9 3 2 3", "M0 -5L5 0L0 5L-5 0z"),
    ("4 2", "M0 4.5L4.5 -3.5h-9z"),
    ("1 2", "M-4 -1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z"),
];

/// The mark of the series with this index, as a path about the origin.
pub fn mark(index: usize) -> &'static str {
    LOOKS[index % COLOURS].1
}

/// The dashes of the series with this index, as `stroke-dasharray` has them.
pub fn dashes(index: usize) -> &'static str {
    LOOKS[index % COLOURS].0
}
