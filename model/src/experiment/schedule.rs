//! What there is to do, in order, with all random choices made.

use super::{Action, Calls, Experiment, Moves, Step};
use crate::paths::neighbouring_access_routers;
use crate::random;
use crate::topology::{NodeId, NodeKind, Topology};
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{BTreeMap, BTreeSet};

impl Experiment {
    /// All there is to do, in order. The same experiment and topology always yield the same.
    pub fn schedule(&self, topology: &Topology) -> Vec<Action> {
        let mut actions = Vec::new();
        let neighbours = neighbouring_access_routers(topology);
        let mut places: BTreeMap<NodeId, NodeId> = topology
            .nodes()
            .filter_map(|(id, node)| match node.kind {
                NodeKind::MobileNode { start, .. } => Some((id, start)),
                _ => None,
            })
            .collect();
        // A program of the user's cannot be told to call; it moves when it is named.
        let has_agent = |node: &NodeId| topology.node(*node).program.is_none();
        let mut mobile_nodes: Vec<NodeId> = places.keys().copied().filter(has_agent).collect();
        let mut busy = BTreeSet::new();

        for (number, step) in self.timeline.iter().enumerate() {
            match step {
                Step::Call(calls) => {
                    let pairs = match calls {
                        Calls::Pairs(pairs) => pairs.clone(),
                        Calls::Random(count) => {
                            let mut idle: Vec<_> =
                                mobile_nodes.iter().copied().filter(|node| !busy.contains(node)).collect();
                            idle.shuffle(&mut random::generator(
                                self.seed,
                                &format!("calls of step {number}"),
                            ));
                            idle.chunks_exact(2).take(*count).map(|pair| (pair[0], pair[1])).collect()
                        }
                    };
                    for (caller, callee) in pairs {
                        busy.extend([caller, callee]);
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
                                let Some(&mobile_node) = mobile_nodes.choose(&mut rng) else { break };
                                let Some(&next) = neighbours[&places[&mobile_node]].choose(&mut rng) else {
                                    break;
                                };
                                (mobile_node, next)
                            }
                        };
                        if places.insert(mobile_node, access_router) != Some(access_router) {
                            actions.push(Action::Handoff { mobile_node, access_router, gap: *gap });
                        }
                        actions.push(Action::Wait(*interval));
                    }
                }
                Step::Once(action) => {
                    match action {
                        Action::Transfer { from, to } => {
                            busy.remove(from);
                            busy.insert(*to);
                        }
                        Action::HangUpAll => busy.clear(),
                        Action::Kill(node) => mobile_nodes.retain(|mobile_node| mobile_node != node),
                        _ => {}
                    }
                    actions.push(action.clone());
                }
            }
        }
        actions
    }
}
