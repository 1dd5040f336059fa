//! The agents and what they are told, and the user's programs in the place of some.

use super::wiring::Wiring;
use super::{ACCESS, AgentPlan, ProgramPlan, RADIOS, radios_each};
use samp_model::agent::{AgentConfig, Role};
use samp_model::mobility::Agents;
use samp_model::random::seed_for;
use samp_model::settings::{AddressMethod, AddressSettings, DhcpServer};
use samp_model::topology::{Node, NodeId, NodeKind, Subnet, Topology};
use samp_node::{RingKey, shared_secret};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of SIP over UDP (RFC 3261 §18.1.1).
pub(crate) const SIP_PORT: u16 = 5060;

/// What the SIP servers of a lab share with `auth: digest`, and home agents with `authentication: rfc4285`. It follows from the seed, as all of a lab does.
fn ring_key(topology: &Topology) -> String {
    format!("{:016x}", seed_for(topology.seed, "ring key"))
}

/// The password of a user.
pub(crate) fn password(topology: &Topology, address_of_record: &str) -> String {
    RingKey::new(&ring_key(topology)).password(&topology.samp, address_of_record)
}

/// In node order; the first of the servers starts the ring, the others join through it.
pub(super) fn agents(topology: &Topology, wiring: &Wiring, mobility: &Agents) -> Vec<AgentPlan> {
    let at_sip_port = |address: IpAddr| SocketAddr::new(address, SIP_PORT);
    let first = topology.ring_servers().next();
    let join = first.and_then(|first| topology.node(first).address()).map(at_sip_port);
    let members: Vec<_> = topology.ring_servers().collect();
    let without_program = topology.nodes().filter(|(_, node)| node.program.is_none());
    let agents = without_program.filter_map(|(id, node)| {
        let role = match &node.kind {
            NodeKind::Router { access: Some(access), .. } if topology.addressing.by_agents() => {
                Role::AccessRouter {
                    interface: ACCESS.into(),
                    mac: wiring.access_routers.iter().find(|router| router.node == id)?.access?.mac.0,
                    subnet: *access.subnets.first()?,
                    addressing: topology.addressing.clone(),
                    map: mobility.map_at(id),
                }
            }
            NodeKind::Router { .. } => return None,
            NodeKind::SipServer { .. } if !members.contains(&id) => {
                Role::MobilityAgent(mobility.mobility_agent(id)?.clone())
            }
            NodeKind::SipServer { .. } => Role::SipServer {
                address: at_sip_port(node.address()?),
                join: join.filter(|_| Some(id) != first),
                interface: wiring.namespaces[id.0].interfaces.first()?.name.clone(),
            },
            NodeKind::MobileNode { host, .. } => Role::MobileNode {
                address_of_record: mobility.called(topology, id),
                interface: RADIOS[0].into(),
                second_interface: (radios_each(&topology.emulation) == 2).then(|| RADIOS[1].into()),
                family: topology.family,
                media: topology.media.clone(),
                mac: wiring.mobile_nodes.iter().find(|mobile_node| mobile_node.node == id)?.mac.0,
                identifier: (*host).into(),
                addressing: topology.addressing.clone(),
                trigger: topology.emulation.trigger,
                mobility: mobility.mobility(id),
            },
        };
        let seed = seed_for(topology.seed, &format!("node {}", node.name));
        let mut samp = topology.samp.clone();
        let authentication = topology.mobility.authentication;
        let secret = shared_secret(&ring_key(topology), &samp, authentication, &node.name, &role);
        if !matches!(role, Role::SipServer { .. }) {
            samp.passwords.clear();
        }
        let config = AgentConfig { name: node.name.clone(), seed, samp, secret, role };
        Some(AgentPlan { node: id, config })
    });
    agents.collect()
}

/// The user's own programs, and the DHCP servers that are no agents, in node order.
pub(super) fn programs(topology: &Topology, wiring: &Wiring) -> Vec<ProgramPlan> {
    let AddressSettings { address, dhcp_server, .. } = topology.addressing;
    let by_dnsmasq = address == AddressMethod::Dhcp && dhcp_server == DhcpServer::Dnsmasq;
    let programs = topology.nodes().filter_map(|(node, Node { kind, program, .. })| match (program, kind) {
        (Some(program), _) => Some(ProgramPlan { node, argv: program.argv(topology, node), is_users: true }),
        (None, NodeKind::Router { access: Some(access), .. }) if by_dnsmasq => {
            let argv = dnsmasq(topology, wiring, node, access.subnets.first()?);
            Some(ProgramPlan { node, argv, is_users: false })
        }
        _ => None,
    });
    programs.collect()
}

/// The dnsmasq of an access router: for each mobile node the address that the topology has for it there. It serves
/// nothing but DHCP, reads and writes no file, and changes no user, as there is no other one in a lab without root.
fn dnsmasq(topology: &Topology, wiring: &Wiring, access_router: NodeId, subnet: &Subnet) -> Vec<String> {
    let AddressSettings { lease, rapid_commit, .. } = topology.addressing;
    let lease = lease.as_secs();
    let netmask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(subnet.prefix_len)).unwrap_or(0));
    let mut argv: Vec<String> =
        ["dnsmasq", "--no-daemon", "--conf-file", "--port=0", "--bind-interfaces", "--except-interface=lo"]
            .map(str::to_owned)
            .into();
    argv.extend(["--leasefile-ro", "--no-ping", "--dhcp-authoritative"].map(str::to_owned));
    argv.extend(rapid_commit.then(|| "--dhcp-rapid-commit".to_owned()));
    argv.push(format!("--interface={ACCESS}"));
    argv.push(format!("--dhcp-range={},static,{netmask},{lease}", subnet.prefix));
    argv.extend(wiring.mobile_nodes.iter().map(|mobile_node| {
        let address = topology.care_of_address(mobile_node.node, access_router);
        format!("--dhcp-host={},{address},{lease}", mobile_node.mac)
    }));
    argv
}
