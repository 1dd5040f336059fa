//! Namespaces, interfaces, addresses, neighbours and routes.

use super::{
    ACCESS, AccessInterface, AccessRouterPlan, Address, Interface, LOOPBACK, LinePlan, Mac, MobileNodePlan,
    MovingInterface, NamespacePlan, Neighbour, NetemPlan, Pipe, RADIOS, RadioEnd, Route, Sysctl, Veth,
    VethEnd, WIRE, radios_each,
};
use samp_model::mobility::Agents;
use samp_model::random::seed_for;
use samp_model::settings::{AttachMode, EmulationSettings, Family, LinkBackend};
use samp_model::topology::{NodeId, NodeKind, Topology};
use samp_node::mobile_ip::{self, MTU_AT_MOBILE_NODE, MTU_TO_HOME, MTU_TO_REGIONAL};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

/// Index of the first interface. Where tunnel modules are loaded, every new namespace has devices of theirs from 2 on.
const FIRST_INDEX: u32 = 100;

/// Where nobody uses it, IPv6 would only send packets of its own (neighbour discovery, MLD) over the measured links.
const NO_IPV6: [Sysctl; 2] = [
    Sysctl { path: "net/ipv6/conf/all/disable_ipv6", value: "1" },
    Sysctl { path: "net/ipv6/conf/default/disable_ipv6", value: "1" },
];
/// Two mobile nodes behind one access router cannot hear each other: no redirects. First of all, as it resets others.
const FORWARDING4: [Sysctl; 3] = [
    Sysctl { path: "net/ipv4/ip_forward", value: "1" },
    Sysctl { path: "net/ipv4/conf/all/send_redirects", value: "0" },
    Sysctl { path: "net/ipv4/conf/default/send_redirects", value: "0" },
];
const IPV4: [Sysctl; 3] = [
    // Source addresses of unnumbered links and of the discovery group pass no reverse-path check.
    Sysctl { path: "net/ipv4/conf/all/rp_filter", value: "0" },
    Sysctl { path: "net/ipv4/conf/default/rp_filter", value: "0" },
    // The kernel's default of 64 is shorter than the diameter of a big grid.
    Sysctl { path: "net/ipv4/ip_default_ttl", value: "255" },
];
/// As for IPv4, but that routers send redirects cannot be switched off, only that nodes heed them, below.
const FORWARDING6: [Sysctl; 1] = [Sysctl { path: "net/ipv6/conf/all/forwarding", value: "1" }];
const IPV6: [Sysctl; 11] = [
    // A host may start its namespaces without.
    Sysctl { path: "net/ipv6/conf/all/disable_ipv6", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/disable_ipv6", value: "0" },
    // Link-local addresses are made from the link-layer ones, which are the plan's; routes name them.
    Sysctl { path: "net/ipv6/conf/default/addr_gen_mode", value: "0" },
    // No second of waiting before an address may be used; the higher of the two counts.
    Sysctl { path: "net/ipv6/conf/all/accept_dad", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/accept_dad", value: "0" },
    // Addresses and routes are the supervisor's business.
    Sysctl { path: "net/ipv6/conf/default/accept_ra", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/autoconf", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/router_solicitations", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/accept_redirects", value: "0" },
    Sysctl { path: "net/ipv6/conf/default/hop_limit", value: "255" },
    // Milliseconds until the kernel says a second time which groups it has joined; nobody needs to hear it.
    Sysctl { path: "net/ipv6/conf/default/mldv2_unsolicited_report_interval", value: "86400000" },
];

/// Where an agent has tunnels: the kernel sees what is in them, too, and would answer that it does not know it, or that
/// nobody is there (ICMPv6 types 4 and 1): once in so many milliseconds, which is never. The interval first, or some get through.
const UNHEARD_TUNNELS: [Sysctl; 2] = [
    Sysctl { path: "net/ipv6/icmp/ratelimit", value: "1000000000" },
    Sysctl { path: "net/ipv6/icmp/ratemask", value: "1,4" },
];

/// The wired and wireless half of a plan.
pub(super) struct Wiring {
    pub(super) namespaces: Vec<NamespacePlan>,
    pub(super) veths: Vec<Veth>,
    pub(super) line: LinePlan,
    pub(super) mobile_nodes: Vec<MobileNodePlan>,
    pub(super) access_routers: Vec<AccessRouterPlan>,
    /// With Mobile IPv6: what goes into its tunnels at a node.
    pub(super) tunnels: BTreeMap<NodeId, Vec<Route>>,
    /// For each link, the position of the interface at either end in its node's namespace.
    links: Vec<[usize; 2]>,
    macs: u32,
}

impl Wiring {
    /// Everything but the routes.
    pub(super) fn new(topology: &Topology, mobility: &Agents, emulation: EmulationSettings) -> Self {
        let mut wiring = Self {
            namespaces: topology
                .nodes
                .iter()
                .map(|node| namespace(&node.name, &node.kind, topology.family))
                .collect(),
            veths: Vec::new(),
            line: LinePlan { seed: seed_for(topology.seed, "delay line"), ..LinePlan::default() },
            mobile_nodes: Vec::new(),
            access_routers: Vec::new(),
            tunnels: BTreeMap::new(),
            links: Vec::new(),
            macs: 0,
        };
        wiring.namespaces.push(NamespacePlan {
            name: WIRE.into(),
            sysctls: NO_IPV6.into(),
            interfaces: Vec::new(),
            addresses: Vec::new(),
            neighbours: Vec::new(),
            routes: Vec::new(),
        });
        wiring.own_addresses(topology);
        wiring.wired_links(topology, emulation.links);
        match emulation.attach {
            AttachMode::Move => wiring.moving_air(topology),
            AttachMode::Switch | AttachMode::Bpf | AttachMode::Auto => {
                wiring.switched_air(topology, radios_each(&emulation))
            }
        }
        wiring.add_tunnels(topology, mobility);
        wiring
    }

    /// The interface with which a node takes part in a link.
    pub(super) fn interface(&self, topology: &Topology, node: NodeId, link: usize) -> &Interface {
        let end = usize::from(topology.links[link].ends[0] != node);
        &self.namespaces[node.0].interfaces[self.links[link][end]]
    }

    /// The nodes' ends of each wired link.
    pub(super) fn link_ends(&self, topology: &Topology) -> Vec<[VethEnd; 2]> {
        let links = topology.links.iter().zip(&self.links);
        let end = |node: NodeId, interface| VethEnd { namespace: node.0, interface };
        links.map(|(link, ends)| [end(link.ends[0], ends[0]), end(link.ends[1], ends[1])]).collect()
    }

    fn wire(&self) -> usize {
        self.namespaces.len() - 1
    }

    fn own_addresses(&mut self, topology: &Topology) {
        for (id, node) in topology.nodes() {
            let addresses = node.addresses().iter().map(|&address| own_address(address));
            self.namespaces[id.0].addresses.extend(addresses);
        }
    }

    /// Interfaces of the wired links: one veth pair, with netem on both ends or plain, or two with the delay line between.
    fn wired_links(&mut self, topology: &Topology, backend: LinkBackend) {
        let mut names = HashSet::new();
        for (number, link) in topology.links.iter().enumerate() {
            let [a, b] = link.ends;
            let mut name = |here: NodeId, there: NodeId| {
                let name = format!("to-{}", topology.node(there).name);
                // A second link between the same two nodes.
                if names.insert((here, name.clone())) { name } else { format!("link{number}") }
            };
            let names = [name(a, b), name(b, a)];
            let netem = |end: usize| {
                (backend == LinkBackend::Netem).then(|| NetemPlan {
                    quality: link.quality[end],
                    seed: seed_for(topology.seed, &format!("link {number} end {end}")),
                })
            };
            let ends = [0, 1].map(|end| self.add_interface(link.ends[end].0, names[end].clone(), netem(end)));
            self.links.push(ends);
            for (end, node) in [(0, a), (1, b)] {
                if let NodeKind::Router { .. } = topology.node(node).kind {
                    self.give_vif(node.0, ends[end]);
                }
            }
            for (here, there) in [(0, 1), (1, 0)] {
                let mac = self.namespaces[link.ends[there].0].interfaces[ends[there]].mac;
                let here_space = &mut self.namespaces[link.ends[here].0];
                let index = here_space.interfaces[ends[here]].index;
                let next_hops = topology.node(link.ends[there]).addresses().iter().map(|&a| next_hop(a, mac));
                here_space.neighbours.extend(next_hops.map(|address| Neighbour { index, address, mac }));
            }
            let at = |end: usize| VethEnd { namespace: link.ends[end].0, interface: ends[end] };
            if matches!(backend, LinkBackend::Netem | LinkBackend::Plain) {
                self.veths.push(Veth { ends: [at(0), at(1)] });
                continue;
            }
            let pipe = [(0, 'a'), (1, 'b')]
                .map(|(end, letter)| self.through_wire(at(end), format!("l{number}{letter}")));
            self.line.pipes.push(Pipe { ends: pipe, quality: link.quality });
        }
    }

    /// Attach mode `switch`: every mobile node and every access router has one fixed end at the air.
    fn switched_air(&mut self, topology: &Topology, radios_each: usize) {
        (0..radios_each).for_each(|which| self.radios(topology, which));
        for node in topology.access_routers() {
            let Some(network) = topology.node(node).access() else { continue };
            let interface = self.add_interface(node.0, ACCESS.into(), None);
            let vif = self.give_vif(node.0, interface);
            let Interface { index, mac, .. } = self.namespaces[node.0].interfaces[interface];
            let gateways = network.subnets.iter().map(|subnet| Address {
                index,
                address: subnet.gateway(),
                prefix_len: subnet.prefix_len,
            });
            self.namespaces[node.0].addresses.extend(gateways);
            let end = VethEnd { namespace: node.0, interface };
            let at_wire = self.through_wire(end, format!("{}-air", topology.node(node).name));
            self.line.access.push(at_wire);
            self.access_routers.push(AccessRouterPlan {
                node,
                subnets: network.subnets.clone(),
                access: Some(AccessInterface { index, mac, vif }),
            });
        }
    }

    /// Attach mode `move`: every mobile node has an access end of its own, which moves between access routers.
    ///
    /// It is born where the node begins, so that building the lab moves nothing.
    fn moving_air(&mut self, topology: &Topology) {
        self.radios(topology, 0);
        for node in topology.access_routers() {
            let Some(network) = topology.node(node).access() else { continue };
            let gateways = network.subnets.iter().map(|subnet| own_address(subnet.gateway()));
            self.namespaces[node.0].addresses.extend(gateways);
            let subnets = network.subnets.clone();
            self.access_routers.push(AccessRouterPlan { node, subnets, access: None });
        }
        let most =
            topology.access_routers().map(|node| self.namespaces[node.0].interfaces.len()).max().unwrap_or(0);
        for number in 0..self.mobile_nodes.len() {
            let MobileNodePlan { node, start, .. } = self.mobile_nodes[number];
            let owner = &topology.node(node).name;
            let name = format!("{owner}-acc");
            let interface = self.add_interface(start.0, name.clone(), None);
            let moving = &mut self.namespaces[start.0].interfaces[interface];
            // Clear of every router's own interfaces, so that it is free wherever the node goes.
            moving.index = FIRST_INDEX + count(most) + count(number);
            moving.up = false;
            let (index, mac) = (moving.index, moving.mac);
            self.mobile_nodes[number].moving = Some(MovingInterface { name, index, mac });
            let at_wire =
                self.through_wire(VethEnd { namespace: start.0, interface }, format!("{owner}-net"));
            self.line.access.push(at_wire);
        }
    }

    /// The mobile nodes' ends of the air: their first radios (0) or their second ones (1).
    fn radios(&mut self, topology: &Topology, which: usize) {
        for node in topology.mobile_nodes() {
            let NodeKind::MobileNode { start, radio, .. } = &topology.node(node).kind else { continue };
            let interface = self.add_interface(node.0, RADIOS[which].into(), None);
            let mac = self.namespaces[node.0].interfaces[interface].mac;
            let end = VethEnd { namespace: node.0, interface };
            let name = format!("{}-{}", topology.node(node).name, ["mob", "mo2"][which]);
            let index = self.through_wire(end, name);
            self.line.radios.push(RadioEnd { index, mac, up: radio.up, down: radio.down });
            if which == 0 {
                self.mobile_nodes.push(MobileNodePlan { node, start: *start, mac, moving: None });
            }
        }
    }

    /// Adds the wire's half of a veth pair and returns its index there.
    fn through_wire(&mut self, end: VethEnd, name: String) -> u32 {
        let wire = self.wire();
        let interface = self.add_interface(wire, name, None);
        self.veths.push(Veth { ends: [end, VethEnd { namespace: wire, interface }] });
        self.namespaces[wire].interfaces[interface].index
    }

    /// With Mobile IPv6, at mobile nodes and agents: the pair over which the kernel's datagrams get to the agent and its
    /// tunnels, and what is routed there.
    fn add_tunnels(&mut self, topology: &Topology, mobility: &Agents) {
        for (id, _) in topology.nodes() {
            let home = mobility.home_address(id).map(IpAddr::V6);
            let agent = mobility.mobility_agent(id);
            let Some(source) = home.or(agent.map(|agent| agent.address.into())) else { continue };
            let beyond = Mac(mobile_ip::BEYOND);
            let via = IpAddr::V6(beyond.link_local());
            let namespace = &mut self.namespaces[id.0];
            let first = namespace.interfaces.len();
            let index = FIRST_INDEX + count(first);
            for (number, (name, mac)) in (0..).zip([mobile_ip::KERNEL_END, mobile_ip::AGENT_END]) {
                let (name, index, mac) = (name.to_owned(), index + number, Mac(mac));
                namespace.interfaces.push(Interface { name, index, mac, netem: None, vif: None, up: true });
            }
            namespace.neighbours.push(Neighbour { index, address: via, mac: beyond });
            namespace.sysctls.extend(UNHEARD_TUNNELS);
            namespace.sysctls.extend(FORWARDING6.into_iter().filter(|_| agent.is_some()));
            let own = home.or(agent.and_then(|agent| agent.map).map(IpAddr::V6));
            namespace.addresses.extend(own.map(own_address));
            let route = |destination, prefix_len, mtu| Route {
                destination,
                prefix_len,
                via,
                index,
                source,
                mtu: Some(mtu),
            };
            let everywhere = home.map(|_| route(Ipv6Addr::UNSPECIFIED.into(), 0, MTU_AT_MOBILE_NODE));
            let subnets = agent.into_iter().flat_map(|agent| {
                agent.subnets().map(|subnet| {
                    let is_home = agent.home_subnet == Some(subnet);
                    let mtu = if is_home { MTU_TO_HOME } else { MTU_TO_REGIONAL };
                    route(subnet.prefix, subnet.prefix_len, mtu)
                })
            });
            self.tunnels.insert(id, everywhere.into_iter().chain(subnets).collect());
            let end = |interface| VethEnd { namespace: id.0, interface };
            self.veths.push(Veth { ends: [end(first), end(first + 1)] });
        }
    }

    fn add_interface(&mut self, namespace: usize, name: String, netem: Option<NetemPlan>) -> usize {
        self.macs += 1;
        let interfaces = &mut self.namespaces[namespace].interfaces;
        let index = FIRST_INDEX + count(interfaces.len());
        interfaces.push(Interface { name, index, mac: Mac::numbered(self.macs), netem, vif: None, up: true });
        interfaces.len() - 1
    }

    fn give_vif(&mut self, namespace: usize, interface: usize) -> u16 {
        let interfaces = &mut self.namespaces[namespace].interfaces;
        let vif = interfaces.iter().filter(|interface| interface.vif.is_some()).count() as u16;
        interfaces[interface].vif = Some(vif);
        vif
    }
}

fn namespace(name: &str, kind: &NodeKind, family: Family) -> NamespacePlan {
    let mut sysctls = Vec::new();
    let forwards = matches!(kind, NodeKind::Router { .. });
    if family.has_ipv4() {
        sysctls.extend(FORWARDING4.into_iter().filter(|_| forwards));
        sysctls.extend(IPV4);
    }
    if family.has_ipv6() {
        sysctls.extend(FORWARDING6.into_iter().filter(|_| forwards));
        sysctls.extend(IPV6);
    } else {
        sysctls.extend(NO_IPV6);
    }
    NamespacePlan {
        name: name.into(),
        sysctls,
        interfaces: Vec::new(),
        addresses: Vec::new(),
        neighbours: Vec::new(),
        routes: Vec::new(),
    }
}

/// How a route names the neighbour with this address, whose interface on the link is `mac`.
pub(super) fn next_hop(address: IpAddr, mac: Mac) -> IpAddr {
    if address.is_ipv4() { address } else { mac.link_local().into() }
}

/// An address that belongs to no link.
fn own_address(address: IpAddr) -> Address {
    Address { index: LOOPBACK, address, prefix_len: host_len(address) }
}

/// Bits of an address's own prefix.
fn host_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Small numbers of interfaces as the kernel counts them.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
