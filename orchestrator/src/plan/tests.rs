//! What a plan must hold, on a line of two access routers and on a triangle of routers.

use super::*;
use samp_model::paths::PathTree;
use samp_model::settings::{MediaSettings, SampSettings};
use samp_model::topology::{AccessNetwork, Link, Node, Radio};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const NO_NETEM: bool = false;
const NETEM: bool = true;

fn machine(netem: bool) -> Machine {
    Machine { netem, root: true, kernel: "6.1.0".into() }
}

fn quality(milliseconds: u64) -> LinkQuality {
    LinkQuality { one_way_delay: Duration::from_millis(milliseconds), loss: 0.0, rate: None }
}

fn router(number: u8, access: bool) -> Node {
    let access =
        access.then(|| AccessNetwork { prefix: [10, 1, number, 0].into(), prefix_len: 24, position: None });
    let address = [10, 0, 0, number].into();
    Node { name: format!("r{number}"), kind: NodeKind::Router { address, access } }
}

fn server(number: u8) -> Node {
    Node { name: format!("sip{number}"), kind: NodeKind::SipServer { address: [10, 0, 1, number].into() } }
}

fn mobile_node(number: u8, start: usize) -> Node {
    let kind = NodeKind::MobileNode {
        address_of_record: format!("sip:mn{number}@samp.test"),
        start: NodeId(start),
        host: 1 + u32::from(number),
        radio: Radio { up: quality(1), down: quality(2) },
    };
    Node { name: format!("mn{number}"), kind }
}

fn link(a: usize, b: usize, milliseconds: u64) -> Link {
    Link { ends: [NodeId(a), NodeId(b)], quality: [quality(milliseconds), quality(milliseconds)] }
}

fn topology(nodes: Vec<Node>, links: Vec<Link>, attach: AttachMode, backend: LinkBackend) -> Topology {
    Topology {
        name: "test".into(),
        seed: 7,
        nodes,
        links,
        samp: SampSettings::default(),
        media: MediaSettings::default(),
        emulation: EmulationSettings { links: backend, attach },
    }
}

/// mn1 at r1 — r2, sip1 at r2, mn2 at r2.
fn line(attach: AttachMode, backend: LinkBackend) -> Topology {
    let nodes = vec![router(1, true), router(2, true), server(1), mobile_node(1, 0), mobile_node(2, 1)];
    topology(nodes, vec![link(0, 1, 5), link(1, 2, 1)], attach, backend)
}

/// r1, r2, r3 all linked, r1–r3 so slow that r2 is the shorter way; a server at r2 and at r3, access at r1.
fn triangle(backend: LinkBackend) -> Topology {
    let nodes =
        vec![router(1, true), router(2, false), router(3, false), server(1), server(2), mobile_node(1, 0)];
    let links = vec![link(0, 1, 1), link(1, 2, 1), link(0, 2, 9), link(1, 3, 1), link(2, 4, 1)];
    topology(nodes, links, AttachMode::Auto, backend)
}

fn plan(topology: &Topology, netem: bool) -> Plan {
    Plan::new(topology, &machine(netem)).unwrap()
}

#[test]
fn auto_is_resolved_and_missing_netem_is_refused() {
    for (asked, netem, got) in [
        (LinkBackend::Auto, NETEM, Some(LinkBackend::Netem)),
        (LinkBackend::Auto, NO_NETEM, Some(LinkBackend::Userspace)),
        (LinkBackend::Userspace, NETEM, Some(LinkBackend::Userspace)),
        (LinkBackend::Netem, NETEM, Some(LinkBackend::Netem)),
        (LinkBackend::Netem, NO_NETEM, None),
    ] {
        let plan = Plan::new(&line(AttachMode::Auto, asked), &machine(netem));
        match got {
            Some(links) => {
                assert_eq!(plan.unwrap().emulation, EmulationSettings { links, attach: AttachMode::Switch });
            }
            None => {
                let error = plan.unwrap_err();
                assert_eq!(error, PlanError::NoNetem);
                assert!(error.hint().unwrap().contains("links: auto"));
            }
        }
    }
}

#[test]
fn the_same_topology_gives_the_same_plan() {
    for attach in [AttachMode::Switch, AttachMode::Move] {
        for netem in [NETEM, NO_NETEM] {
            let topology = line(attach, LinkBackend::Auto);
            let (one, other) = (plan(&topology, netem), plan(&topology, netem));
            assert_eq!(one, other);
            assert_eq!(one.to_string(), other.to_string());
        }
    }
}

#[test]
fn names_indexes_and_macs_are_unique_where_they_must_be() {
    for attach in [AttachMode::Switch, AttachMode::Move] {
        for backend in [LinkBackend::Netem, LinkBackend::Userspace] {
            let plan = plan(&line(attach, backend), NETEM);
            let mut macs = HashSet::new();
            for namespace in &plan.namespaces {
                let (mut names, mut indexes) = (HashSet::new(), HashSet::from([LOOPBACK]));
                for interface in &namespace.interfaces {
                    assert!(interface.name.len() < 16, "{} is too long for the kernel", interface.name);
                    assert!(names.insert(&interface.name), "{} twice in {}", interface.name, namespace.name);
                    assert!(
                        indexes.insert(interface.index),
                        "{} twice in {}",
                        interface.index,
                        namespace.name
                    );
                    assert!(macs.insert(interface.mac), "{} twice", interface.mac);
                }
                for index in namespace.addresses.iter().map(|address| address.index) {
                    assert!(indexes.contains(&index), "no interface {index} in {}", namespace.name);
                }
            }
            // Every end of every pair is an interface, and every interface an end.
            let ends: HashSet<_> =
                plan.veths.iter().flat_map(|veth| veth.ends.map(|e| (e.namespace, e.interface))).collect();
            assert_eq!(
                ends.len(),
                plan.namespaces.iter().map(|namespace| namespace.interfaces.len()).sum::<usize>()
            );
        }
    }
}

#[test]
fn parallel_links_have_names_of_their_own() {
    let mut topology = line(AttachMode::Switch, LinkBackend::Netem);
    topology.links.push(link(1, 0, 8));
    let plan = plan(&topology, NETEM);
    let names = |node: usize| -> Vec<String> {
        plan.namespaces[node].interfaces.iter().map(|interface| interface.name.clone()).collect()
    };
    assert_eq!(names(0), ["to-r2", "link2", "access0"]);
    assert_eq!(names(1), ["to-r1", "to-sip1", "link2", "access0"]);
}

#[test]
fn netem_links_are_one_pair_and_userspace_links_two() {
    let topology = line(AttachMode::Switch, LinkBackend::Auto);
    let netem = plan(&topology, NETEM);
    // Two wired links, two radios, two access ends.
    assert_eq!((netem.veths.len(), netem.line.pipes.len()), (6, 0));
    let first = netem.namespaces[0].interfaces[0].netem.unwrap();
    assert_eq!(first.quality, quality(5));
    let far = netem.namespaces[1].interfaces[0].netem.unwrap();
    assert_ne!(first.seed, far.seed);

    let userspace = plan(&topology, NO_NETEM);
    assert_eq!((userspace.veths.len(), userspace.line.pipes.len()), (8, 2));
    assert!(userspace.namespaces.iter().all(|n| n.interfaces.iter().all(|i| i.netem.is_none())));
    for plan in [netem, userspace] {
        assert_eq!((plan.line.radios.len(), plan.line.access.len()), (2, 2));
        assert_eq!(plan.line.radios[0].mac, plan.mobile_nodes[0].mac);
    }
}

#[test]
fn routes_lead_every_router_to_every_destination_along_shortest_paths() {
    for topology in [line(AttachMode::Switch, LinkBackend::Auto), triangle(LinkBackend::Auto)] {
        let plan = plan(&topology, NO_NETEM);
        for (target, node) in topology.nodes() {
            let Some(address) = node.address() else { continue };
            let tree = PathTree::towards(&topology, target);
            for (here, router) in
                topology.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::Router { .. }))
            {
                let routes = &plan.namespaces[here.0].routes;
                let found: Vec<_> = routes.iter().filter(|route| route.destination == address).collect();
                if here == target {
                    assert!(found.is_empty(), "{} has a route to itself", router.name);
                    continue;
                }
                let [route] = found[..] else {
                    panic!("{} routes from {} to {address}", found.len(), router.name)
                };
                let next = tree.next(here).unwrap().node;
                assert_eq!(Some(route.via), topology.node(next).address());
                assert_eq!(Some(route.source), router.address());
                let neighbour =
                    plan.namespaces[here.0].neighbours.iter().find(|n| n.address == route.via).unwrap();
                assert_eq!(neighbour.index, route.index);
                let peer = &plan.namespaces[next.0];
                assert!(peer.interfaces.iter().any(|interface| interface.mac == neighbour.mac));
                if let Some(access) = node.access() {
                    assert!(
                        routes
                            .iter()
                            .any(|r| (r.destination, r.prefix_len) == (access.prefix, 24)
                                && r.via == route.via)
                    );
                }
            }
        }
        for server in topology.sip_servers() {
            let [route] = plan.namespaces[server.0].routes[..] else { panic!("one default route") };
            assert_eq!((route.prefix_len, Some(route.source)), (0, topology.node(server).address()));
        }
    }
}

#[test]
fn multicast_follows_the_shortest_paths_and_starts_at_the_far_end() {
    let topology = triangle(LinkBackend::Auto);
    let plan = plan(&topology, NO_NETEM);
    let [tree] = &plan.multicast[..] else { panic!("one access router") };
    let vif = |router: usize, name: &str| {
        let interface =
            plan.namespaces[router].interfaces.iter().find(|interface| interface.name == name).unwrap();
        interface.vif.unwrap()
    };
    // r1 -> r2 -> { sip1, r3 -> sip2 }: the direct link r1-r3 is too slow.
    let entry = |router: usize, arrives: Option<&str>, leaves: &[&str]| TreeEntry {
        router: NodeId(router),
        arrives: arrives.map(|name| vif(router, name)),
        leaves: leaves.iter().map(|name| vif(router, name)).collect(),
    };
    assert_eq!(
        tree.entries,
        [
            entry(2, Some("to-r2"), &["to-sip2"]),
            entry(1, Some("to-r1"), &["to-r3", "to-sip1"]),
            entry(0, None, &["to-r2"]),
        ]
    );
    assert_eq!(plan.access_routers[0].access.unwrap().vif, vif(0, ACCESS));
}

#[test]
fn in_move_mode_each_mobile_node_brings_its_access_interface() {
    let topology = line(AttachMode::Move, LinkBackend::Userspace);
    let plan = plan(&topology, NO_NETEM);
    assert_eq!(plan.line.access.len(), 2);
    let moving: Vec<_> = plan.mobile_nodes.iter().map(|mn| mn.moving.clone().unwrap()).collect();
    assert_eq!(moving[0].name, "mn1-acc");
    for (mobile_node, moving) in plan.mobile_nodes.iter().zip(&moving) {
        let start = &plan.namespaces[mobile_node.start.0];
        let interface = start.interfaces.iter().find(|interface| interface.index == moving.index).unwrap();
        assert_eq!(
            (interface.name.as_str(), interface.mac, interface.up),
            (moving.name.as_str(), moving.mac, false)
        );
        // The index is free in every other router.
        for other in topology.access_routers().filter(|&id| id != mobile_node.start) {
            assert!(plan.namespaces[other.0].interfaces.iter().all(|i| i.index != moving.index));
        }
    }
    for access_router in &plan.access_routers {
        assert_eq!(access_router.access, None);
        let gateway = Address { index: LOOPBACK, address: access_router.gateway, prefix_len: 32 };
        assert!(plan.namespaces[access_router.node.0].addresses.contains(&gateway));
    }
}

#[test]
fn the_first_server_starts_the_ring_and_seeds_differ() {
    let plan = plan(&triangle(LinkBackend::Auto), NO_NETEM);
    let mut joins = BTreeMap::new();
    let mut seeds = HashSet::new();
    for agent in &plan.agents {
        assert!(seeds.insert(agent.config.seed));
        if let samp_model::agent::Role::SipServer { address, join, interface } = &agent.config.role {
            assert_eq!(address.port(), 5060);
            assert!(interface.starts_with("to-r"));
            joins.insert(agent.config.name.clone(), *join);
        }
    }
    let first = "10.0.1.1:5060".parse().unwrap();
    assert_eq!(joins, BTreeMap::from([("sip1".into(), None), ("sip2".into(), Some(first))]));
    assert_eq!(plan.agents.len(), 3);
}

#[test]
fn what_cannot_be_wired_is_refused_by_name() {
    let base = || line(AttachMode::Switch, LinkBackend::Auto);
    let refused = |change: fn(&mut Topology)| {
        let mut topology = base();
        change(&mut topology);
        Plan::new(&topology, &machine(NO_NETEM)).unwrap_err()
    };
    assert_eq!(refused(|t| t.links.push(link(0, 2, 1))), PlanError::ServerLinks("sip1".into()));
    assert_eq!(refused(|t| t.links.push(link(0, 3, 1))), PlanError::WiredMobileNode("mn1".into()));
    assert_eq!(
        refused(|t| t.links.retain(|link| link.ends != [NodeId(0), NodeId(1)])),
        PlanError::Unreachable { from: "r2".into(), to: "r1".into() }
    );
    assert_eq!(
        refused(|t| t.links.extend((0..40).map(|_| link(0, 1, 1)))),
        PlanError::TooManyInterfaces { router: "r1".into(), interfaces: 42 }
    );
    let error = refused(|t| t.nodes[2].kind = NodeKind::SipServer { address: "fd00::1".parse().unwrap() });
    assert_eq!(error, PlanError::NotIpv4 { node: "sip1".into(), address: "fd00::1".parse().unwrap() });
}
