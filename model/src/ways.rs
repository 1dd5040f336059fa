//! Ways between the nodes of a topology, remembered: who asks for many finds most of them from few ends.

use crate::locator::Locator;
use crate::paths::{ShortestPaths, Step, WiredGraph};
use crate::topology::{NodeId, NodeKind, Topology};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// Ends other than servers from which ways are remembered: in a city, those of one end take a megabyte.
const REMEMBERED: usize = 256;

/// The shortest paths of a topology as it was, by the end that they were found from.
#[derive(Clone, Debug)]
pub struct Ways {
    graph: WiredGraph,
    /// Whether every wired link is back what it is there, so that a way may be found from either end.
    is_symmetric: bool,
    /// The SIP servers, which are an end of most ways.
    servers: BTreeSet<NodeId>,
    /// From servers, and from others that were asked for lately.
    paths: HashMap<NodeId, ShortestPaths>,
}

impl Ways {
    /// In this topology.
    pub fn new(topology: &Topology) -> Self {
        Self {
            graph: WiredGraph::new(topology),
            is_symmetric: topology.links.iter().all(|link| link.quality[0] == link.quality[1]),
            servers: topology.sip_servers().collect(),
            paths: HashMap::new(),
        }
    }

    /// All ways from a node.
    pub fn from(&mut self, root: NodeId) -> &ShortestPaths {
        if self.paths.len() >= self.servers.len() + REMEMBERED && !self.paths.contains_key(&root) {
            let servers = &self.servers;
            self.paths.retain(|root, _| servers.contains(root));
        }
        self.paths.entry(root).or_insert_with(|| ShortestPaths::new(&self.graph, root))
    }

    /// Ways from one of the two nodes, and the other one: a way between them, which takes as long in either direction if
    /// it was found from `to`.
    pub fn between(&mut self, from: NodeId, to: NodeId) -> (&ShortestPaths, NodeId) {
        let is_found_from_to =
            self.is_symmetric && self.servers.contains(&to) && !self.servers.contains(&from);
        let (root, leaf) = if is_found_from_to { (to, from) } else { (from, to) };
        (self.from(root), leaf)
    }

    /// The shortest time in which a packet gets from one address to another along its route, radio links included: the
    /// sum of the configured one-way delays, less what jitter and reordering can take off.
    ///
    /// None when an address belongs to no node or there is no path.
    pub fn least_delay(
        &mut self,
        topology: &Topology,
        locator: &Locator,
        from: IpAddr,
        to: IpAddr,
    ) -> Option<Duration> {
        let [(from, from_router), (to, to_router)] =
            [locator.locate(topology, from)?, locator.locate(topology, to)?];
        let mut delay = Duration::ZERO;
        if let NodeKind::MobileNode { radio, .. } = &topology.node(from).kind {
            delay += radio.up.least_delay();
        }
        if let NodeKind::MobileNode { radio, .. } = &topology.node(to).kind {
            delay += radio.down.least_delay();
        }
        let (ways, mut here) = self.between(from_router.unwrap_or(from), to_router.unwrap_or(to));
        ways.hops(here)?;
        while let Some(Step { node, link }) = ways.step_back(here) {
            let link = &topology.links[link];
            delay += link.quality[usize::from(link.ends[0] != node)].least_delay();
            here = node;
        }
        Some(delay)
    }
}
