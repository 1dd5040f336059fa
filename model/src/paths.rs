//! Shortest paths through a topology's wired links: what the routers' routes follow and what theory adds up.

use crate::topology::{Link, NodeId, NodeKind, Topology};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::time::Duration;

/// All shortest paths towards one node, over wired links.
///
/// The weight of a link is the sum of its two directions' delay, so that a path weighs the same both ways; ties go to
/// fewer hops, then to the next node with the lower index. SIP servers and mobile nodes never forward.
#[derive(Clone, Debug)]
pub struct PathTree {
    root: NodeId,
    next: Vec<Option<Step>>,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next node.
    pub node: NodeId,
    /// The link to it, as an index of [`Topology::links`].
    pub link: usize,
}

impl PathTree {
    /// The shortest paths from everywhere to `root`.
    pub fn towards(topology: &Topology, root: NodeId) -> Self {
        let neighbours = neighbours(topology);
        let mut best = vec![(Duration::MAX, usize::MAX); topology.nodes.len()];
        let mut next = vec![None; topology.nodes.len()];
        let mut queue = BinaryHeap::from([Reverse((Duration::ZERO, 0, root))]);
        best[root.0] = (Duration::ZERO, 0);
        while let Some(Reverse((weight, hops, node))) = queue.pop() {
            let forwards = node == root || matches!(topology.node(node).kind, NodeKind::Router { .. });
            if (weight, hops) > best[node.0] || !forwards {
                continue;
            }
            for &Step { node: neighbour, link } in &neighbours[node.0] {
                let quality = &topology.links[link].quality;
                let candidate = (weight + quality[0].one_way_delay + quality[1].one_way_delay, hops + 1);
                if candidate < best[neighbour.0] {
                    best[neighbour.0] = candidate;
                    next[neighbour.0] = Some(Step { node, link });
                    queue.push(Reverse((candidate.0, candidate.1, neighbour)));
                } else if candidate == best[neighbour.0]
                    && next[neighbour.0].is_some_and(|step: Step| node < step.node)
                {
                    next[neighbour.0] = Some(Step { node, link });
                }
            }
        }
        Self { root, next }
    }

    /// The node that the paths lead to.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The next step from `node` towards the root; none at the root or where there is no path.
    pub fn next(&self, node: NodeId) -> Option<Step> {
        self.next[node.0]
    }

    /// The steps from `node` to the root; none when there is no path.
    pub fn path(&self, node: NodeId) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        let mut here = node;
        while here != self.root {
            let step = self.next(here)?;
            steps.push(step);
            here = step.node;
        }
        Some(steps)
    }
}

/// For each node, the wired neighbours in the order of the links.
pub fn neighbours(topology: &Topology) -> Vec<Vec<Step>> {
    let mut neighbours = vec![Vec::new(); topology.nodes.len()];
    for (link, Link { ends: [a, b], .. }) in topology.links.iter().enumerate() {
        neighbours[a.0].push(Step { node: *b, link });
        neighbours[b.0].push(Step { node: *a, link });
    }
    neighbours
}

/// For each access router, in order, the access routers that a mobile node can go to from there: those that it reaches
/// over wired links without passing another access router.
pub fn neighbouring_access_routers(topology: &Topology) -> BTreeMap<NodeId, Vec<NodeId>> {
    let neighbours = neighbours(topology);
    let around = |centre: NodeId| {
        let mut seen = BTreeSet::from([centre]);
        let mut queue = vec![centre];
        let mut found = BTreeSet::new();
        while let Some(here) = queue.pop() {
            for step in &neighbours[here.0] {
                if !seen.insert(step.node) {
                    continue;
                }
                match topology.node(step.node).kind {
                    NodeKind::Router { access: Some(_), .. } => _ = found.insert(step.node),
                    NodeKind::Router { access: None, .. } => queue.push(step.node),
                    NodeKind::SipServer { .. } | NodeKind::MobileNode { .. } => {}
                }
            }
        }
        found.into_iter().collect()
    };
    topology.access_routers().map(|id| (id, around(id))).collect()
}

/// The sum of the configured one-way delays from one address to another, radio links included.
///
/// None when an address belongs to no node or there is no path.
pub fn one_way_delay(topology: &Topology, from: IpAddr, to: IpAddr) -> Option<Duration> {
    let (from, from_router) = topology.locate(from)?;
    let (to, to_router) = topology.locate(to)?;
    let mut delay = Duration::ZERO;
    if let NodeKind::MobileNode { radio, .. } = &topology.node(from).kind {
        delay += radio.up.one_way_delay;
    }
    if let NodeKind::MobileNode { radio, .. } = &topology.node(to).kind {
        delay += radio.down.one_way_delay;
    }
    let mut here = from_router.unwrap_or(from);
    for step in PathTree::towards(topology, to_router.unwrap_or(to)).path(here)? {
        let link = &topology.links[step.link];
        delay += link.quality[usize::from(link.ends[0] != here)].one_way_delay;
        here = step.node;
    }
    Some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::parse;

    fn names(topology: &Topology, steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| topology.node(step.node).name.clone()).collect()
    }

    /// The nodes from one to another, both left out of the first place and named in the last.
    fn path(topology: &Topology, from: &str, to: &str) -> Vec<String> {
        let [from, to] = [from, to].map(|name| topology.find(name).unwrap());
        names(topology, &PathTree::towards(topology, to).path(from).unwrap())
    }

    /// Two ways from a to d: over b (slow there, fast back) and over c and e (fast, but one more hop).
    fn diamond(first_delay: &str) -> Topology {
        let text = format!(
            "
nodes:
  a: {{ kind: access_router }}
  b: {{ kind: access_router }}
  c: {{ kind: router }}
  d: {{ kind: access_router }}
  e: {{ kind: router }}
  s1: {{ kind: sip_server }}
  mn1: {{ kind: mobile_node, start: a, radio: {{ one_way_delay: 3ms, reverse: {{ one_way_delay: 7ms }} }} }}
  mn2: {{ kind: mobile_node, start: d, radio: {{ one_way_delay: 1ms }} }}
links:
  - {{ between: [a, b], one_way_delay: {first_delay}, reverse: {{ one_way_delay: 2ms }} }}
  - {{ between: [b, d], one_way_delay: 2ms }}
  - {{ between: [a, c], one_way_delay: 2ms }}
  - {{ between: [c, e], one_way_delay: 1ms }}
  - {{ between: [e, d], one_way_delay: 1ms }}
  - {{ between: [s1, d], one_way_delay: 500us }}
"
        );
        parse("diamond.yaml", &text).unwrap()
    }

    #[test]
    fn the_sum_of_both_directions_decides() {
        assert_eq!(path(&diamond("3ms"), "a", "d"), ["c", "e", "d"]);
        assert_eq!(path(&diamond("3ms"), "d", "a"), ["e", "c", "a"]);
        assert_eq!(path(&diamond("1ms"), "a", "d"), ["b", "d"]);
    }

    #[test]
    fn ties_go_to_fewer_hops() {
        // 4 + 4 ms over b and over c and e.
        assert_eq!(path(&diamond("2ms"), "a", "d"), ["b", "d"]);
        assert_eq!(path(&diamond("2ms"), "d", "a"), ["b", "a"]);
    }

    #[test]
    fn ties_then_go_to_the_lower_index() {
        // Both ways round weigh the same; the last router on the way was reached first over the higher index.
        let topology = parse(
            "square.yaml",
            "
nodes:
  a: { kind: router }
  b: { kind: router }
  c: { kind: router }
  d: { kind: router }
links:
  - { between: [d, c], one_way_delay: 1ms }
  - { between: [c, a], one_way_delay: 3ms }
  - { between: [d, b], one_way_delay: 3ms }
  - { between: [b, a], one_way_delay: 1ms }
",
        )
        .unwrap();
        assert_eq!(path(&topology, "a", "d"), ["b", "d"]);
        assert_eq!(path(&topology, "d", "a"), ["b", "a"]);
    }

    #[test]
    fn servers_and_mobile_nodes_never_forward() {
        // No file can say this, as a server has one link; a plan must not depend on it.
        let mut topology = diamond("3ms");
        let [a, server] = ["a", "s1"].map(|name| topology.find(name).unwrap());
        topology.links.push(Link { ends: [a, server], quality: Default::default() });
        assert_eq!(path(&topology, "a", "s1"), ["s1"]);
        assert_eq!(path(&topology, "a", "d"), ["c", "e", "d"]);
        let mobile_node = topology.find("mn1").unwrap();
        assert_eq!(PathTree::towards(&topology, a).path(mobile_node), None);
    }

    #[test]
    fn a_tree_knows_its_root_and_each_next_step() {
        let topology = diamond("3ms");
        let [a, c, d] = ["a", "c", "d"].map(|name| topology.find(name).unwrap());
        let tree = PathTree::towards(&topology, d);
        assert_eq!(tree.root(), d);
        assert_eq!(tree.next(d), None);
        assert_eq!(tree.next(a), Some(Step { node: c, link: 2 }));
        assert_eq!(tree.path(d), Some(Vec::new()));
    }

    #[test]
    fn delays_add_up_in_their_own_direction() {
        let topology = diamond("1ms");
        let address = |name: &str| topology.node(topology.find(name).unwrap()).address().unwrap();
        let care_of = |mobile_node: &str, access_router: &str| {
            topology
                .care_of_address(topology.find(mobile_node).unwrap(), topology.find(access_router).unwrap())
        };
        let micros = |from, to| one_way_delay(&topology, from, to).map(|delay| delay.as_micros());
        assert_eq!(micros(address("a"), address("d")), Some(3_000));
        assert_eq!(micros(address("d"), address("a")), Some(4_000));
        assert_eq!(micros(address("s1"), address("a")), Some(4_500));
        // Radio up, three wired milliseconds, radio down.
        assert_eq!(micros(care_of("mn1", "a"), care_of("mn2", "d")), Some(3_000 + 3_000 + 1_000));
        assert_eq!(micros(care_of("mn2", "d"), care_of("mn1", "a")), Some(1_000 + 4_000 + 7_000));
        // At the same access router only the radio links count.
        assert_eq!(micros(care_of("mn1", "d"), care_of("mn2", "d")), Some(4_000));
        assert_eq!(micros(care_of("mn1", "a"), "192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn neighbours_are_a_walk_away() {
        let topology = diamond("1ms");
        let around = neighbouring_access_routers(&topology);
        let near = |name: &str| -> Vec<&str> {
            around[&topology.find(name).unwrap()].iter().map(|&id| topology.node(id).name.as_str()).collect()
        };
        // From a to d through the plain routers c and e, and next to b.
        assert_eq!(near("a"), ["b", "d"]);
        assert_eq!(near("b"), ["a", "d"]);
        assert_eq!(around.len(), 3);
    }
}
