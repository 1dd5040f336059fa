//! A picture: nodes and links, and the tracks of mobile nodes.

use super::layout::layout;
use super::{Graph, Shape, label};
use maud::{Markup, html};
use samp_chart::{Entry, Key, Picture, class, dashes, legend, px};
use samp_model::topology::NodeId;
use std::collections::BTreeMap;

/// Pixels of a link of mean length.
const UNIT: f64 = 150.0;
/// Pixels around the picture.
const MARGIN: f64 = 60.0;
/// Pixels by which a track bows out from the link, and from another one that takes the same way.
const BOW: f64 = 13.0;
const LANE: f64 = 6.0;

/// The way that a mobile node took.
#[derive(Clone, Debug)]
pub struct Track {
    /// The node.
    pub name: String,
    /// The access routers where it was, in order.
    pub stops: Vec<NodeId>,
}

/// The graph as a file.
pub fn svg(graph: &Graph<'_>) -> String {
    picture(graph, &[]).standalone()
}

/// The graph as a picture, with the tracks of mobile nodes.
pub fn picture(graph: &Graph<'_>, tracks: &[Track]) -> Picture {
    let points = layout(graph);
    let bound = |axis: usize, pick: fn(f64, f64) -> f64, start: f64| {
        points.iter().map(|point| point[axis]).fold(start, pick)
    };
    let [left, top] = [0, 1].map(|axis| bound(axis, f64::min, f64::MAX));
    let [right, bottom] = [0, 1].map(|axis| bound(axis, f64::max, f64::MIN));
    let [width, height] = [right - left, bottom - top].map(|length| length.max(0.0) * UNIT + 2.0 * MARGIN);
    let entries: Vec<_> = tracks
        .iter()
        .enumerate()
        .map(|(index, track)| Entry {
            class: class(index),
            name: track.name.clone(),
            key: Key::Line(index, false),
        })
        .collect();
    let (keys, high) = legend(&entries, [12.0, 6.0, width]);
    let place = |id: NodeId| {
        let [x, y] = points[id.0];
        ((x - left) * UNIT + MARGIN, (y - top) * UNIT + MARGIN + high)
    };
    let body = html! {
        (keys)
        @for ([a, b], quality, up) in &graph.links {
            (line(if *up { "quiet" } else { "bad" }, if *up { "" } else { "2 5" }, place(*a), place(*b), &label(quality)))
        }
        @for (node, router) in &graph.attachments {
            @if let Some(router) = router { (line("s3", "5 4", place(*node), place(*router), "")) }
        }
        @for (ends, of) in lanes(tracks) {
            @for (lane, &index) in of.iter().enumerate() {
                g class=(class(index)) {
                    title { (tracks[index].name) }
                    (step(place(NodeId(ends[0])), place(NodeId(ends[1])), lane, dashes(index)))
                }
            }
        }
        @for (id, node) in graph.topology.nodes() {
            (shape(graph.shape(id), place(id), &node.name))
        }
    };
    Picture { title: graph.topology.name.clone(), width, height: height + high, body }
}

/// The ways from one access router to another, each with the tracks that take it.
fn lanes(tracks: &[Track]) -> BTreeMap<[usize; 2], Vec<usize>> {
    let mut lanes: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
    for (index, track) in tracks.iter().enumerate() {
        for way in track.stops.windows(2) {
            let lane = lanes.entry([way[0].0, way[1].0]).or_default();
            if lane.last() != Some(&index) {
                lane.push(index);
            }
        }
    }
    lanes
}

fn line(class: &str, dashes: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64), label: &str) -> Markup {
    html! {
        g class=(class) {
            line class="thin" stroke-dasharray=(dashes) x1=(px(x1)) y1=(px(y1)) x2=(px(x2)) y2=(px(y2)) {}
            @if !label.is_empty() {
                text class="soft small middle halo" x=(px((x1 + x2) / 2.0)) y=(px((y1 + y2) / 2.0 + 3.0)) { (label) }
            }
        }
    }
}

/// One way of a track: a bow to the right of its direction, so that there and back are two, with an arrow in its middle.
fn step((x1, y1): (f64, f64), (x2, y2): (f64, f64), lane: usize, dashes: &str) -> Markup {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy).max(1.0);
    let bow = BOW + lane as f64 * LANE;
    let (nx, ny) = (-dy / length, dx / length);
    let (cx, cy) = ((x1 + x2) / 2.0 + nx * 2.0 * bow, (y1 + y2) / 2.0 + ny * 2.0 * bow);
    let (mx, my) = ((x1 + x2) / 2.0 + nx * bow, (y1 + y2) / 2.0 + ny * bow);
    let turn = dy.atan2(dx).to_degrees();
    html! {
        path class="line" stroke-dasharray=(dashes)
            d={ "M" (px(x1)) " " (px(y1)) "Q" (px(cx)) " " (px(cy)) " " (px(x2)) " " (px(y2)) } {}
        path class="fill" d="M-5 -5L6 0L-5 5z"
            transform={ "translate(" (px(mx)) " " (px(my)) ") rotate(" (px(turn)) ")" } {}
    }
}

fn shape(shape: Shape, (x, y): (f64, f64), name: &str) -> Markup {
    let half = 6.0 + 3.2 * name.chars().count() as f64;
    let rectangle = |class: &str, round: &str| {
        html! {
            rect class={ "node " (class) } x=(px(x - half)) y=(px(y - 10.0)) width=(px(2.0 * half)) height="20" rx=(round) {}
        }
    };
    html! {
        @match shape {
            Shape::AccessRouter => (rectangle("ar", "2")),
            Shape::Router => (rectangle("r", "2")),
            Shape::SipServer => (rectangle("s", "10")),
            Shape::MobileNode => ellipse class="node mn" cx=(px(x)) cy=(px(y)) rx=(px(half)) ry="11" {},
        }
        text class="middle" x=(px(x)) y=(px(y + 4.0)) { (name) }
    }
}
