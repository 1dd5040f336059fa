//! What a plan must hold, on a line of two access routers and on a triangle of routers.

use super::*;
use samp_model::settings::{
    AddressMethod, AddressSettings, AttachMode, Family, LinkBackend, MediaSettings, MobilitySettings,
    SampSettings,
};
use samp_model::topology::{AccessNetwork, Link, Node, Radio};
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU16;
use std::time::Duration;

const NO_NETEM: bool = false;
const NETEM: bool = true;
const FAMILIES: [Family; 3] = [Family::Ipv4, Family::Ipv6, Family::Dual];

fn machine(netem: bool) -> Machine {
    Machine {
        netem,
        bpf: false,
        cpu_quota: true,
        tunnels: false,
        ipv6: true,
        root: true,
        kernel: "6.1.0".into(),
    }
}

fn quality(milliseconds: u64) -> LinkQuality {
    LinkQuality { one_way_delay: Duration::from_millis(milliseconds), ..LinkQuality::IDEAL }
}

fn router(number: u8, access: bool) -> Node {
    let access = access.then(|| AccessNetwork { subnets: Vec::new(), position: None });
    Node {
        name: format!("r{number}"),
        kind: NodeKind::Router { addresses: Vec::new(), access },
        program: None,
    }
}

fn server(number: u8) -> Node {
    Node { name: format!("sip{number}"), kind: NodeKind::SipServer { addresses: Vec::new() }, program: None }
}

fn mobile_node(number: u8, start: usize) -> Node {
    let kind = NodeKind::MobileNode {
        address_of_record: format!("sip:mn{number}@samp.test"),
        start: NodeId(start),
        host: 1 + u32::from(number),
        radio: Box::new(Radio { up: quality(1), down: quality(2) }),
    };
    Node { name: format!("mn{number}"), kind, program: None }
}

fn link(a: usize, b: usize, milliseconds: u64) -> Link {
    Link { ends: [NodeId(a), NodeId(b)], quality: [quality(milliseconds), quality(milliseconds)] }
}

fn topology(nodes: Vec<Node>, links: Vec<Link>, attach: AttachMode, backend: LinkBackend) -> Topology {
    let mut topology = Topology {
        name: "test".into(),
        seed: 7,
        family: Family::Ipv4,
        nodes,
        links,
        mobility: MobilitySettings::default(),
        samp: SampSettings::default(),
        media: MediaSettings::default(),
        addressing: AddressSettings::default(),
        emulation: EmulationSettings { links: backend, attach, ..EmulationSettings::default() },
    };
    topology.set_family(Family::Ipv4).unwrap();
    topology
}

/// The same in another family.
fn with_family(mut topology: Topology, family: Family) -> Topology {
    topology.set_family(family).unwrap();
    topology
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
                let nodes_per_process = NonZeroU16::new(1);
                let expected = EmulationSettings {
                    links,
                    attach: AttachMode::Switch,
                    nodes_per_process,
                    ..EmulationSettings::default()
                };
                assert_eq!(plan.unwrap().emulation, expected);
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
fn the_kernels_switch_is_for_radio_links_without_delay() {
    let able = Machine { bpf: true, ..machine(NO_NETEM) };
    let mut topology = line(AttachMode::Auto, LinkBackend::Auto);
    let attach = |topology: &Topology, machine: &Machine| {
        Plan::new(topology, machine).map(|plan| plan.emulation.attach)
    };
    assert_eq!(attach(&topology, &able), Ok(AttachMode::Switch), "these radio links have a delay");
    topology.emulation.attach = AttachMode::Bpf;
    assert!(matches!(attach(&topology, &able), Err(PlanError::NoBpf(_))));
    for node in &mut topology.nodes {
        if let NodeKind::MobileNode { radio, .. } = &mut node.kind {
            (radio.up, radio.down) = (LinkQuality::IDEAL, LinkQuality::IDEAL);
        }
    }
    assert!(matches!(attach(&topology, &machine(NO_NETEM)), Err(PlanError::NoBpf(_))));
    for asked in [AttachMode::Bpf, AttachMode::Auto] {
        topology.emulation.attach = asked;
        assert_eq!(attach(&topology, &able), Ok(AttachMode::Bpf));
    }
    topology.emulation.attach = AttachMode::Switch;
    assert_eq!(attach(&topology, &able), Ok(AttachMode::Switch));
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
fn a_server_has_one_default_route_a_family() {
    for family in FAMILIES {
        let topology = with_family(triangle(LinkBackend::Auto), family);
        let plan = plan(&topology, NO_NETEM);
        for server in topology.sip_servers() {
            let routes = &plan.namespaces[server.0].routes;
            assert!(routes.iter().all(|route| route.prefix_len == 0 && route.destination.is_unspecified()));
            let sources: HashSet<_> = routes.iter().map(|route| route.source).collect();
            let own: HashSet<_> = topology.node(server).addresses().iter().copied().collect();
            assert_eq!((routes.len(), sources), (own.len(), own));
        }
    }
}

#[test]
fn a_link_local_address_is_the_one_that_the_kernel_makes() {
    assert_eq!(
        Mac([0x02, 0x5a, 1, 2, 3, 4]).link_local(),
        "fe80::5a:1ff:fe02:304".parse::<Ipv6Addr>().unwrap()
    );
}

#[test]
fn each_family_has_its_addresses_kernel_parameters_and_group() {
    for family in FAMILIES {
        for attach in [AttachMode::Switch, AttachMode::Move] {
            let topology = with_family(line(attach, LinkBackend::Userspace), family);
            let plan = plan(&topology, NO_NETEM);
            let versions = usize::from(family.has_ipv4()) + usize::from(family.has_ipv6());
            for (id, node) in topology.nodes() {
                let NamespacePlan { addresses, sysctls, neighbours, .. } = &plan.namespaces[id.0];
                let own: Vec<_> = addresses.iter().map(|a| a.address).collect();
                assert!(node.addresses().iter().all(|address| own.contains(address)));
                let gateways = if node.access().is_some() { versions } else { 0 };
                assert_eq!(own.len(), node.addresses().len() + gateways);
                let links = topology.links.iter().filter(|link| link.ends.contains(&id)).count();
                assert_eq!(neighbours.len(), links * versions);
                let set = |path: &str| sysctls.iter().find(|s| s.path == path).map(|s| s.value);
                let forwards = matches!(node.kind, NodeKind::Router { .. }).then_some("1");
                assert_eq!(set("net/ipv4/ip_forward"), forwards.filter(|_| family.has_ipv4()));
                assert_eq!(set("net/ipv6/conf/all/forwarding"), forwards.filter(|_| family.has_ipv6()));
                let off = if family.has_ipv6() { "0" } else { "1" };
                assert_eq!(set("net/ipv6/conf/all/disable_ipv6"), Some(off));
            }
            assert_eq!(plan.namespaces[plan.wire()].sysctls[0].value, "1", "never in the wire");
            assert_eq!(plan.multicast.group.is_ipv6(), family.has_ipv6());
            for agent in &plan.agents {
                match &agent.config.role {
                    samp_model::agent::Role::SipServer { address, .. } => {
                        assert_eq!(Some(address.ip()), topology.node(agent.node).address());
                    }
                    samp_model::agent::Role::MobileNode { family: told, .. } => assert_eq!(*told, family),
                    samp_model::agent::Role::AccessRouter { .. }
                    | samp_model::agent::Role::MobilityAgent(_)
                    | samp_model::agent::Role::Flooder { .. } => {
                        panic!("addresses are static, the protocol is SAMP, and nobody floods")
                    }
                }
            }
        }
    }
}

#[test]
fn multicast_follows_the_shortest_paths_and_starts_at_the_far_end() {
    let mut topology = triangle(LinkBackend::Auto);
    let plan = plan(&topology, NO_NETEM);
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
        plan.multicast.tree(NodeId(0)).entries,
        [
            entry(2, Some("to-r2"), &["to-sip2"]),
            entry(1, Some("to-r1"), &["to-r3", "to-sip1"]),
            entry(0, None, &["to-r2"]),
        ]
    );
    // With a TTL of 3 packets pass two routers, and so never meet sip2.
    topology.samp.multicast_ttl = 3;
    let near = Plan::new(&topology, &machine(NO_NETEM)).unwrap().multicast.tree(NodeId(0));
    assert_eq!(near.entries, [entry(1, Some("to-r1"), &["to-sip1"]), entry(0, None, &["to-r2"])]);
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
        let gateway = access_router.subnets[0].gateway();
        let gateway = Address { index: LOOPBACK, address: gateway, prefix_len: 32 };
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
    let first = "172.16.0.4:5060".parse().unwrap();
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
    let line = |routers: u8| {
        let links = (1..usize::from(routers)).map(|number| link(number - 1, number, 1)).collect();
        topology(
            (0..routers).map(|number| router(number, false)).collect(),
            links,
            AttachMode::Auto,
            LinkBackend::Auto,
        )
    };
    assert!(Plan::new(&line(254), &machine(NO_NETEM)).is_ok());
    assert_eq!(
        Plan::new(&line(255), &machine(NO_NETEM)).unwrap_err(),
        PlanError::TooFar { from: "r254".into(), to: "r0".into(), routers: 255 }
    );
    let no_ipv6 = Machine { ipv6: false, ..machine(NO_NETEM) };
    let error = Plan::new(&with_family(base(), Family::Dual), &no_ipv6).unwrap_err();
    assert_eq!(error, PlanError::NoIpv6);
    assert!(error.hint().unwrap().contains("family: ipv4"));
    assert!(Plan::new(&base(), &no_ipv6).is_ok());
}

#[test]
fn processes_have_agents_of_one_kind_and_no_more_than_asked() {
    let mut topology = samp_model::topology::parse("grid.yaml", GRID_OF_AGENTS).unwrap();
    let sizes = |topology: &Topology| {
        let plan = Plan::new(topology, &machine(false)).unwrap();
        plan.processes().map(<[_]>::len).collect::<Vec<_>>()
    };
    // One server in the only domain, seven mobile nodes.
    assert_eq!(sizes(&topology), [1; 8]);
    topology.emulation.nodes_per_process = NonZeroU16::new(3);
    assert_eq!(sizes(&topology), [1, 3, 3, 1]);
    let many = GRID_OF_AGENTS.replace("count: 7", "count: 251");
    assert_eq!(sizes(&samp_model::topology::parse("grid.yaml", &many).unwrap()), [1, 250, 1]);
}

#[test]
fn plain_links_are_one_pair_and_have_nothing_that_somebody_would_have_to_make() {
    let mut topology = samp_model::topology::parse("grid.yaml", GRID_OF_AGENTS).unwrap();
    topology.emulation.links = LinkBackend::Plain;
    let plan = Plan::new(&topology, &machine(true)).unwrap();
    // Wired links, then for radios and access routers one each towards the wire.
    assert_eq!(plan.veths.len(), 4 + 1 + 7 + 4);
    assert!(plan.line.pipes.is_empty() && !plan.line.is_empty());
    assert!(plan.namespaces.iter().flat_map(|space| &space.interfaces).all(|found| found.netem.is_none()));

    topology.links[0].quality[1].one_way_delay = Duration::from_millis(1);
    let error = Plan::new(&topology, &machine(true)).unwrap_err();
    assert_eq!(error, PlanError::NotPlain { a: "ar-0-0".into(), b: "ar-1-0".into() });
}

#[test]
fn a_plan_is_the_same_when_its_routes_were_worked_out_before() {
    let topology = samp_model::topology::parse("grid.yaml", GRID_OF_AGENTS).unwrap();
    for attach in [AttachMode::Switch, AttachMode::Move] {
        let mut topology = topology.clone();
        topology.emulation.attach = attach;
        let plan = Plan::new(&topology, &machine(true)).unwrap();
        let written = serde_json::to_vec(&plan.routes().collect::<Vec<_>>()).unwrap();
        let routes: Vec<Vec<Route>> = serde_json::from_slice(&written).unwrap();
        assert!(routes.iter().any(|routes| !routes.is_empty()));
        assert_eq!(Plan::with_routes(&topology, &machine(true), routes).unwrap(), plan);
    }
}

const GRID_OF_AGENTS: &str = "
grid: { width: 2, height: 2, domain: { width: 2, height: 2 }, link: { one_way_delay: 0 }, server_link: { one_way_delay: 0 } }
mobile_nodes: { count: 7, start: spread }
radio: { one_way_delay: 1ms }
";

mod mobile_ip;
mod routing;

#[test]
fn access_routers_have_agents_where_they_give_out_addresses() {
    let mut topology = line(AttachMode::Auto, LinkBackend::Auto);
    let access_routers = |plan: &Plan| {
        let roles = plan.agents.iter().map(|agent| &agent.config.role);
        roles.filter(|role| matches!(role, samp_model::agent::Role::AccessRouter { .. })).count()
    };
    assert_eq!(access_routers(&plan(&topology, NO_NETEM)), 0);
    topology.addressing.address = AddressMethod::Dhcp;
    assert_eq!(access_routers(&plan(&topology, NO_NETEM)), 2);
    topology.emulation.attach = AttachMode::Move;
    let refused = Plan::new(&topology, &machine(NO_NETEM)).expect_err("the command line may say so");
    assert!(matches!(refused, PlanError::Addressing(_)), "{refused}");
}
