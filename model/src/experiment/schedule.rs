//! What there is to do, in order, with all random choices made.

mod map;
mod period;
mod waypoint;

use super::{Action, Calls, Experiment, Moves, Step};
use crate::paths::neighbouring_access_routers;
use crate::random;
use crate::topology::{NodeId, NodeKind, Topology};
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{BTreeMap, BTreeSet};

/// The mobile nodes, as the actions up to here leave them.
struct Crowd {
    /// Where each is.
    places: BTreeMap<NodeId, NodeId>,
    /// Those that can be told to move and to call. A program of the user's cannot be told to call; it moves when it is named.
    mobile_nodes: Vec<NodeId>,
    /// Those that are in a call.
    busy: BTreeSet<NodeId>,
    /// Those that were killed.
    lost: BTreeSet<NodeId>,
}

impl Crowd {
    fn new(topology: &Topology) -> Self {
        let places: BTreeMap<NodeId, NodeId> = topology
            .nodes()
            .filter_map(|(id, node)| match node.kind {
                NodeKind::MobileNode { start, .. } => Some((id, start)),
                _ => None,
            })
            .collect();
        let has_agent = |node: &NodeId| topology.node(*node).program.is_none();
        let mobile_nodes = places.keys().copied().filter(has_agent).collect();
        Self { places, mobile_nodes, busy: BTreeSet::new(), lost: BTreeSet::new() }
    }

    /// Whether the node can be told to move and to call.
    fn has(&self, node: NodeId) -> bool {
        self.mobile_nodes.binary_search(&node).is_ok()
    }

    /// A node is killed.
    fn lose(&mut self, node: NodeId) {
        self.mobile_nodes.retain(|mobile_node| *mobile_node != node);
        self.lost.insert(node);
    }

    /// Whether it was killed.
    fn is_lost(&self, node: NodeId) -> bool {
        self.lost.contains(&node)
    }
}

impl Experiment {
    /// All there is to do, in order. The same experiment and topology always yield the same.
    pub fn schedule(&self, topology: &Topology) -> Vec<Action> {
        let mut actions = Vec::new();
        let neighbours = neighbouring_access_routers(topology);
        let mut crowd = Crowd::new(topology);

        for (number, step) in self.timeline.iter().enumerate() {
            match step {
                Step::Call(calls) => {
                    let pairs = match calls {
                        Calls::Pairs(pairs) => pairs.clone(),
                        Calls::Random(count) => {
                            let mut idle: Vec<_> = crowd
                                .mobile_nodes
                                .iter()
                                .copied()
                                .filter(|node| !crowd.busy.contains(node))
                                .collect();
                            idle.shuffle(&mut random::generator(
                                self.seed,
                                &format!("calls of step {number}"),
                            ));
                            idle.chunks_exact(2).take(*count).map(|pair| (pair[0], pair[1])).collect()
                        }
                    };
                    for (caller, callee) in pairs {
                        crowd.busy.extend([caller, callee]);
                        actions.push(Action::Call { caller, callee });
                    }
                }
                Step::Handoff { moves, interval, gap } => {
                    let mut rng = random::generator(self.seed, &format!("handoffs of step {number}"));
                    let count = match moves {
                        Moves::Random(count) => *count,
                        Moves::Listed(moves) => moves.len(),
                    };
                    for index in 0..count {
                        let (mobile_node, access_router) = match moves {
                            Moves::Listed(moves) => moves[index],
                            Moves::Random(_) => {
                                let Some(&mobile_node) = crowd.mobile_nodes.choose(&mut rng) else { break };
                                let Some(&next) = neighbours[&crowd.places[&mobile_node]].choose(&mut rng)
                                else {
                                    break;
                                };
                                (mobile_node, next)
                            }
                        };
                        if crowd.places.insert(mobile_node, access_router) != Some(access_router) {
                            actions.push(Action::Handoff { mobile_node, access_router, gap: *gap });
                        }
                        actions.push(Action::Wait(*interval));
                    }
                }
                Step::Period(period) => {
                    let seeds =
                        |purpose: &str| random::generator(self.seed, &format!("{purpose} of step {number}"));
                    period.schedule(topology, &neighbours, &mut crowd, seeds, &mut actions);
                }
                Step::Once(action) => {
                    match action {
                        Action::Transfer { from, to } => {
                            crowd.busy.remove(from);
                            crowd.busy.insert(*to);
                        }
                        Action::HangUpAll => crowd.busy.clear(),
                        Action::Kill(node) => crowd.lose(*node),
                        _ => {}
                    }
                    actions.push(action.clone());
                }
            }
        }
        actions
    }
}
