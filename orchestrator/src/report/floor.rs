//! What theory allows at best: sums of the shortest times that links can take.

use super::history::History;
use samp_model::paths::WiredGraph;
use samp_model::topology::{Link, NodeKind};
use samp_model::{Event, Topology, paths};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// A run's topology with each link as fast as it ever was, so that a floor holds whenever its path was taken.
pub(super) fn at_its_fastest<'t>(topology: &'t Topology, history: &History) -> Cow<'t, Topology> {
    let mut fastest = Cow::Borrowed(topology);
    for record in history.nodes().flat_map(|(_, records)| records) {
        let Event::LinkChanged { peer, quality, .. } = &record.event else { continue };
        let Some(node) = topology.find(&record.node) else { continue };
        let peer = peer.as_deref().map(|peer| topology.find(peer));
        let fastest = fastest.to_mut();
        let directions = match peer {
            None => match &mut fastest.nodes[node.0].kind {
                NodeKind::MobileNode { radio, .. } => [&mut radio.up, &mut radio.down],
                _ => continue,
            },
            Some(peer) => {
                match fastest.links.iter_mut().find(|link| Some(link.ends) == peer.map(|peer| [node, peer])) {
                    Some(Link { quality: [there, back], .. }) => [there, back],
                    None => continue,
                }
            }
        };
        for (known, new) in directions.into_iter().zip(quality.iter()) {
            if new.least_delay() < known.least_delay() {
                *known = *new;
            }
        }
    }
    fastest
}

/// The floors of one topology; remembers what it has worked out.
#[derive(Debug)]
pub struct Floors<'a> {
    topology: &'a Topology,
    graph: WiredGraph,
    known: RefCell<HashMap<(IpAddr, IpAddr), Option<Duration>>>,
}

impl<'a> Floors<'a> {
    /// Of this topology.
    pub fn new(topology: &'a Topology) -> Self {
        Self { topology, graph: WiredGraph::new(topology), known: RefCell::default() }
    }

    /// The topology.
    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// From one address to another; none when there is no such path.
    pub fn one_way(&self, from: IpAddr, to: IpAddr) -> Option<Duration> {
        *self
            .known
            .borrow_mut()
            .entry((from, to))
            .or_insert_with(|| paths::least_delay(self.topology, &self.graph, from, to))
    }

    /// Along these addresses, first to last, and back the same way.
    pub fn there_and_back(&self, path: &[IpAddr]) -> Option<Duration> {
        path.windows(2).map(|leg| Some(self.one_way(leg[0], leg[1])? + self.one_way(leg[1], leg[0])?)).sum()
    }
}
