//! Lines: values against values, with bands or as steps.

use crate::frame::BELOW;
use crate::{Axis, Entry, Frame, Key, Picture, Scale, class, dashes, legend, mark, px};
use maud::{Markup, html};

/// Lines that share their axes.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// What they show.
    pub title: String,
    /// The abscissa.
    pub x: Scale<'a>,
    /// The ordinate.
    pub y: Scale<'a>,
    /// The lines.
    pub lines: Vec<Line>,
    /// How they go.
    pub shape: Shape,
    /// What there is to say besides.
    pub note: String,
    /// Width and height of the frame, in pixels.
    pub size: [f64; 2],
}

/// How lines go from point to point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Straight, with a mark at each point, and bands from its low to its high.
    Marked,
    /// As the steps of a distribution: across, then up.
    Steps,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points, by ascending x.
    pub points: Vec<Point>,
}

/// A point, and how far it is to be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// Its value.
    pub y: f64,
    /// The least that the value may be.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Point {
    /// One that is exact.
    pub fn exact(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }
}

impl Lines<'_> {
    /// As a picture.
    pub fn picture(&self) -> Picture {
        const LEFT: f64 = 48.0;
        let [width, height] = self.size;
        let right = LEFT + width;
        let is_marked = self.shape == Shape::Marked;
        let entries: Vec<_> = self
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| Entry {
                class: class(index),
                name: line.name.clone(),
                key: Key::Line(index, is_marked),
            })
            .collect();
        let (keys, high) = legend(&entries, [LEFT, 4.0, right]);
        let frame = Frame { left: LEFT, top: high + 26.0, right, bottom: high + 26.0 + height };
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let xs = points().map(|point| point.x);
        let x = match self.shape {
            Shape::Marked => Axis::tight(xs, self.x.is_log, LEFT, right),
            Shape::Steps => Axis::round(xs, self.x.is_log, LEFT, right),
        };
        let y = Axis::round(
            points().flat_map(|point| [point.low, point.high]),
            self.y.is_log,
            frame.bottom,
            frame.top,
        );
        let body = html! {
            (keys)
            (frame.abscissa(&x, self.x.label))
            (frame.ordinate(&y, self.y.label))
            @for (index, line) in self.lines.iter().enumerate() {
                g class=(class(index)) { (self.line(line, index, &x, &y)) }
            }
            text class="soft end" x=(px(right)) y=(px(frame.top - 10.0)) { (self.note) }
        };
        Picture { title: self.title.clone(), width: right + 20.0, height: frame.bottom + BELOW, body }
    }

    fn line(&self, line: &Line, index: usize, x: &Axis, y: &Axis) -> Markup {
        let at = |point: &Point, value: f64| format!("{} {}", px(x.place(point.x)), px(y.place(value)));
        let joined = |places: Vec<String>| places.join("L");
        let points = &line.points;
        if self.shape == Shape::Steps {
            return html! { path class="line" d=(steps(points, x, y)) stroke-dasharray=(dashes(index)) {} };
        }
        let has_band = points.iter().any(|point| point.low < point.high);
        let upper = points.iter().map(|point| at(point, point.high));
        let lower = points.iter().rev().map(|point| at(point, point.low));
        html! {
            @if has_band { path class="band" d={ "M" (joined(upper.chain(lower).collect())) "z" } {} }
            path class="line" stroke-dasharray=(dashes(index))
                d={ "M" (joined(points.iter().map(|point| at(point, point.y)).collect())) } {}
            @for point in points {
                path class="fill" d=(mark(index)) transform={ "translate(" (at(point, point.y)) ")" } {}
            }
        }
    }
}

/// Up where the values are, across in between, and on to the end of the axis.
fn steps(points: &[Point], x: &Axis, y: &Axis) -> String {
    let Some(first) = points.first() else { return String::new() };
    let mut path = format!("M{} {}", px(x.place(first.x)), px(y.place(0.0)));
    for point in points {
        path += &format!("H{}V{}", px(x.place(point.x)), px(y.place(point.y)));
    }
    path + &format!("H{}", px(x.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_across_before_they_go_up() {
        let axis = |start, end| Axis::round([0.0, 10.0].into_iter(), false, start, end);
        let points = [Point::exact(2.0, 5.0), Point::exact(4.0, 10.0)];
        assert_eq!(steps(&points, &axis(0.0, 100.0), &axis(50.0, 0.0)), "M20 50H20V25H40V0H100");
    }

    #[test]
    fn names_are_escaped() {
        let line = Line { name: "<b>&".into(), points: vec![Point { x: 1.0, y: 2.0, low: 1.0, high: 3.0 }] };
        let scale = Scale { label: "\"<i>\"", is_log: false };
        let lines = Lines {
            title: "t".into(),
            x: scale,
            y: scale,
            lines: vec![line],
            shape: Shape::Marked,
            note: "a < b".into(),
            size: [100.0, 100.0],
        };
        let svg = lines.picture().standalone();
        assert!(svg.contains("&lt;b&gt;&amp;") && svg.contains("a &lt; b") && !svg.contains("<i>"), "{svg}");
    }
}
