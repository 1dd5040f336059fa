//! Shortest paths over a topology's wired links: what routes and multicast trees follow and what theory adds up.

use crate::topology::{Link, LinkQuality, NodeId, NodeKind, Topology};
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::ops::{Add, Range};
use std::time::Duration;

/// How long a path is. The sum of both directions' delay decides, so that a path is as short back as there; then the
/// number of hops; then the delay in the path's own direction, so that all shortest paths from one node to another
/// take the same time.
///
/// In one number, from the top: 56 bits of nanoseconds, 16 of hops, 56 of nanoseconds. That holds 65,000 links of a
/// minute each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Length(u128);

impl Length {
    const ZERO: Length = Length(0);
    const UNREACHED: Length = Length(u128::MAX);
    const DELAY_BITS: u32 = 56;

    fn of_link(forward: &LinkQuality, backward: &LinkQuality) -> Self {
        let forward = forward.one_way_delay.as_nanos();
        let both = forward + backward.one_way_delay.as_nanos();
        Length((((both << 16) | 1) << Self::DELAY_BITS) | forward)
    }

    fn hops(self) -> u16 {
        (self.0 >> Self::DELAY_BITS) as u16
    }

    fn one_way_delay(self) -> Duration {
        Duration::from_nanos((self.0 & ((1 << Self::DELAY_BITS) - 1)) as u64)
    }
}

impl Add for Length {
    type Output = Length;

    fn add(self, other: Length) -> Length {
        Length(self.0 + other.0)
    }
}

/// The wired links, from each node.
#[derive(Clone, Debug, PartialEq)]
pub struct WiredGraph {
    /// Where the hops of each node begin and, at the next one's, end. Nodes behind the last linked one are left out.
    starts: Vec<u32>,
    hops: Vec<Hop>,
    /// The link of each of `hops`.
    links: Vec<u32>,
    /// The different lengths of links.
    lengths: Vec<Length>,
    /// Whether a path may pass a node: routers forward, SIP servers and mobile nodes do not.
    forwards: Vec<bool>,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hop {
    node: u32,
    /// Index in [`WiredGraph::lengths`].
    length: u32,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next node.
    pub node: NodeId,
    /// The link to it, as an index of [`Topology::links`].
    pub link: usize,
}

impl WiredGraph {
    /// The wired links of a topology.
    pub fn new(topology: &Topology) -> Self {
        let nodes = topology.links.iter().flat_map(|link| link.ends).map(|end| end.0 + 1).max().unwrap_or(0);
        let mut starts = vec![0; nodes + 1];
        for end in topology.links.iter().flat_map(|link| link.ends) {
            starts[end.0 + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut free = starts.clone();
        let mut hops = vec![Hop { node: 0, length: 0 }; 2 * topology.links.len()];
        let mut links = vec![0; hops.len()];
        let mut lengths = Vec::new();
        let mut known = HashMap::new();
        for (link, Link { ends: [a, b], quality: [there, back] }) in topology.links.iter().enumerate() {
            for (from, to, length) in
                [(a, b, Length::of_link(there, back)), (b, a, Length::of_link(back, there))]
            {
                let length = *known.entry(length).or_insert_with(|| {
                    lengths.push(length);
                    lengths.len() as u32 - 1
                });
                let place = free[from.0] as usize;
                free[from.0] += 1;
                hops[place] = Hop { node: to.0 as u32, length };
                links[place] = link as u32;
            }
        }
        let forwards = topology.nodes.iter().take(nodes);
        let forwards = forwards.map(|node| matches!(node.kind, NodeKind::Router { .. })).collect();
        Self { starts, hops, links, lengths, forwards }
    }

    /// The neighbours of a node, in the order of the links.
    pub fn neighbours(&self, node: NodeId) -> impl ExactSizeIterator<Item = Step> {
        self.range(node.0).map(|place| Step {
            node: NodeId(self.hops[place].node as usize),
            link: self.links[place] as usize,
        })
    }

    fn range(&self, node: usize) -> Range<usize> {
        match self.starts.get(node..=node + 1) {
            Some(&[start, end]) => start as usize..end as usize,
            _ => 0..0,
        }
    }
}

/// All shortest paths from one node, over wired links. SIP servers and mobile nodes never forward.
#[derive(Clone, Debug, Default)]
pub struct ShortestPaths {
    lengths: Vec<Length>,
    first_hops: Vec<u32>,
    /// From each node to the one before it: where there is a choice, to who was reached first.
    steps_back: Vec<Step>,
    /// Nodes to go on from, and how far they are: for each length of a link those at its end, in order, as who is
    /// nearer is met earlier. So few links or lengths of links mean little to sort.
    queues: Vec<VecDeque<(Length, u32)>>,
    /// The first of each queue.
    fronts: BinaryHeap<Reverse<(Length, u32)>>,
}

impl ShortestPaths {
    /// The shortest paths from `source`.
    pub fn new(graph: &WiredGraph, source: NodeId) -> Self {
        let mut paths = Self::default();
        paths.find(graph, source);
        paths
    }

    /// Forgets the paths it has, and finds those from `source`. For many sources it is faster than one for each.
    pub fn find(&mut self, graph: &WiredGraph, source: NodeId) {
        let nodes = graph.forwards.len().max(source.0 + 1);
        self.lengths.clear();
        self.lengths.resize(nodes, Length::UNREACHED);
        self.lengths[source.0] = Length::ZERO;
        self.first_hops.clear();
        self.first_hops.resize(nodes, 0);
        self.steps_back.resize(nodes, Step { node: source, link: 0 });
        self.queues.resize(graph.lengths.len(), VecDeque::new());
        for (position, place) in graph.range(source.0).enumerate() {
            self.reach(graph, source.0, Length::ZERO, place, 1u32.checked_shl(position as u32).unwrap_or(0));
        }
        while let Some((length, node)) = self.nearest() {
            // All on the way to the node are nearer, so all its first hops are known.
            if self.lengths[node] == length && graph.forwards[node] {
                let first_hops = self.first_hops[node];
                graph.range(node).for_each(|place| self.reach(graph, node, length, place, first_hops));
            }
        }
    }

    /// Takes the nearest node out of the queues.
    fn nearest(&mut self) -> Option<(Length, usize)> {
        let mut front = self.fronts.peek_mut()?;
        let Reverse((_, queue)) = *front;
        let waiting = &mut self.queues[queue as usize];
        let (length, node) = waiting.pop_front()?;
        match waiting.front() {
            Some(&(next, _)) => *front = Reverse((next, queue)),
            None => _ = PeekMut::pop(front),
        }
        Some((length, node as usize))
    }

    /// The node `from`, so far away, has this hop.
    fn reach(&mut self, graph: &WiredGraph, from: usize, length: Length, place: usize, first_hops: u32) {
        let hop = graph.hops[place];
        let length = length + graph.lengths[hop.length as usize];
        let node = hop.node as usize;
        if length < self.lengths[node] {
            self.lengths[node] = length;
            self.first_hops[node] = first_hops;
            self.steps_back[node] = Step { node: NodeId(from), link: graph.links[place] as usize };
            let queue = &mut self.queues[hop.length as usize];
            if queue.is_empty() {
                self.fronts.push(Reverse((length, hop.length)));
            }
            queue.push_back((length, hop.node));
        } else if length == self.lengths[node] {
            self.first_hops[node] |= first_hops;
        }
    }

    /// The first hops of the shortest paths to a node: bit n stands for the source's neighbour number n. Beyond 32
    /// neighbours a hop is not used. None at the source, and where there is no path.
    pub fn first_hops(&self, node: NodeId) -> u32 {
        self.first_hops.get(node.0).copied().unwrap_or(0)
    }

    /// Links on the way to a node; none where there is no path.
    pub fn hops(&self, node: NodeId) -> Option<u16> {
        self.length(node).map(Length::hops)
    }

    /// The sum of the configured delays on the way to a node; none where there is no path.
    pub fn one_way_delay(&self, node: NodeId) -> Option<Duration> {
        self.length(node).map(Length::one_way_delay)
    }

    /// The last step of the way to a node, backwards: from the node to the one before it. None at the source and where
    /// there is no path.
    pub fn step_back(&self, node: NodeId) -> Option<Step> {
        self.length(node).filter(|&length| length != Length::ZERO)?;
        self.steps_back.get(node.0).copied()
    }

    fn length(&self, node: NodeId) -> Option<Length> {
        self.lengths.get(node.0).copied().filter(|&length| length != Length::UNREACHED)
    }
}

/// For each access router, in order, the access routers that a mobile node can go to from there: those that it reaches
/// over wired links without passing another access router.
pub fn neighbouring_access_routers(topology: &Topology) -> BTreeMap<NodeId, Vec<NodeId>> {
    let graph = WiredGraph::new(topology);
    let around = |centre: NodeId| {
        let mut seen = BTreeSet::from([centre]);
        let mut queue = vec![centre];
        let mut found = BTreeSet::new();
        while let Some(here) = queue.pop() {
            for step in graph.neighbours(here) {
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

/// The SIP server nearest to each access router: by delay from the server, then by hops, then the first.
pub fn nearest_servers(topology: &Topology) -> BTreeMap<NodeId, NodeId> {
    let graph = WiredGraph::new(topology);
    let mut nearest: BTreeMap<NodeId, ((Duration, u16), NodeId)> = BTreeMap::new();
    for server in topology.sip_servers() {
        let paths = ShortestPaths::new(&graph, server);
        for router in topology.access_routers() {
            let Some(distance) = paths.one_way_delay(router).zip(paths.hops(router)) else { continue };
            if nearest.get(&router).is_none_or(|(known, _)| distance < *known) {
                nearest.insert(router, (distance, server));
            }
        }
    }
    nearest.into_iter().map(|(router, (_, server))| (router, server)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locator::Locator;
    use crate::topology::parse;
    use crate::ways::Ways;

    fn find(topology: &Topology, name: &str) -> NodeId {
        topology.find(name).unwrap()
    }

    fn paths(topology: &Topology, from: &str) -> ShortestPaths {
        ShortestPaths::new(&WiredGraph::new(topology), find(topology, from))
    }

    /// The nodes from one to another, without the first.
    fn path(topology: &Topology, from: &str, to: &str) -> Vec<String> {
        let (from, mut here) = (find(topology, from), find(topology, to));
        let paths = ShortestPaths::new(&WiredGraph::new(topology), from);
        let mut names = Vec::new();
        while here != from {
            names.push(topology.node(here).name.clone());
            here = paths.step_back(here).unwrap().node;
        }
        names.reverse();
        names
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
    fn other_ties_are_all_first_hops() {
        let square = |ab: &str, bd: &str| {
            let text = format!(
                "
nodes:
  a: {{ kind: router }}
  b: {{ kind: router }}
  c: {{ kind: router }}
  d: {{ kind: router }}
links:
  - {{ between: [d, c], one_way_delay: 1ms }}
  - {{ between: [c, a], one_way_delay: 3ms }}
  - {{ between: [d, b], {bd} }}
  - {{ between: [b, a], {ab} }}
"
            );
            parse("square.yaml", &text).unwrap()
        };
        let first_hops =
            |topology: &Topology, from: &str, to: &str| paths(topology, from).first_hops(find(topology, to));
        let even = square("one_way_delay: 1ms", "one_way_delay: 3ms");
        // The links of a are those to c and b, those of d the ones to c and b, in this order.
        assert_eq!((first_hops(&even, "a", "d"), first_hops(&even, "d", "a")), (0b11, 0b11));
        assert_eq!((first_hops(&even, "a", "b"), first_hops(&even, "a", "c")), (0b10, 0b01));
        assert_eq!(first_hops(&even, "a", "a"), 0);
        // As long there and back, but b is the slower way from a to d, and the faster one from d to a.
        let skewed = square("one_way_delay: 500us, reverse: { one_way_delay: 1500us }", "one_way_delay: 3ms");
        assert_eq!((first_hops(&skewed, "a", "d"), first_hops(&skewed, "d", "a")), (0b01, 0b10));
        assert_eq!(
            (path(&skewed, "a", "d"), path(&skewed, "d", "a")),
            (vec!["c".into(), "d".into()], vec!["b".into(), "a".into()])
        );
    }

    #[test]
    fn servers_and_mobile_nodes_never_forward() {
        // No file can say this, as a server has one link; a plan must not depend on it.
        let mut topology = diamond("3ms");
        let [a, server] = ["a", "s1"].map(|name| topology.find(name).unwrap());
        topology.links.push(Link { ends: [a, server], quality: Default::default() });
        assert_eq!(path(&topology, "a", "s1"), ["s1"]);
        assert_eq!(path(&topology, "a", "d"), ["c", "e", "d"]);
        assert_eq!(paths(&topology, "a").one_way_delay(find(&topology, "mn1")), None);
        assert_eq!(paths(&topology, "mn1").one_way_delay(a), None);
    }

    #[test]
    fn a_path_has_hops_and_a_delay() {
        let topology = diamond("3ms");
        let paths = paths(&topology, "a");
        let [a, d, e] = ["a", "d", "e"].map(|name| find(&topology, name));
        assert_eq!((paths.hops(d), paths.one_way_delay(d)), (Some(3), Some(Duration::from_millis(4))));
        assert_eq!(paths.step_back(d), Some(Step { node: e, link: 4 }));
        assert_eq!((paths.hops(a), paths.step_back(a)), (Some(0), None));
    }

    #[test]
    fn a_second_search_has_nothing_of_the_first() {
        let topology = diamond("2ms");
        let graph = WiredGraph::new(&topology);
        let mut reused = ShortestPaths::default();
        for (source, _) in topology.nodes() {
            reused.find(&graph, source);
            let fresh = ShortestPaths::new(&graph, source);
            for (node, _) in topology.nodes() {
                assert_eq!(reused.length(node), fresh.length(node));
                assert_eq!(reused.first_hops(node), fresh.first_hops(node));
                assert_eq!(reused.step_back(node), fresh.step_back(node));
            }
        }
    }

    #[test]
    fn delays_add_up_in_their_own_direction() {
        let topology = diamond("1ms");
        let address = |name: &str| topology.node(topology.find(name).unwrap()).address().unwrap();
        let care_of = |mobile_node: &str, access_router: &str| {
            topology
                .care_of_address(topology.find(mobile_node).unwrap(), topology.find(access_router).unwrap())
        };
        let (locator, mut ways) = (Locator::new(&topology), Ways::new(&topology));
        let mut micros =
            |from, to| ways.least_delay(&topology, &locator, from, to).map(|delay| delay.as_micros());
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
    fn jitter_and_reordering_make_a_packet_faster() {
        let text = "
nodes: { a: { kind: access_router }, b: { kind: access_router }, s: { kind: sip_server }, m: { kind: mobile_node, start: b } }
links:
  - { between: [a, b], one_way_delay: 5ms, jitter: 2ms, reverse: { jitter: 0 } }
  - { between: [a, s], one_way_delay: 1ms, reorder: 1% }
radio: { one_way_delay: 3ms, jitter: 500us normal }
";
        let topology = parse("text", text).unwrap();
        let address = |name| topology.node(find(&topology, name)).address().unwrap();
        let care_of = topology.care_of_address(find(&topology, "m"), find(&topology, "b"));
        let (locator, mut ways) = (Locator::new(&topology), Ways::new(&topology));
        let mut micros =
            |from, to| ways.least_delay(&topology, &locator, from, to).map(|delay| delay.as_micros());
        assert_eq!(micros(address("a"), address("b")), Some(3_000));
        assert_eq!(micros(address("b"), address("a")), Some(5_000));
        assert_eq!(micros(address("s"), care_of), Some(3_000 + 1_000));
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

    proptest::proptest! {
        #[test]
        fn searches_find_what_trying_all_intermediate_nodes_does(
            links in proptest::collection::vec((0usize..8, 0usize..8, 1u64..4, 1u64..4), 0..20)
        ) {
            let routers: String = (0..8).map(|n| format!("  r{n}: {{ kind: router }}\n")).collect();
            let chain: String =
                (1..8).map(|n| format!("  - {{ between: [r{}, r{n}], one_way_delay: 9ms }}\n", n - 1)).collect();
            let mut topology = parse("random.yaml", &format!("nodes:\n{routers}links:\n{chain}")).unwrap();
            let quality = |ms| LinkQuality { one_way_delay: Duration::from_millis(ms), ..LinkQuality::default() };
            topology.links.extend(links.iter().filter(|(a, b, ..)| a != b).map(|&(a, b, there, back)| Link {
                ends: [NodeId(a), NodeId(b)],
                quality: [quality(there), quality(back)],
            }));
            // Floyd's and Warshall's, on (both ways, hops, one way).
            let mut best = [[(u64::MAX / 4, 0, 0); 8]; 8];
            (0..8).for_each(|n| best[n][n] = (0, 0, 0));
            for Link { ends: [a, b], quality } in &topology.links {
                let [there, back] = quality.map(|quality| quality.one_way_delay.as_millis() as u64);
                best[a.0][b.0] = best[a.0][b.0].min((there + back, 1, there));
                best[b.0][a.0] = best[b.0][a.0].min((there + back, 1, back));
            }
            for via in 0..8 {
                for a in 0..8 {
                    for b in 0..8 {
                        let ((x, i, p), (y, j, q)) = (best[a][via], best[via][b]);
                        best[a][b] = best[a][b].min((x + y, i + j, p + q));
                    }
                }
            }
            let graph = WiredGraph::new(&topology);
            for (a, best) in best.iter().enumerate() {
                let paths = ShortestPaths::new(&graph, NodeId(a));
                for (b, &(_, hops, delay)) in best.iter().enumerate() {
                    proptest::prop_assert_eq!(paths.hops(NodeId(b)), Some(hops));
                    proptest::prop_assert_eq!(paths.one_way_delay(NodeId(b)), Some(Duration::from_millis(delay)));
                }
            }
        }
    }
}
