//! GraphML files, as the Internet Topology Zoo has them: nodes with a label and coordinates, edges with a speed.

use crate::diagnostic::{Diagnostic, did_you_mean, quote};
use crate::yaml::{Errors, Source};
use annotate_snippets::normalize_untrusted_str;
use roxmltree::{Document, Error, ParsingOptions};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes in a file at most.
pub(super) const MAX_BYTES: usize = 8 << 20;
/// Tags in a file at most: enough for 10,000 nodes with all that the Topology Zoo says about each.
const MAX_TAGS: usize = 400_000;
/// Attributes in a file at most, roughly.
const MAX_ATTRIBUTES: usize = 250_000;
/// Attributes of one element, and namespaces, at most: the parser's time and memory grow with their square.
const MAX_IN_ONE: usize = 64;

/// What a file holds, with nothing decided yet.
pub(super) struct Graph {
    /// In the file's order.
    pub(super) nodes: Vec<Node>,
    /// In the file's order; loops and parallel ones included.
    pub(super) edges: Vec<Edge>,
}

/// A node of the graph.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) label: Option<String>,
    /// Latitude and longitude in degrees, if both are given.
    pub(super) coordinates: Option<[f64; 2]>,
    pub(super) at: Range<usize>,
}

/// An edge of the graph; its direction means nothing.
pub(super) struct Edge {
    /// Indexes of nodes.
    pub(super) ends: [usize; 2],
    /// `LinkSpeedRaw`, in bits per second.
    pub(super) speed: Option<f64>,
}

/// What this module reads of the data of nodes and edges.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Label,
    Latitude,
    Longitude,
    Speed,
}

impl Field {
    /// (name in any case, of which elements, field)
    const NAMES: [(&str, &str, Self); 4] = [
        ("label", "node", Self::Label),
        ("latitude", "node", Self::Latitude),
        ("longitude", "node", Self::Longitude),
        ("linkspeedraw", "edge", Self::Speed),
    ];
}

/// Reads the graph of a GraphML file.
pub(super) fn read(source: &Source) -> Result<Graph, Vec<Diagnostic>> {
    check_size(source)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_TAGS as u32, ..Default::default() };
    let document = Document::parse_with_options(source.text(), options)
        .map_err(|error| vec![malformed(source, &error)])?;
    let mut reader = Reader { errors: Errors::new(source.clone()), fields: HashMap::new() };
    let graph = reader.document(&document);
    match graph {
        Some(graph) if reader.errors.is_empty() => Ok(graph),
        _ => Err(reader.errors.into_list()),
    }
}

/// That the parser needs neither much memory nor much time, whatever the file says.
fn check_size(source: &Source) -> Result<(), Vec<Diagnostic>> {
    let text = source.text();
    let refuse = |at: usize, message: &str, hint: String| {
        vec![source.diagnostic(at..at, format!("the file is too complex: {message}")).hint(hint)]
    };
    if let Some((at, _)) = text.match_indices("xmlns").nth(MAX_IN_ONE) {
        return Err(refuse(at, "too many namespaces", format!("at most {MAX_IN_ONE}")));
    }
    let (mut tags, mut attributes, mut in_tag) = (0, 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => {
                tags += 1;
                // A line of `=` is usual in comments, and costs nothing there.
                in_tag = if text.as_bytes().get(at + 1) == Some(&b'!') { usize::MAX } else { 0 };
            }
            b'=' if in_tag != usize::MAX => {
                attributes += 1;
                in_tag += 1;
            }
            _ => continue,
        }
        if tags > MAX_TAGS {
            return Err(refuse(at, "too many tags", format!("at most {MAX_TAGS}")));
        }
        if attributes > MAX_ATTRIBUTES {
            return Err(refuse(at, "too many attributes", format!("at most {MAX_ATTRIBUTES}")));
        }
        if in_tag != usize::MAX && in_tag > MAX_IN_ONE {
            let hint = format!("at most {MAX_IN_ONE} in each");
            return Err(refuse(at, "too many attributes in one element", hint));
        }
    }
    Ok(())
}

/// The parser's error, in words.
fn malformed(source: &Source, error: &Error) -> Diagnostic {
    let text = source.text();
    match error {
        Error::DtdDetected => {
            let at = text.find("<!DOCTYPE").unwrap_or(0);
            source
                .diagnostic(at..at + "<!DOCTYPE".len(), "a document type declaration is not allowed here")
                .hint("remove `<!DOCTYPE …>`; GraphML needs none")
        }
        Error::NodesLimitReached | Error::AttributesLimitReached | Error::NamespacesLimitReached => {
            source.diagnostic(0..0, "the file is too complex").hint(format!("at most {MAX_TAGS} tags"))
        }
        Error::NoRootNode | Error::UnclosedRootNode | Error::UnexpectedEndOfStream => {
            let end = text.trim_end().len();
            source
                .diagnostic(end..end, "invalid XML: the file ends before its first element does")
                .hint("has it been copied completely?")
        }
        error => {
            let position = error.pos();
            let at = source.place(position.row as usize, position.col as usize);
            let said = error.to_string();
            let said = said.strip_suffix(&format!(" at {position}")).unwrap_or(&said);
            let diagnostic =
                source.diagnostic(at..at, format!("invalid XML: {}", normalize_untrusted_str(said)));
            if text.trim_start().starts_with('<') {
                diagnostic
            } else {
                diagnostic.hint("a GraphML file begins with `<`; a .gml file is something else")
            }
        }
    }
}

type Element<'d> = roxmltree::Node<'d, 'd>;

struct Reader<'d> {
    errors: Errors,
    /// By the identifier that `<data key=…>` has.
    fields: HashMap<&'d str, Field>,
}

impl<'d> Reader<'d> {
    fn document(&mut self, document: &'d Document<'d>) -> Option<Graph> {
        let root = document.root_element();
        if root.tag_name().name() != "graphml" {
            let message = format!("the first element is {}, not `graphml`", quote(root.tag_name().name()));
            self.errors.report(root.range(), message, |error| error.hint("is it a GraphML file?"));
            return None;
        }
        for key in children(root, "key") {
            let name = key.attribute("attr.name").unwrap_or_default();
            let of = key.attribute("for").unwrap_or("all");
            let field = Field::NAMES
                .iter()
                .find(|(own, element, _)| own.eq_ignore_ascii_case(name) && (of == *element || of == "all"));
            if let (Some(&(_, _, field)), Some(id)) = (field, key.attribute("id")) {
                self.fields.insert(id, field);
            }
        }
        let mut graphs = children(root, "graph");
        let Some(graph) = graphs.next() else {
            self.errors.report(root.range(), "the file has no graph", |error| {
                error.hint("there is one element `graph` in `graphml`")
            });
            return None;
        };
        if let Some(second) = graphs.next() {
            self.errors.report(second.range(), "the file has more than one graph", |error| {
                error.related(graph.range(), "the first one").hint("leave one")
            });
        }
        self.graph(graph)
    }

    fn graph(&mut self, graph: Element<'d>) -> Option<Graph> {
        let mut nodes = Vec::new();
        let mut ids: HashMap<&str, (usize, Range<usize>)> = HashMap::new();
        for node in children(graph, "node") {
            let Some(id) = self.attribute(node, "id") else { continue };
            if let Some((_, first)) = ids.get(id.value()) {
                let message = format!("the node {} is defined twice", quote(id.value()));
                self.errors.report(id.range_value(), message, |error| {
                    error.label("defined again").related(first.clone(), "first defined here")
                });
                continue;
            }
            if let Some(inner) = children(node, "graph").next() {
                self.errors.report(inner.range(), "a graph within a node is not supported", |error| {
                    error.hint("remove it, and give its nodes to the outer graph")
                });
            }
            ids.insert(id.value(), (nodes.len(), id.range_value()));
            nodes.push(self.node(id.value(), node));
        }
        if nodes.is_empty() {
            self.errors
                .report(graph.range(), "the graph has no nodes", |error| error.hint("is it the right file?"));
            return None;
        }
        if let Some(hyperedge) = children(graph, "hyperedge").next() {
            self.errors.report(hyperedge.range(), "hyperedges are not supported", |error| {
                error.hint("put a node in its place, with an edge to each of its ends")
            });
        }
        let mut edges = Vec::new();
        for edge in children(graph, "edge") {
            let ends = ["source", "target"].map(|side| {
                let end = self.attribute(edge, side)?;
                if let Some((node, _)) = ids.get(end.value()) {
                    return Some(*node);
                }
                let message = format!("there is no node {}", quote(end.value()));
                self.errors.report(end.range_value(), message, |error| {
                    let error = error.label("not defined");
                    match did_you_mean(end.value(), nodes.iter().map(|node| node.id.as_str())) {
                        Some(id) => error.hint(format!("did you mean {}?", quote(id))),
                        None => error.hint("`source` and `target` are the `id` of a node of this graph"),
                    }
                });
                None
            });
            let speed = self.speed(edge);
            if let [Some(a), Some(b)] = ends {
                edges.push(Edge { ends: [a, b], speed });
            }
        }
        Some(Graph { nodes, edges })
    }

    fn node(&mut self, id: &str, node: Element<'d>) -> Node {
        let latitude = self.coordinate(node, Field::Latitude, "latitude", 90.0);
        let longitude = self.coordinate(node, Field::Longitude, "longitude", 180.0);
        Node {
            id: id.to_owned(),
            label: self.data(node, Field::Label).map(|(label, _)| label.to_owned()),
            coordinates: latitude.zip(longitude).map(|(latitude, longitude)| [latitude, longitude]),
            at: node.range(),
        }
    }

    fn coordinate(&mut self, node: Element<'d>, field: Field, what: &str, most: f64) -> Option<f64> {
        let (text, at) = self.data(node, field)?;
        match text.parse::<f64>() {
            Ok(degrees) if degrees.abs() <= most => Some(degrees),
            _ => {
                self.errors.report(at, format!("{} is not a {what}", quote(text)), |error| {
                    error.hint(format!("write degrees as a number from -{most} to {most}"))
                });
                None
            }
        }
    }

    fn speed(&mut self, edge: Element<'d>) -> Option<f64> {
        let (text, at) = self.data(edge, Field::Speed)?;
        match text.parse::<f64>() {
            Ok(speed) if speed.is_finite() && speed > 0.0 => Some(speed),
            _ => {
                self.errors.report(at, format!("{} is not a speed", quote(text)), |error| {
                    error.hint("write bits per second as a number, as 1000000000, or remove it")
                });
                None
            }
        }
    }

    /// The text of an element's first datum of this kind that is not empty, and its place.
    fn data(&self, element: Element<'d>, field: Field) -> Option<(&'d str, Range<usize>)> {
        children(element, "data")
            .filter(|data| data.attribute("key").and_then(|key| self.fields.get(key)) == Some(&field))
            .filter_map(|data| data.first_child())
            .filter_map(|text| Some((text.text()?.trim(), text.range())))
            .find(|(text, _)| !text.is_empty())
    }

    /// An attribute that must be there.
    fn attribute(&mut self, element: Element<'d>, name: &str) -> Option<roxmltree::Attribute<'d, 'd>> {
        let found = element.attribute_node(name);
        if found.is_none() {
            let tag = element.tag_name().name();
            self.errors.report(element.range(), format!("this {tag} has no `{name}`"), |error| {
                error.hint(format!("write `<{tag} {name}=\"…\">`"))
            });
        }
        found
    }
}

/// The children of this name, in whatever namespace.
fn children<'d>(parent: Element<'d>, name: &'static str) -> impl Iterator<Item = Element<'d>> {
    parent.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}
