//! What happens in a period, in the order in which it happens.

use super::super::{Action, Arrivals, Movement, Period, TimedMove, Walk};
use super::Crowd;
use super::map::Map;
use crate::topology::{NodeId, Topology};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_pcg::Pcg64;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

/// How often a caller looks for somebody who is in no call, among all.
const TRIES: usize = 32;

type Neighbours = BTreeMap<NodeId, Vec<NodeId>>;

/// What comes next, with the order of what comes at the same time.
type Agenda = BinaryHeap<Reverse<(Duration, u64, Next)>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A node takes a step of the walk.
    Step(NodeId),
    /// A node moves as it was worked out before, by the place there.
    Move(usize),
    /// Somebody calls: one of the pairs or, without any, of all mobile nodes.
    Dial(usize),
    /// Caller and callee hang up.
    HangUp(NodeId, NodeId),
    /// What the file lists, by its place there.
    Happening(usize),
}

impl Period {
    /// Adds what there is to do to `actions`; `seeds` makes a generator for each purpose.
    pub(super) fn schedule(
        &self,
        topology: &Topology,
        neighbours: &Neighbours,
        crowd: &mut Crowd,
        seeds: impl Fn(&str) -> Pcg64,
        actions: &mut Vec<Action>,
    ) {
        let (mut walking, mut calling) = (seeds("walks"), seeds("arrivals"));
        let walk = match &self.movement {
            Some(Movement::Walk(walk)) => Some(walk),
            _ => None,
        };
        let gap = self.movement.as_ref().and_then(Movement::gap);
        let moves = self.moves(topology, crowd, &seeds);
        let distances = walk.and_then(|walk| walk.hotspot).map(|(at, _)| distances(neighbours, at));
        let everybody = crowd.mobile_nodes.clone();
        let mut agenda = Agenda::new();
        let mut added = 0;
        let mut add = |agenda: &mut Agenda, at: Duration, next: Next| {
            if at < self.lasts {
                added += 1;
                agenda.push(Reverse((at, added, next)));
            }
        };
        for (place, happening) in self.happens.iter().enumerate() {
            add(&mut agenda, happening.after, Next::Happening(place));
        }
        for (place, one) in moves.iter().enumerate() {
            add(&mut agenda, one.after, Next::Move(place));
        }
        if let Some(walk) = walk {
            for &mobile_node in &everybody {
                add(&mut agenda, walk.interval.mul_f64(walking.random()), Next::Step(mobile_node));
            }
        }
        if let Some(calls) = &self.calls {
            let callers = if calls.pairs.is_empty() { everybody.len() } else { calls.pairs.len() };
            for caller in 0..callers {
                add(&mut agenda, exponential(calls.interval, &mut calling), Next::Dial(caller));
            }
        }
        let busy_before = crowd.busy.clone();
        actions.push(Action::Begin);
        let mut now = Duration::ZERO;
        while let Some(Reverse((at, _, next))) = agenda.pop() {
            if at != now {
                actions.push(Action::At(at));
                now = at;
            }
            match next {
                Next::Step(mobile_node) => {
                    let Some(walk) = walk.filter(|_| crowd.has(mobile_node)) else { continue };
                    let from = crowd.places[&mobile_node];
                    let to = walk.step(neighbours, distances.as_ref(), from, &mut walking);
                    if crowd.places.insert(mobile_node, to) != Some(to) {
                        actions.push(Action::Handoff { mobile_node, access_router: to, gap });
                    }
                    add(&mut agenda, now + walk.interval, next);
                }
                Next::Move(place) => {
                    let TimedMove { mobile_node, access_router, .. } = moves[place];
                    let moves = crowd.places.insert(mobile_node, access_router) != Some(access_router);
                    if moves && !crowd.is_lost(mobile_node) {
                        actions.push(Action::Handoff { mobile_node, access_router, gap });
                    }
                }
                Next::Dial(number) => {
                    let Some(calls) = &self.calls else { continue };
                    add(&mut agenda, now + exponential(calls.interval, &mut calling), next);
                    let lasts = exponential(calls.lasts, &mut calling);
                    if let Some((caller, callee)) = calls.parties(number, &everybody, crowd, &mut calling) {
                        crowd.busy.extend([caller, callee]);
                        actions.push(Action::Call { caller, callee });
                        add(&mut agenda, now + lasts, Next::HangUp(caller, callee));
                    }
                }
                Next::HangUp(caller, callee) => {
                    crowd.busy.remove(&caller);
                    crowd.busy.remove(&callee);
                    actions.push(Action::HangUp(caller));
                }
                Next::Happening(place) => {
                    let happening = &self.happens[place];
                    // What waits for a state is taken to happen at once by what chance decides.
                    match *happening.action.effect() {
                        Action::Handoff { mobile_node, access_router, .. }
                            if crowd.places.insert(mobile_node, access_router) == Some(access_router) => {}
                        Action::Kill(node) => {
                            crowd.lose(node);
                            actions.push(happening.action.clone());
                        }
                        _ => actions.push(happening.action.clone()),
                    }
                    happening.every.into_iter().for_each(|every| add(&mut agenda, now + every, next));
                }
            }
        }
        actions.extend([Action::At(self.lasts), Action::End]);
        crowd.busy = busy_before;
    }

    /// All moves that do not depend on what else happens.
    fn moves(&self, topology: &Topology, crowd: &Crowd, seeds: impl Fn(&str) -> Pcg64) -> Vec<TimedMove> {
        let waypoint = match &self.movement {
            Some(Movement::Trace(moves)) => return moves.clone(),
            Some(Movement::Waypoint(waypoint)) => waypoint,
            _ => return Vec::new(),
        };
        let routers: Vec<NodeId> = topology.access_routers().collect();
        let position = |router: &NodeId| topology.node(*router).access().and_then(|access| access.position);
        let map = Map::new(routers.iter().map(|router| position(router).unwrap_or_default()).collect());
        let mut moves = Vec::new();
        for &mobile_node in &crowd.mobile_nodes {
            let Ok(start) = routers.binary_search(&crowd.places[&mobile_node]) else { continue };
            let mut random = seeds(&format!("waypoints of {}", topology.node(mobile_node).name));
            let of_node = waypoint.moves(&map, start, self.lasts, &mut random).into_iter();
            moves.extend(of_node.map(|(after, router)| TimedMove {
                after,
                mobile_node,
                access_router: routers[router],
            }));
        }
        moves
    }
}

impl Walk {
    /// Where a step leads from there.
    fn step(
        &self,
        neighbours: &Neighbours,
        distances: Option<&BTreeMap<NodeId, u32>>,
        from: NodeId,
        random: &mut Pcg64,
    ) -> NodeId {
        let around = &neighbours[&from];
        if let (Some((hotspot, alpha)), Some(distances)) = (self.hotspot, distances)
            && random.random_bool(alpha)
        {
            let here = distances.get(&from);
            let nearer: Vec<_> = around.iter().filter(|near| distances.get(near) < here).copied().collect();
            let stays = from == hotspot || here.is_none();
            return if stays { from } else { *nearer.choose(random).unwrap_or(&from) };
        }
        *around.choose(random).unwrap_or(&from)
    }
}

impl Arrivals {
    /// Who calls whom when caller number `number` wants to call; nobody if one of them is in a call.
    fn parties(
        &self,
        number: usize,
        everybody: &[NodeId],
        crowd: &Crowd,
        random: &mut Pcg64,
    ) -> Option<(NodeId, NodeId)> {
        let is_free = |node: NodeId| crowd.has(node) && !crowd.busy.contains(&node);
        if let Some(&(caller, callee)) = self.pairs.get(number) {
            return (is_free(caller) && is_free(callee)).then_some((caller, callee));
        }
        let caller = *everybody.get(number).filter(|caller| is_free(**caller))?;
        let mut others = (0..TRIES).filter_map(|_| everybody.choose(random).copied());
        let callee = others.find(|&callee| callee != caller && is_free(callee))?;
        Some((caller, callee))
    }
}

/// Steps from each access router to the hotspot, where there is a way.
fn distances(neighbours: &Neighbours, hotspot: NodeId) -> BTreeMap<NodeId, u32> {
    let mut distances = BTreeMap::from([(hotspot, 0)]);
    let mut open = VecDeque::from([hotspot]);
    while let Some(here) = open.pop_front() {
        let beyond = distances[&here] + 1;
        for &near in &neighbours[&here] {
            distances.entry(near).or_insert_with(|| {
                open.push_back(near);
                beyond
            });
        }
    }
    distances
}

/// A random time with this mean, exponentially distributed.
fn exponential(mean: Duration, random: &mut Pcg64) -> Duration {
    // Of (0, 1]: the logarithm of 0 is nowhere.
    mean.mul_f64(-(1.0 - random.random::<f64>()).ln())
}
