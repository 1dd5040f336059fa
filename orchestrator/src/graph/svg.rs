//! A picture as SVG, complete in one file, readable on light and dark ground.

use super::layout::layout;
use super::{Graph, Shape, label};
use samp_model::topology::NodeId;
use std::fmt::Write;

/// Pixels of a link of mean length.
const UNIT: f64 = 150.0;
/// Pixels around the picture.
const MARGIN: f64 = 60.0;

const STYLE: &str = "\
text{font:11px sans-serif;text-anchor:middle;dominant-baseline:central;fill:#222}\
.link{stroke:#667;stroke-width:1.5}.down{stroke:#c33;stroke-dasharray:2 5}.radio{stroke:#2a7;stroke-dasharray:5 4}\
.label{font-size:9px;fill:#556;paint-order:stroke;stroke:#fff;stroke-width:3px}\
.ar{fill:#dbe8ff;stroke:#36c}.r{fill:#eee;stroke:#667}.s{fill:#ffe9c9;stroke:#b70}.mn{fill:#d9f5e3;stroke:#2a7}";

/// The graph as a picture.
pub fn svg(graph: &Graph<'_>) -> String {
    let points = layout(graph);
    let bound = |axis: usize, pick: fn(f64, f64) -> f64, start: f64| {
        points.iter().map(|point| point[axis]).fold(start, pick)
    };
    let [left, top] = [0, 1].map(|axis| bound(axis, f64::min, f64::MAX));
    let [right, bottom] = [0, 1].map(|axis| bound(axis, f64::max, f64::MIN));
    let place = |id: NodeId| {
        let [x, y] = points[id.0];
        ((x - left) * UNIT + MARGIN, (y - top) * UNIT + MARGIN)
    };
    let [width, height] = [right - left, bottom - top].map(|length| length.max(0.0) * UNIT + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escaped(&graph.topology.name)
    );
    // Writing to a String cannot fail.
    let mut line = |class: &str, a: NodeId, b: NodeId, label: &str| {
        let ((x1, y1), (x2, y2)) = (place(a), place(b));
        let _ = writeln!(
            text,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
        if !label.is_empty() {
            let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
            let _ =
                writeln!(text, "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(label));
        }
    };
    for ([a, b], quality, up) in &graph.links {
        line(if *up { "link" } else { "link down" }, *a, *b, &label(quality));
    }
    for (node, router) in &graph.attachments {
        if let Some(router) = router {
            line("link radio", *node, *router, "");
        }
    }
    for (id, node) in graph.topology.nodes() {
        let (x, y) = place(id);
        let half = 6.0 + 3.2 * node.name.len() as f64;
        let rectangle = |class: &str, round: f64| {
            format!(
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"20\" rx=\"{round}\"/>",
                x - half,
                y - 10.0,
                2.0 * half
            )
        };
        let shape = match graph.shape(id) {
            Shape::AccessRouter => rectangle("ar", 2.0),
            Shape::Router => rectangle("r", 2.0),
            Shape::SipServer => rectangle("s", 10.0),
            Shape::MobileNode => {
                format!("<ellipse class=\"mn\" cx=\"{x:.1}\" cy=\"{y:.1}\" rx=\"{half:.1}\" ry=\"11\"/>")
            }
        };
        let _ = writeln!(text, "{shape}<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&node.name));
    }
    text + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
