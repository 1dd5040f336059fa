//! With Mobile IPv6, what is for an agent's subnets gets there, and what is for tunnels to the agents.

use super::routing::next;
use super::*;
use samp_model::agent::Role;
use samp_model::settings::TunnelBackend;
use samp_node::mobile_ip::{AGENT_END, BEYOND, KERNEL_END};

const CITY: &str = "
family: ipv6
grid: { width: 4, height: 2, domain: { width: 2, height: 2 }, link: { one_way_delay: 2ms }, server_link: { one_way_delay: 1ms } }
mobile_nodes: { count: 3 }
protocol: ";

fn city(protocol: &str) -> (Topology, Plan) {
    let topology = samp_model::topology::parse("city.yaml", &format!("{CITY}{protocol}")).expect("valid");
    let plan = plan(&topology, NO_NETEM);
    (topology, plan)
}

#[test]
fn every_router_leads_to_the_subnets_that_servers_answer_for() {
    let (topology, plan) = city("hmipv6");
    let [s1, s2] = ["s1", "s2"].map(|name| topology.find(name).unwrap());
    for (address, server) in
        [("fd53:414d:51::2", s1), ("fd53:414d:52::1", s1), ("fd53:414d:52::2", s1), ("fd53:414d:52:1::2", s2)]
    {
        let destination: IpAddr = address.parse().unwrap();
        for (router, _) in topology.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::Router { .. })) {
            let mut here = router;
            for _ in 0..topology.nodes.len() {
                if here != server {
                    (here, _) = next(&plan, here, destination).expect("a route");
                }
            }
            assert_eq!(here, server, "{address} from {}", topology.node(router).name);
        }
    }
    // Their own address as MAP is theirs; all else of the subnet is for the tunnels.
    let namespace = &plan.namespaces[s2.0];
    assert!(namespace.addresses.iter().any(|own| own.address.to_string() == "fd53:414d:52:1::1"));
}

#[test]
fn agents_and_mobile_nodes_have_a_way_into_their_tunnels() {
    for (protocol, agents, subnets) in [("mipv6", 2, 1), ("hmipv6", 2, 3)] {
        let (topology, plan) = city(protocol);
        let roles = plan.agents.iter().map(|agent| &agent.config.role);
        assert_eq!(roles.filter(|role| matches!(role, Role::MobilityAgent(_))).count(), agents);
        let mut into_tunnels = 0;
        for (id, node) in topology.nodes() {
            let namespace = &plan.namespaces[id.0];
            let find = |name| namespace.interfaces.iter().find(|interface| interface.name == name);
            let Some(end) = find(KERNEL_END.0) else {
                assert!(matches!(node.kind, NodeKind::Router { .. }), "{}", node.name);
                continue;
            };
            assert!(find(AGENT_END.0).is_some());
            let beyond = namespace.neighbours.iter().find(|neighbour| neighbour.index == end.index).unwrap();
            assert_eq!(beyond.mac, Mac(BEYOND));
            let routes: Vec<_> = namespace.routes.iter().filter(|route| route.index == end.index).collect();
            assert!(routes.iter().all(|route| route.via == beyond.address && route.mtu.is_some()));
            let set =
                |path: &str| namespace.sysctls.iter().rev().find(|it| it.path == path).map(|it| it.value);
            assert_eq!(set("net/ipv6/icmp/ratemask"), Some("1,4"));
            if let NodeKind::MobileNode { .. } = node.kind {
                let [route] = routes[..] else { panic!("{routes:?}") };
                assert_eq!((route.prefix_len, set("net/ipv6/conf/all/forwarding")), (0, None));
                assert!(
                    namespace.addresses.iter().any(|own| own.address == route.source),
                    "at home everywhere"
                );
            } else {
                assert_eq!(set("net/ipv6/conf/all/forwarding"), Some("1"));
                assert!(routes.iter().all(|route| route.prefix_len == 64), "{routes:?}");
                into_tunnels += routes.len();
            }
        }
        assert_eq!(into_tunnels, subnets, "{protocol}");
    }
    let (_, plan) = city("samp");
    let names = plan.namespaces.iter().flat_map(|namespace| &namespace.interfaces);
    assert!(names.into_iter().all(|interface| interface.name != KERNEL_END.0));
}

#[test]
fn tunnels_of_the_kernels_are_for_kernels_that_have_them() {
    let planned = |protocol: &str, tunnels| {
        let text = format!("{CITY}{protocol}\nemulation: {{ tunnels: kernel }}");
        let topology = samp_model::topology::parse("city.yaml", &text).expect("valid");
        Plan::new(&topology, &Machine { tunnels, ..machine(NO_NETEM) })
    };
    let refusal = planned("hmipv6", false).unwrap_err();
    assert_eq!(refusal, PlanError::NoTunnels);
    assert!(refusal.hint().unwrap().contains("tunnels: agent"));
    assert!(planned("sip", false).is_ok(), "which has no tunnels");
    let plan = planned("hmipv6", true).expect("it has them");
    let doers = plan.agents.iter().filter_map(|agent| agent.config.role.tunnels());
    assert_eq!(doers.collect::<Vec<_>>(), [TunnelBackend::Kernel; 5]);
    assert!(plan.to_string().contains("tunnels: kernel"));
}
