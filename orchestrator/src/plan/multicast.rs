//! The trees along which a discovery reaches the servers around it.

use super::wiring::Wiring;
use samp_model::paths::{ShortestPaths, WiredGraph};
use samp_model::topology::{NodeId, Topology};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How discoveries are routed. Their trees are worked out when they are needed: all of a big lab would fill the memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Multicast {
    /// The group at which SIP servers are discovered; its IP version is the one whose multicast is routed.
    pub group: IpAddr,
    /// TTL or hop limit with which discoveries are sent.
    pub ttl: u8,
    #[serde(skip)]
    graph: WiredGraph,
    #[serde(skip)]
    servers: Vec<NodeId>,
    /// For each link, the number of each end's interface in multicast routing.
    #[serde(skip)]
    vifs: Vec<[(NodeId, Option<u16>); 2]>,
}

/// The shortest paths from one access router to all servers that a discovery reaches from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastTree {
    /// One entry a router of the tree, the access router last: once it forwards, all others do.
    pub entries: Vec<TreeEntry>,
}

/// What one router of a tree does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The router.
    pub router: NodeId,
    /// Number of the interface where packets arrive; none at the access router: from the air.
    pub arrives: Option<u16>,
    /// Numbers of the interfaces where copies leave, in order.
    pub leaves: Vec<u16>,
}

impl Multicast {
    pub(super) fn new(topology: &Topology, graph: WiredGraph, wiring: &Wiring) -> Self {
        let vifs =
            topology.links.iter().enumerate().map(|(number, link)| {
                link.ends.map(|node| (node, wiring.interface(topology, node, number).vif))
            });
        Self {
            group: topology.samp.discovery_group(topology.family),
            ttl: topology.samp.multicast_ttl,
            graph,
            servers: topology.sip_servers().collect(),
            vifs: vifs.collect(),
        }
    }

    /// The tree of an access router.
    pub fn tree(&self, access_router: NodeId) -> MulticastTree {
        let paths = ShortestPaths::new(&self.graph, access_router);
        // Keyed by distance and node, so that the reverse order is from the servers towards the access router.
        let mut entries = BTreeMap::from([((0, access_router), entry(access_router, None))]);
        // Each router takes one off the TTL and forwards what has more than 1.
        let reached = |server: &&NodeId| paths.hops(**server).is_some_and(|hops| hops < self.ttl.into());
        for &server in self.servers.iter().filter(reached) {
            let mut here = server;
            while let Some(step) = paths.step_back(here) {
                let distance = paths.hops(step.node).unwrap_or(0);
                let arrives = paths.step_back(step.node).and_then(|back| self.vif(step.node, back.link));
                let router =
                    entries.entry((distance, step.node)).or_insert_with(|| entry(step.node, arrives));
                let leaves = self.vif(step.node, step.link);
                router.leaves.extend(leaves.filter(|leaf| !router.leaves.contains(leaf)));
                here = step.node;
            }
        }
        let entries = entries.into_values().rev().map(|mut entry: TreeEntry| {
            entry.leaves.sort_unstable();
            entry
        });
        MulticastTree { entries: entries.collect() }
    }

    fn vif(&self, node: NodeId, link: usize) -> Option<u16> {
        self.vifs[link].iter().find(|(end, _)| *end == node).and_then(|(_, vif)| *vif)
    }
}

fn entry(router: NodeId, arrives: Option<u16>) -> TreeEntry {
    TreeEntry { router, arrives, leaves: Vec::new() }
}
