//! From the file to the topology: names are bound, defaults filled in, addresses given out, mistakes reported.

mod links;
mod mobility;
mod programs;
mod quality;

use super::addressing::{self, FIRST_HOST};
use super::file::{ExplicitNode, Graph, Grid, Kind, MAX_NODES, MobileNodes, TopologyFile};
use super::graph::{self, Network, ReadGraph};
use super::program::Program;
use super::sound::is_name;
use super::{AccessNetwork, LinkQuality, Node, NodeId, NodeKind, Radio, Topology, knobs};
use crate::diagnostic::{Diagnostic, quote, suggest_name};
use crate::random;
use crate::settings::{Family, Protocol};
use crate::yaml::{Errors, Source, Whole, Word, span, span_of_all};
use rand::RngExt;
use serde_yaml::Spanned;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

/// Characters in a node's name at most: `NAME-acc` must fit an interface name.
pub(super) const LONGEST_NAME: usize = 11;
/// Words that `start:` gives a meaning of their own.
pub(super) const RESERVED_NAMES: [&str; 2] = ["spread", "random"];
/// Wired links of a router at most: the kernel routes multicast between 32 interfaces, and one is for access.
pub(super) const MAX_WIRED_LINKS: usize = 31;
/// Radio link, both ways, where the file says nothing.
pub(super) const DEFAULT_RADIO: LinkQuality =
    LinkQuality { one_way_delay: Duration::from_millis(1), ..LinkQuality::IDEAL };
/// Link of a graph's SIP server, both ways, where the file says nothing.
pub(super) const DEFAULT_SERVER_LINK: LinkQuality =
    LinkQuality { one_way_delay: Duration::from_micros(500), ..LinkQuality::IDEAL };
/// Metres between neighbours of a grid where the file says nothing.
pub(super) const DEFAULT_SPACING: f64 = 100.0;
/// Domain of all addresses-of-record.
pub const SIP_DOMAIN: &str = "samp.test";

/// What the text `source` describes; `seed` replaces the file's own.
pub(super) fn resolve(
    source: &Source,
    seed: Option<u64>,
    read_graph: ReadGraph<'_>,
) -> Result<Topology, Vec<Diagnostic>> {
    let file: TopologyFile = source.parse()?;
    let mut resolver = Resolver {
        errors: Errors::new(source.clone()),
        errors_of_graph: Vec::new(),
        network: None,
        directory: source.directory(),
        generator: if file.graph.is_some() { "graph" } else { "grid" },
        nodes: Vec::new(),
        links: Vec::new(),
        ids: HashMap::new(),
    };
    if let Some(graph) = &file.graph {
        let theirs = &mut resolver.errors_of_graph;
        resolver.network = graph::import(source, graph, read_graph, &mut resolver.errors, theirs);
    }
    match resolver.topology(&file, seed) {
        Some(topology) if resolver.errors.is_empty() => Ok(topology),
        _ => {
            let mut errors = resolver.errors.into_list();
            errors.append(&mut resolver.errors_of_graph);
            Err(errors)
        }
    }
}

struct Resolver<'f> {
    errors: Errors,
    /// What is wrong with the GraphML file.
    errors_of_graph: Vec<Diagnostic>,
    /// What the file's graph describes; none if it has no graph, or a bad one.
    network: Option<Network>,
    /// What made the nodes and links that the file does not name: grid or graph.
    generator: &'static str,
    /// The directory of the topology file, for programs' arguments.
    directory: String,
    nodes: Vec<DraftNode<'f>>,
    links: Vec<DraftLink>,
    /// Index of each name in `nodes`.
    ids: HashMap<String, usize>,
}

struct DraftNode<'f> {
    name: String,
    /// What of the file made it.
    at: Range<usize>,
    kind: DraftKind<'f>,
    program: Option<&'f Spanned<Vec<Spanned<String>>>>,
}

enum DraftKind<'f> {
    Router {
        access: bool,
        position: Option<[f64; 2]>,
    },
    SipServer,
    MobileNode {
        start: Start<'f>,
        radio: Box<Radio>,
        /// Whose terminal it is, when the file says so.
        user: Option<String>,
    },
    /// Its kind is an error, already reported; the name is known.
    Unknown,
}

#[derive(Clone, Copy)]
enum Start<'f> {
    /// The mobile node has this share of the way through the list of access routers: number, of how many.
    Spread(u64, u64),
    /// Anywhere.
    Random,
    /// At this access router.
    At(&'f Spanned<String>),
    /// Missing, already reported.
    Unknown,
}

struct DraftLink {
    ends: [String; 2],
    quality: [LinkQuality; 2],
    /// Where each end is named in the file; nowhere for the links of a grid or a graph.
    named: Option<[Range<usize>; 2]>,
}

impl<'f> Resolver<'f> {
    fn topology(&mut self, file: &'f TopologyFile, seed: Option<u64>) -> Option<Topology> {
        let name = self.errors.title(file.name.as_ref());
        let file_seed = self.errors.value_or(file.seed.as_ref(), Whole(1)).0;
        let seed = seed.unwrap_or(file_seed);
        let family = self.errors.value_or(file.family.as_ref(), Word(Family::default())).0;
        let mobility = self.mobility(file);
        let mut samp = knobs::samp(&mut self.errors, file.samp.as_ref());
        // They are SAMP's own.
        samp.tier1.enabled &= mobility.protocol == Protocol::Samp;
        samp.tier2.enabled &= mobility.protocol == Protocol::Samp;
        let media = knobs::media(&mut self.errors, file.media.as_ref());
        let addressing = knobs::addressing(&mut self.errors, file.addressing.as_ref());
        let emulation = knobs::emulation(&mut self.errors, file.emulation.as_ref());
        let [up, down] = self.radio([DEFAULT_RADIO; 2], file.radio.as_ref());
        let radio = Radio { up, down };
        self.check_size(file)?;

        // Generated nodes come before explicit ones of the same kind; the sort is stable.
        // A name that is missing because the grid or a name is wrong is no second mistake.
        let mut all_named = file.grid.as_ref().is_none_or(|grid| self.grid(grid).is_some());
        all_named &= file.graph.as_ref().is_none_or(|graph| self.graph(graph).is_some());
        if let Some(nodes) = &file.mobile_nodes {
            self.mobile_nodes(nodes, &radio);
        }
        for (name, node) in &file.nodes.0 {
            all_named &= self.check_name(name);
            self.explicit_node(name, node, &radio);
        }
        self.nodes.sort_by_key(|node| match node.kind {
            DraftKind::Router { .. } => 0,
            DraftKind::SipServer => 1,
            DraftKind::MobileNode { .. } => 2,
            DraftKind::Unknown => 3,
        });
        self.ids = self.nodes.iter().enumerate().map(|(id, node)| (node.name.clone(), id)).collect();

        for link in file.links.iter().flatten() {
            self.explicit_link(link, all_named);
        }
        let links = self.bind_links();
        let starts = self.bind_starts(seed, all_named);
        let programs = self.bind_programs(all_named);
        if !self.errors.is_empty() {
            return None;
        }
        self.check_population()?;
        self.check_connected(&links)?;
        let nodes = self.address(&starts?, programs, family)?;
        let mobility = self.with_agent(mobility, file, &nodes, family)?;
        let topology =
            Topology { name, seed, family, nodes, links, mobility, samp, media, addressing, emulation };
        if let Some(hindrance) = topology.addressing_hindrance()
            && let Some(address) = file.addressing.as_ref().and_then(|addressing| addressing.address.as_ref())
        {
            self.errors.report(span(address), hindrance, |error| {
                error.hint("write `address: static`, or change the other")
            });
            return None;
        }
        if let Some(hindrance) = topology.handoff_hindrance()
            && let Some(emulation) = &file.emulation
        {
            self.errors.report(emulation.span_of(hindrance.key), hindrance.why, |error| {
                error.hint(hindrance.hint())
            });
            return None;
        }
        Some(topology)
    }

    /// That there are nodes, and not too many to begin with them.
    fn check_size(&mut self, file: &TopologyFile) -> Option<()> {
        let mut total = file.nodes.0.len() as u64;
        let mut largest = file.nodes.0.first().map_or(0..0, |(name, _)| span(name));
        if let Some(grid) = &file.grid {
            let (width, height) = (self.errors.value(&grid.width)?.0, self.errors.value(&grid.height)?.0);
            total += width * height;
            largest = span(&grid.width);
            if let Some(graph) = &file.graph {
                self.errors.report(
                    span(&graph.graphml),
                    "a topology has a grid or a graph, not both",
                    |error| error.hint("remove one of the two; `nodes:` and `links:` add to either"),
                );
                return None;
            }
        }
        if let Some(graph) = &file.graph {
            total += self.network.as_ref()?.routers.len() as u64;
            largest = span(&graph.graphml);
        }
        if let Some(nodes) = &file.mobile_nodes {
            total += self.errors.value(&nodes.count)?.0;
        }
        if total == 0 {
            self.errors.report(0..0, "the topology has no nodes", |error| {
                error.hint("add a `grid:`, or `nodes:` and `links:`; topologies/line.yaml shows how")
            });
            return None;
        }
        if total > MAX_NODES {
            self.errors.report(largest, format!("the topology has {total} nodes or more"), |error| {
                error.hint(format!("at most {MAX_NODES} fit"))
            });
            return None;
        }
        Some(())
    }

    /// The access routers `ar-x-y`, their links, and the servers `s1`, `s2`, … of the domains.
    fn grid(&mut self, grid: &Grid) -> Option<()> {
        let at = span(&grid.width);
        let (width, height) = (self.errors.value(&grid.width)?.0, self.errors.value(&grid.height)?.0);
        let spacing = match &grid.spacing {
            None => DEFAULT_SPACING,
            Some(spacing) => {
                let metres = self.errors.value(spacing)?.0;
                if metres <= 0.0 {
                    self.errors.report(span(spacing), "a spacing is more than 0", |error| {
                        error.hint("write metres, as `spacing: 100`")
                    });
                    return None;
                }
                metres
            }
        };
        let (domain_width, domain_height) = match &grid.domain {
            None => (width, height),
            Some(domain) => (self.errors.value(&domain.width)?.0, self.errors.value(&domain.height)?.0),
        };
        let link = self.quality(LinkQuality::default(), grid.link.quality());
        let server_link = self.quality(LinkQuality::default(), grid.server_link.quality());

        let router = |x: u64, y: u64| format!("ar-{x}-{y}");
        for y in 0..height {
            for x in 0..width {
                let position = Some([x as f64 * spacing, y as f64 * spacing]);
                self.add(router(x, y), at.clone(), DraftKind::Router { access: true, position });
                if x + 1 < width {
                    self.link([router(x, y), router(x + 1, y)], [link; 2]);
                }
                if y + 1 < height {
                    self.link([router(x, y), router(x, y + 1)], [link; 2]);
                }
            }
        }
        let mut number = 0;
        for top in (0..height).step_by(domain_height as usize) {
            for left in (0..width).step_by(domain_width as usize) {
                number += 1;
                let right = width.min(left + domain_width) - 1;
                let bottom = height.min(top + domain_height) - 1;
                self.add(format!("s{number}"), at.clone(), DraftKind::SipServer);
                let centre = router(left.midpoint(right), top.midpoint(bottom));
                self.link([centre, format!("s{number}")], [server_link; 2]);
            }
        }
        Some(())
    }

    /// The access routers and links of the graph, and the servers `s1`, `s2`, ….
    fn graph(&mut self, graph: &Graph) -> Option<()> {
        let network = self.network.take()?;
        let at = span(&graph.graphml);
        for router in &network.routers {
            let kind = DraftKind::Router { access: true, position: router.position };
            self.add(router.name.clone(), at.clone(), kind);
        }
        for link in &network.links {
            let quality =
                LinkQuality { one_way_delay: link.one_way_delay, rate: link.rate, ..LinkQuality::default() };
            self.link(link.ends.map(|end| network.routers[end].name.clone()), [quality; 2]);
        }
        if let Some(servers) = &graph.servers {
            let quality = match &servers.link {
                Some(link) => self.quality(LinkQuality::default(), link.quality()),
                None => DEFAULT_SERVER_LINK,
            };
            let places = network.busiest();
            let count = self.errors.value(&servers.count)?.0 as usize;
            if count > places.len() {
                let message = format!("{count} SIP servers, and {} routers to put one at", places.len());
                self.errors.report(span(&servers.count), message, |error| {
                    error.hint("use fewer; more can be added under `nodes:` and `links:`")
                });
                return None;
            }
            for (number, router) in (1..=count).zip(places) {
                self.add(format!("s{number}"), at.clone(), DraftKind::SipServer);
                self.link([network.routers[router].name.clone(), format!("s{number}")], [quality; 2]);
            }
        }
        self.network = Some(network);
        Some(())
    }

    /// The mobile nodes `mn1`, `mn2`, ….
    fn mobile_nodes(&mut self, nodes: &'f MobileNodes, radio: &Radio) {
        let Some(Whole(count)) = self.errors.value(&nodes.count) else { return };
        for number in 0..count {
            let start = match &nodes.start {
                None => Start::Spread(number, count),
                Some(start) if start.value == "spread" => Start::Spread(number, count),
                Some(start) if start.value == "random" => Start::Random,
                Some(start) => Start::At(start),
            };
            let kind = DraftKind::MobileNode { start, radio: Box::new(radio.clone()), user: None };
            self.add(format!("mn{}", number + 1), span(&nodes.count), kind);
        }
    }

    fn check_name(&mut self, name: &Spanned<String>) -> bool {
        let text = name.value.as_str();
        let hint = if RESERVED_NAMES.contains(&text) {
            format!("`start: {text}` has a meaning of its own; take another name")
        } else if !is_name(text) {
            format!("begin with a letter and use at most {LONGEST_NAME} of a-z, 0-9 and `-`")
        } else {
            return true;
        };
        self.errors.report(span(name), format!("{} is not a name for a node", quote(text)), |error| {
            error.hint(hint)
        });
        false
    }

    fn explicit_node(&mut self, name: &Spanned<String>, node: &'f ExplicitNode, radio: &Radio) {
        let at = span(name);
        if self.ids.contains_key(&name.value) {
            let message = format!("{} is defined twice", quote(&name.value));
            self.errors.report(at, message, |error| {
                error
                    .label(format!(
                        "the {} or `mobile_nodes` already has a node of this name",
                        self.generator
                    ))
                    .hint("give this node another name")
            });
            return;
        }
        let Some(Word(kind)) = self.errors.value(&node.kind) else {
            self.add(name.value.clone(), at, DraftKind::Unknown);
            return;
        };
        if let Some(position) = &node.position
            && kind != Kind::AccessRouter
        {
            self.misplaced(span_of_all(position), "position", "access routers");
        }
        if let Some(start) = &node.start
            && kind != Kind::MobileNode
        {
            self.misplaced(span(start), "start", "mobile nodes");
        }
        if let Some(user) = &node.user
            && kind != Kind::MobileNode
        {
            self.misplaced(span(user), "user", "mobile nodes");
        }
        if let Some(radio) = &node.radio
            && kind != Kind::MobileNode
        {
            self.misplaced(span(radio), "radio", "mobile nodes");
        }
        let kind = match kind {
            Kind::Router => DraftKind::Router { access: false, position: None },
            Kind::AccessRouter => DraftKind::Router { access: true, position: self.position(node) },
            Kind::SipServer => DraftKind::SipServer,
            Kind::MobileNode => {
                if node.start.is_none() {
                    let message = format!("the mobile node {} has no start", quote(&name.value));
                    self.errors.report(at.clone(), message, |error| {
                        error
                            .label("begins nowhere")
                            .hint("add the access router where it begins: `start: ar1`")
                    });
                }
                let [up, down] =
                    self.radio([radio.up, radio.down], node.radio.as_ref().map(|radio| &*radio.value));
                let start = node.start.as_ref().map_or(Start::Unknown, Start::At);
                let user = node.user.as_ref().and_then(|user| self.errors.value(user)).map(|user| user.0);
                DraftKind::MobileNode { start, radio: Box::new(Radio { up, down }), user }
            }
        };
        self.add(name.value.clone(), at, kind);
        if let Some(added) = self.nodes.last_mut() {
            added.program = node.program.as_ref();
        }
    }

    fn misplaced(&mut self, at: Range<usize>, field: &str, owners: &str) {
        self.errors.report(at, format!("only {owners} have a `{field}`"), |error| {
            error.label("does not belong here").hint(format!("remove `{field}`, or change `kind`"))
        });
    }

    fn position(&mut self, node: &ExplicitNode) -> Option<[f64; 2]> {
        let position = node.position.as_ref()?;
        let [x, y] = &position.value[..] else {
            self.errors.report(span_of_all(position), "a position has two coordinates", |error| {
                error.hint("write `position: [x, y]`, in metres")
            });
            return None;
        };
        Some([self.errors.value(x)?.0, self.errors.value(y)?.0])
    }

    /// Where each mobile node begins; none when that cannot be said, with or without an error of its own.
    fn bind_starts(&mut self, seed: u64, all_named: bool) -> Option<Vec<NodeId>> {
        let access_routers: Vec<_> = (0..self.nodes.len()).filter(|&id| self.is_access_router(id)).collect();
        let mut rng = random::generator(seed, "start");
        let mut starts = Some(Vec::new());
        let mut reported: Option<&str> = None;
        for id in 0..self.nodes.len() {
            let DraftKind::MobileNode { start, .. } = self.nodes[id].kind else { continue };
            let at = match start {
                Start::At(name) => match self.ids.get(&name.value) {
                    Some(&id) if self.is_access_router(id) => Some(id),
                    Some(&id) if matches!(self.nodes[id].kind, DraftKind::Unknown) => None,
                    // All generated nodes share one name.
                    _ if reported.is_some_and(|reported| std::ptr::eq(reported, name.value.as_str())) => None,
                    found => {
                        reported = Some(&name.value);
                        if found.is_some() {
                            let message = format!("{} is not an access router", quote(&name.value));
                            self.errors.report(span(name), message, |error| {
                                error
                                    .label("no mobile node can be here")
                                    .hint("mobile nodes begin at a node of `kind: access_router`")
                            });
                        } else {
                            self.dangling(name, all_named, |kind| {
                                matches!(kind, DraftKind::Router { access: true, .. })
                            });
                        }
                        None
                    }
                },
                _ if access_routers.is_empty() => None,
                Start::Spread(number, count) => {
                    Some(access_routers[(number as usize * access_routers.len()) / count as usize])
                }
                Start::Random => Some(access_routers[rng.random_range(0..access_routers.len())]),
                Start::Unknown => None,
            };
            match (at, &mut starts) {
                (Some(at), Some(starts)) => starts.push(NodeId(at)),
                _ => starts = None,
            }
        }
        starts
    }

    /// Reports a name that no node has; `fits` says which nodes it could have meant.
    fn dangling(&mut self, name: &Spanned<String>, all_named: bool, fits: impl Fn(&DraftKind<'f>) -> bool) {
        if !all_named {
            return;
        }
        let nodes = &self.nodes;
        self.errors.report(span(name), format!("there is no node {}", quote(&name.value)), |error| {
            let candidates = nodes.iter().filter(|node| fits(&node.kind)).map(|node| node.name.as_str());
            let error = error.label("not defined");
            error.hint(
                suggest_name(&name.value, candidates)
                    .unwrap_or_else(|| "define it under `nodes:`".to_owned()),
            )
        });
    }

    /// That mobile nodes have where to be and with whom to register.
    fn check_population(&mut self) -> Option<()> {
        let Some(mobile) = self.nodes.iter().find(|node| matches!(node.kind, DraftKind::MobileNode { .. }))
        else {
            return Some(());
        };
        let at = mobile.at.clone();
        let mut complete = Some(());
        if !(0..self.nodes.len()).any(|id| self.is_access_router(id)) {
            self.errors.report(at.clone(), "there are mobile nodes, but no access router", |error| {
                error.hint("add one under `nodes:`: `ar1: { kind: access_router }`")
            });
            complete = None;
        }
        if !self.nodes.iter().any(|node| matches!(node.kind, DraftKind::SipServer)) {
            self.errors.report(at, "there are mobile nodes, but no SIP server", |error| {
                error.hint("add one under `nodes:`, `s1: { kind: sip_server }`, and link it to a router")
            });
            complete = None;
        }
        complete
    }

    /// The nodes with their addresses.
    fn address(
        &mut self,
        starts: &[NodeId],
        programs: Vec<Option<Program>>,
        family: Family,
    ) -> Option<Vec<Node>> {
        let first = self.nodes.first().map_or(0..0, |node| node.at.clone());
        let mut starts = (FIRST_HOST..).zip(starts);
        let drafts = std::mem::take(&mut self.nodes).into_iter().zip(programs);
        let nodes = drafts.map(|(DraftNode { name, kind, .. }, program)| {
            let kind = match kind {
                DraftKind::Router { access, position } => NodeKind::Router {
                    addresses: Vec::new(),
                    access: access.then(|| AccessNetwork { subnets: Vec::new(), position }),
                },
                DraftKind::SipServer => NodeKind::SipServer { addresses: Vec::new() },
                DraftKind::MobileNode { radio, user, .. } => {
                    let (host, &start) = starts.next()?;
                    let user = user.as_deref().unwrap_or(&name);
                    let address_of_record = format!("sip:{user}@{SIP_DOMAIN}");
                    NodeKind::MobileNode { address_of_record, start, host, radio }
                }
                DraftKind::Unknown => return None,
            };
            Some(Node { name, kind, program })
        });
        let mut nodes = nodes.collect::<Option<Vec<_>>>()?;
        if let Err(full) = addressing::assign(&mut nodes, family) {
            self.errors.report(first, full.to_string(), |error| {
                error.hint("use fewer access routers or fewer mobile nodes, or `family: ipv6`")
            });
            return None;
        }
        Some(nodes)
    }

    fn add(&mut self, name: String, at: Range<usize>, kind: DraftKind<'f>) {
        self.ids.insert(name.clone(), self.nodes.len());
        self.nodes.push(DraftNode { name, at, kind, program: None });
    }

    fn link(&mut self, ends: [String; 2], quality: [LinkQuality; 2]) {
        self.links.push(DraftLink { ends, quality, named: None });
    }

    fn is_access_router(&self, id: usize) -> bool {
        matches!(self.nodes[id].kind, DraftKind::Router { access: true, .. })
    }
}
