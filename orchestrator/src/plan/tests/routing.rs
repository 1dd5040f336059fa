//! That the routes of any topology lead everywhere along shortest paths: walked as kernels would.

use super::*;
use proptest::prelude::*;
use samp_model::paths::ShortestPaths;
use samp_model::topology::Subnet;

/// A grid of access routers, with a server at the last of them.
fn grid(width: usize, height: usize) -> Topology {
    let count = width * height;
    let mut nodes: Vec<_> = (0..count).map(|_| router(0, true)).collect();
    nodes.iter_mut().enumerate().for_each(|(number, node)| node.name = format!("r{number}"));
    nodes.push(server(1));
    let right = (0..count).filter(|at| (at + 1) % width != 0).map(|at| link(at, at + 1, 2));
    let down = (width..count).map(|at| link(at - width, at, 2));
    let links = right.chain(down).chain([link(count - 1, count, 1)]).collect();
    topology(nodes, links, AttachMode::Switch, LinkBackend::Netem)
}

/// Any connected topology with few delays, so that there are ties, and others back than there.
fn any_topology() -> impl Strategy<Value = Topology> {
    let delays = || (1u64..4, 1u64..4);
    let routers = prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), delays()), 1..14);
    let more =
        prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), delays()), 0..14);
    let servers = prop::collection::vec((any::<prop::sample::Index>(), delays()), 0..4);
    (routers, more, servers).prop_map(|(routers, more, servers)| {
        let asymmetric = |a, b, (there, back)| Link {
            ends: [NodeId(a), NodeId(b)],
            quality: [quality(there), quality(back)],
        };
        let count = routers.len();
        let mut nodes = Vec::new();
        let mut links = Vec::new();
        for (number, (access, before, delays)) in routers.into_iter().enumerate() {
            nodes.push(router(number as u8, access));
            if number > 0 {
                links.push(asymmetric(before.index(number), number, delays));
            }
        }
        links.extend(more.into_iter().filter_map(|(a, b, delays)| {
            let (a, b) = (a.index(count), b.index(count));
            (a != b).then(|| asymmetric(a, b, delays))
        }));
        for (number, (at, delays)) in servers.into_iter().enumerate() {
            nodes.push(server(number as u8));
            links.push(asymmetric(at.index(count), count + number, delays));
        }
        topology(nodes, links, AttachMode::Switch, LinkBackend::Netem)
    })
}

/// The node that a packet to this address goes to from `here`, by the longest prefix that contains it, and over which link.
pub(super) fn next(plan: &Plan, here: NodeId, destination: IpAddr) -> Option<(NodeId, usize)> {
    let namespace = &plan.namespaces[here.0];
    let contains = |route: &&Route| {
        Subnet { prefix: route.destination, prefix_len: route.prefix_len }.contains(destination)
    };
    let route = namespace.routes.iter().filter(contains).max_by_key(|route| route.prefix_len)?;
    let source = namespace.addresses.iter().find(|address| address.address == route.source).unwrap();
    assert_eq!((source.index, source.address.is_ipv4()), (LOOPBACK, destination.is_ipv4()));
    let neighbours = namespace.neighbours.iter();
    let mut neighbours = neighbours.filter(|n| (n.index, n.address) == (route.index, route.via));
    let mac = neighbours.next().expect("the next hop is a neighbour").mac;
    assert_eq!(neighbours.next(), None);
    let at = |end: &VethEnd| &plan.namespaces[end.namespace].interfaces[end.interface];
    let link = plan.links.iter().position(|ends| {
        ends.iter().any(|end| at(end).mac == mac)
            && ends.iter().any(|end| end.namespace == here.0 && at(end).index == route.index)
    });
    let link = link.expect("the next hop is at the end of a link");
    let there = plan.links[link].iter().find(|end| at(end).mac == mac).unwrap();
    Some((NodeId(there.namespace), link))
}

/// All addresses that lead to a node, and whether they are in its access network.
fn addresses(topology: &Topology, node: NodeId) -> Vec<(IpAddr, bool)> {
    let node = topology.node(node);
    let own = node.addresses().iter().map(|&address| (address, false));
    let subnets = node.access().into_iter().flat_map(|access| &access.subnets);
    own.chain(subnets.flat_map(|subnet| [1, 2, 200].map(|host| (subnet.host(host), true)))).collect()
}

fn check(topology: &Topology) {
    let graph = WiredGraph::new(topology);
    let paths: Vec<_> = topology.nodes().map(|(id, _)| ShortestPaths::new(&graph, id)).collect();
    let plan = Plan::new(topology, &machine(NETEM)).unwrap();
    for (here, node) in topology.nodes() {
        for (target, _) in topology.nodes().filter(|(target, _)| *target != here) {
            for (destination, _) in addresses(topology, target) {
                let (next, link) = next(&plan, here, destination)
                    .unwrap_or_else(|| panic!("no route from {} to {destination}", node.name));
                // One hop nearer, with what the shortest path needs for it: so it is on one, and there is no loop.
                let link = &topology.links[link];
                let delay = link.quality[usize::from(link.ends[0] != here)].one_way_delay;
                let rest = &paths[next.0];
                assert_eq!(paths[here.0].hops(target), rest.hops(target).map(|hops| hops + 1));
                assert_eq!(
                    paths[here.0].one_way_delay(target),
                    rest.one_way_delay(target).map(|rest| rest + delay)
                );
                assert!(next == target || matches!(topology.node(next).kind, NodeKind::Router { .. }));
            }
        }
        let moving = topology.emulation.attach == AttachMode::Move && node.access().is_some();
        for (own, _) in addresses(topology, here).iter().filter(|(_, access)| moving && *access) {
            assert_eq!(next(&plan, here, *own), None, "who is not there is nowhere");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn routes_lead_every_router_everywhere_along_shortest_paths(mut topology in any_topology()) {
        for family in FAMILIES {
            for attach in [AttachMode::Switch, AttachMode::Move] {
                topology.set_family(family).unwrap();
                topology.emulation.attach = attach;
                check(&topology);
            }
        }
    }
}

#[test]
fn routes_of_grids_are_few_and_shortest() {
    for (width, height, most) in [(1, 1, 2), (5, 4, 16), (7, 7, 20), (16, 3, 20)] {
        for family in FAMILIES {
            let topology = with_family(grid(width, height), family);
            check(&topology);
            let versions = usize::from(family.has_ipv4()) + usize::from(family.has_ipv6());
            let plan = plan(&topology, NETEM);
            let routes = plan.namespaces.iter().map(|namespace| namespace.routes.len()).max();
            assert!(routes.unwrap() <= most * versions, "{routes:?} in a grid of {width} × {height}");
        }
    }
    let plan = plan(&grid(20, 20), NETEM);
    let routes: usize = plan.namespaces.iter().map(|namespace| namespace.routes.len()).sum();
    assert!(routes < 400 * 32, "{routes}");
}
