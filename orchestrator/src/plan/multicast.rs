//! The trees along which a discovery reaches all servers.

use super::PlanError;
use super::wiring::Wiring;
use samp_model::paths::PathTree;
use samp_model::topology::{NodeId, Topology};
use serde::Serialize;
use std::collections::BTreeMap;

/// The shortest-path tree from one access router to all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MulticastTree {
    /// The access router, where sources are.
    pub access_router: NodeId,
    /// One entry a router of the tree, the access router last: once it forwards, all others do.
    pub entries: Vec<TreeEntry>,
}

/// What one router of a tree does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeEntry {
    /// The router.
    pub router: NodeId,
    /// Number of the interface where packets arrive; none at the access router: from the air.
    pub arrives: Option<u16>,
    /// Numbers of the interfaces where copies leave, in order.
    pub leaves: Vec<u16>,
}

/// One tree for each access router, in their order.
pub(super) fn trees(topology: &Topology, wiring: &Wiring) -> Result<Vec<MulticastTree>, PlanError> {
    topology.access_routers().map(|access_router| tree(topology, wiring, access_router)).collect()
}

fn tree(topology: &Topology, wiring: &Wiring, access_router: NodeId) -> Result<MulticastTree, PlanError> {
    let paths = PathTree::towards(topology, access_router);
    let vif = |node, link| wiring.interface(topology, node, link).vif;
    // Keyed by distance and node, so that the reverse order is from the servers towards the access router.
    let mut entries = BTreeMap::from([((0, access_router), entry(access_router, None))]);
    for server in topology.sip_servers() {
        let path = paths.path(server).ok_or_else(|| PlanError::Unreachable {
            from: topology.node(access_router).name.clone(),
            to: topology.node(server).name.clone(),
        })?;
        for (walked, step) in path.iter().enumerate() {
            let distance = path.len() - walked - 1;
            let arrives = paths.next(step.node).and_then(|next| vif(step.node, next.link));
            let parent = entries.entry((distance, step.node)).or_insert_with(|| entry(step.node, arrives));
            let leaves = vif(step.node, step.link);
            parent.leaves.extend(leaves.filter(|leaf| !parent.leaves.contains(leaf)));
        }
    }
    let entries = entries.into_values().rev().map(|mut entry: TreeEntry| {
        entry.leaves.sort_unstable();
        entry
    });
    Ok(MulticastTree { access_router, entries: entries.collect() })
}

fn entry(router: NodeId, arrives: Option<u16>) -> TreeEntry {
    TreeEntry { router, arrives, leaves: Vec::new() }
}
