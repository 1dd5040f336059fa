//! Topologies as drawings: Graphviz, Mermaid, and pictures of our own.

mod layout;
mod svg;

pub use self::svg::{Track, picture, svg};

use samp_model::control::{LabStatus, LinkId};
use samp_model::topology::{LinkQuality, NodeId, NodeKind, Topology};
use std::fmt::Write;
use std::time::Duration;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Graph<'a> {
    topology: &'a Topology,
    /// The wired links, and whether each is up.
    links: Vec<([NodeId; 2], [LinkQuality; 2], bool)>,
    /// Each mobile node and the access router where it is; none before its first attachment.
    attachments: Vec<(NodeId, Option<NodeId>)>,
}

/// What a node is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    AccessRouter,
    Router,
    SipServer,
    MobileNode,
}

impl<'a> Graph<'a> {
    /// A topology, with its mobile nodes where they begin.
    pub fn of_topology(topology: &'a Topology) -> Self {
        let start = |id: NodeId| match topology.node(id).kind {
            NodeKind::MobileNode { start, .. } => Some(start),
            _ => None,
        };
        Self {
            topology,
            links: topology.links.iter().map(|link| (link.ends, link.quality, true)).collect(),
            attachments: topology.mobile_nodes().map(|id| (id, start(id))).collect(),
        }
    }

    /// A lab as it is.
    pub fn of_lab(status: &'a LabStatus) -> Self {
        let topology = &status.topology;
        let place = |id: NodeId| topology.find(status.nodes[id.0].attached_to.as_deref()?);
        let wired = status.links.iter().filter_map(|status| match status.link {
            LinkId::Wired(ends) => Some((ends, status.quality, status.up)),
            LinkId::Radio(_) => None,
        });
        Self {
            topology,
            links: wired.collect(),
            attachments: topology.mobile_nodes().map(|id| (id, place(id))).collect(),
        }
    }

    fn shape(&self, id: NodeId) -> Shape {
        match &self.topology.node(id).kind {
            NodeKind::Router { access: Some(_), .. } => Shape::AccessRouter,
            NodeKind::Router { access: None, .. } => Shape::Router,
            NodeKind::SipServer { .. } => Shape::SipServer,
            NodeKind::MobileNode { .. } => Shape::MobileNode,
        }
    }
}

/// In Graphviz's language.
pub fn dot(graph: &Graph<'_>) -> String {
    let mut text = format!("graph {} {{\n", quoted(&graph.topology.name));
    for (id, node) in graph.topology.nodes() {
        let shape = match graph.shape(id) {
            Shape::AccessRouter => "box",
            Shape::Router => "box, style=rounded",
            Shape::SipServer => "cylinder",
            Shape::MobileNode => "circle",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} [shape={shape}];", quoted(&node.name));
    }
    let name = |id: NodeId| quoted(&graph.topology.node(id).name);
    for ([a, b], quality, up) in &graph.links {
        let style = if *up { "" } else { ", color=red, style=dotted" };
        let _ = writeln!(text, "  {} -- {} [label=\"{}\"{style}];", name(*a), name(*b), label(quality));
    }
    for (node, router) in &graph.attachments {
        if let Some(router) = router {
            let _ = writeln!(text, "  {} -- {} [style=dashed];", name(*node), name(*router));
        }
    }
    text + "}\n"
}

/// In Mermaid's language.
pub fn mermaid(graph: &Graph<'_>) -> String {
    let mut text = "graph TD\n".to_owned();
    for (id, node) in graph.topology.nodes() {
        let [open, close] = match graph.shape(id) {
            Shape::AccessRouter => ["[", "]"],
            Shape::Router => ["(", ")"],
            Shape::SipServer => ["[(", ")]"],
            Shape::MobileNode => ["((", "))"],
        };
        // Writing to a String cannot fail. Names could be words of the language, so they are labels only.
        let _ = writeln!(text, "  n{}{open}\"{}\"{close}", id.0, node.name);
    }
    for ([a, b], quality, up) in &graph.links {
        let line = if *up { "---" } else { "-.-x" };
        let _ = writeln!(text, "  n{} {line}|{}| n{}", a.0, label(quality), b.0);
    }
    for (node, router) in &graph.attachments {
        if let Some(router) = router {
            let _ = writeln!(text, "  n{} -.- n{}", node.0, router.0);
        }
    }
    text
}

/// The delay of a link, in both directions where they differ.
fn label([there, back]: &[LinkQuality; 2]) -> String {
    let text = |delay: Duration| format!("{delay:?}").replace('µ', "u");
    match (there.one_way_delay, back.one_way_delay) {
        (there, back) if there == back => text(there),
        (there, back) => format!("{}/{}", text(there), text(back)),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;

    pub(super) const TOPOLOGY: &str = "
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router }
  r1: { kind: router }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar2 }
links:
  - { between: [ar1, r1], one_way_delay: 5ms, reverse: { one_way_delay: 500us } }
  - { between: [r1, ar2], one_way_delay: 5ms }
  - { between: [ar1, s1], one_way_delay: 1ms }
";

    #[test]
    fn drawings_have_every_node_and_link() {
        let topology = topology::parse("t.yaml", TOPOLOGY).unwrap();
        let mut graph = Graph::of_topology(&topology);
        let text = dot(&graph);
        assert!(text.starts_with("graph \"t\" {\n") && text.ends_with("}\n"));
        assert!(text.contains("  \"ar1\" -- \"r1\" [label=\"5ms/500us\"];\n"), "{text}");
        assert!(text.contains("  \"mn1\" -- \"ar2\" [style=dashed];\n"), "{text}");
        graph.links[1].2 = false;
        let text = mermaid(&graph);
        let [ar2, r1, mn1] = ["ar2", "r1", "mn1"].map(|name| topology.find(name).unwrap().0);
        assert!(text.contains(&format!("  n{r1} -.-x|5ms| n{ar2}\n")), "{text}");
        assert!(text.contains(&format!("  n{mn1}((\"mn1\"))\n")), "{text}");
        assert!(svg(&graph).matches("<line").count() == 4);
    }
}
