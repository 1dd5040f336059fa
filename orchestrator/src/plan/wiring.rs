//! Namespaces, interfaces, addresses, neighbours and routes.

use super::{
    ACCESS, AccessInterface, AccessRouterPlan, Address, Interface, LOOPBACK, LinePlan, Mac, MobileNodePlan,
    MovingInterface, NamespacePlan, Neighbour, NetemPlan, Pipe, PlanError, RADIO, RadioEnd, Route, Sysctl,
    Veth, VethEnd, WIRE, seed_for,
};
use samp_model::paths::{PathTree, Step, neighbours};
use samp_model::settings::{AttachMode, EmulationSettings, LinkBackend};
use samp_model::topology::{NodeId, NodeKind, Topology};
use std::collections::HashSet;
use std::net::IpAddr;

/// Index of the first interface. Where tunnel modules are loaded, every new namespace has devices of theirs from 2 on.
const FIRST_INDEX: u32 = 100;
/// Bits of a host's own prefix.
const HOST: u8 = 32;

/// IPv6 would send packets of its own (neighbour discovery, MLD) over the measured links.
const NO_IPV6: [Sysctl; 2] = [
    Sysctl { path: "net/ipv6/conf/all/disable_ipv6", value: "1" },
    Sysctl { path: "net/ipv6/conf/default/disable_ipv6", value: "1" },
];
/// Source addresses of unnumbered links and of the discovery group pass no reverse-path check.
const NO_REVERSE_PATH: [Sysctl; 2] = [
    Sysctl { path: "net/ipv4/conf/all/rp_filter", value: "0" },
    Sysctl { path: "net/ipv4/conf/default/rp_filter", value: "0" },
];
/// The kernel's default of 64 is shorter than the diameter of a big grid.
const TTL: Sysctl = Sysctl { path: "net/ipv4/ip_default_ttl", value: "255" };
/// Two mobile nodes behind one access router cannot hear each other: no redirects.
const FORWARDING: [Sysctl; 3] = [
    Sysctl { path: "net/ipv4/ip_forward", value: "1" },
    Sysctl { path: "net/ipv4/conf/all/send_redirects", value: "0" },
    Sysctl { path: "net/ipv4/conf/default/send_redirects", value: "0" },
];

/// The wired and wireless half of a plan.
pub(super) struct Wiring {
    pub(super) namespaces: Vec<NamespacePlan>,
    pub(super) veths: Vec<Veth>,
    pub(super) line: LinePlan,
    pub(super) mobile_nodes: Vec<MobileNodePlan>,
    pub(super) access_routers: Vec<AccessRouterPlan>,
    /// For each link, the position of the interface at either end in its node's namespace.
    links: Vec<[usize; 2]>,
    macs: u32,
}

impl Wiring {
    pub(super) fn new(topology: &Topology, emulation: EmulationSettings) -> Result<Self, PlanError> {
        let mut wiring = Self {
            namespaces: topology.nodes.iter().map(|node| namespace(&node.name, &node.kind)).collect(),
            veths: Vec::new(),
            line: LinePlan { seed: seed_for(topology.seed, "delay line"), ..LinePlan::default() },
            mobile_nodes: Vec::new(),
            access_routers: Vec::new(),
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
        wiring.routes(topology)?;
        match emulation.attach {
            AttachMode::Move => wiring.moving_air(topology),
            AttachMode::Switch | AttachMode::Auto => wiring.switched_air(topology),
        }
        Ok(wiring)
    }

    /// The interface with which a node takes part in a link.
    pub(super) fn interface(&self, topology: &Topology, node: NodeId, link: usize) -> &Interface {
        let end = usize::from(topology.links[link].ends[0] != node);
        &self.namespaces[node.0].interfaces[self.links[link][end]]
    }

    fn wire(&self) -> usize {
        self.namespaces.len() - 1
    }

    fn own_addresses(&mut self, topology: &Topology) {
        for (id, node) in topology.nodes() {
            let address =
                node.address().map(|address| Address { index: LOOPBACK, address, prefix_len: HOST });
            self.namespaces[id.0].addresses.extend(address);
        }
    }

    /// Interfaces of the wired links: one veth pair with netem on both ends, or two with the delay line between.
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
                let Some(address) = topology.node(link.ends[there]).address() else { continue };
                let mac = self.namespaces[link.ends[there].0].interfaces[ends[there]].mac;
                let here_space = &mut self.namespaces[link.ends[here].0];
                let index = here_space.interfaces[ends[here]].index;
                here_space.neighbours.push(Neighbour { index, address, mac });
            }
            let at = |end: usize| VethEnd { namespace: link.ends[end].0, interface: ends[end] };
            if backend == LinkBackend::Netem {
                self.veths.push(Veth { ends: [at(0), at(1)] });
                continue;
            }
            let pipe = [(0, 'a'), (1, 'b')]
                .map(|(end, letter)| self.through_wire(at(end), format!("l{number}{letter}")));
            self.line.pipes.push(Pipe { ends: pipe, quality: link.quality });
        }
    }

    /// Attach mode `switch`: every mobile node and every access router has one fixed end at the air.
    fn switched_air(&mut self, topology: &Topology) {
        self.radios(topology);
        for node in topology.access_routers() {
            let Some(network) = topology.node(node).access() else { continue };
            let interface = self.add_interface(node.0, ACCESS.into(), None);
            let vif = self.give_vif(node.0, interface);
            let Interface { index, mac, .. } = self.namespaces[node.0].interfaces[interface];
            self.namespaces[node.0].addresses.push(Address {
                index,
                address: network.gateway(),
                prefix_len: network.prefix_len,
            });
            let end = VethEnd { namespace: node.0, interface };
            let at_wire = self.through_wire(end, format!("{}-air", topology.node(node).name));
            self.line.access.push(at_wire);
            self.access_routers.push(AccessRouterPlan {
                node,
                gateway: network.gateway(),
                prefix_len: network.prefix_len,
                access: Some(AccessInterface { index, mac, vif }),
            });
        }
    }

    /// Attach mode `move`: every mobile node has an access end of its own, which moves between access routers.
    ///
    /// It is born where the node begins, so that building the lab moves nothing.
    fn moving_air(&mut self, topology: &Topology) {
        self.radios(topology);
        for node in topology.access_routers() {
            let Some(network) = topology.node(node).access() else { continue };
            let (gateway, prefix_len) = (network.gateway(), network.prefix_len);
            let address = Address { index: LOOPBACK, address: gateway, prefix_len: HOST };
            self.namespaces[node.0].addresses.push(address);
            self.access_routers.push(AccessRouterPlan { node, gateway, prefix_len, access: None });
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

    /// The mobile nodes' ends of the air.
    fn radios(&mut self, topology: &Topology) {
        for node in topology.mobile_nodes() {
            let NodeKind::MobileNode { start, radio, .. } = &topology.node(node).kind else { continue };
            let interface = self.add_interface(node.0, RADIO.into(), None);
            let mac = self.namespaces[node.0].interfaces[interface].mac;
            let end = VethEnd { namespace: node.0, interface };
            let index = self.through_wire(end, format!("{}-mob", topology.node(node).name));
            self.line.radios.push(RadioEnd { index, mac, up: radio.up, down: radio.down });
            self.mobile_nodes.push(MobileNodePlan { node, start: *start, mac, moving: None });
        }
    }

    /// Routers know the way to every router, server and access network; a server knows its router.
    fn routes(&mut self, topology: &Topology) -> Result<(), PlanError> {
        for (id, node) in topology.nodes() {
            let Some(address) = node.address() else { continue };
            let tree = PathTree::towards(topology, id);
            let mut destinations = vec![(address, HOST)];
            destinations.extend(node.access().map(|access| (access.prefix, access.prefix_len)));
            for (here, other) in topology.nodes() {
                let Some(source) = other.address().filter(|_| here != id) else { continue };
                let step = tree.next(here).ok_or_else(|| PlanError::Unreachable {
                    from: other.name.clone(),
                    to: node.name.clone(),
                })?;
                if let NodeKind::Router { .. } = other.kind {
                    for &(destination, prefix_len) in &destinations {
                        let route = self.route(topology, here, step, source, destination, prefix_len);
                        self.namespaces[here.0].routes.extend(route);
                    }
                }
            }
        }
        let neighbours = neighbours(topology);
        for id in topology.sip_servers() {
            let (step, source) = (neighbours[id.0].first().copied(), topology.node(id).address());
            let (Some(step), Some(source)) = (step, source) else { continue };
            let route = self.route(topology, id, step, source, IpAddr::from([0, 0, 0, 0]), 0);
            self.namespaces[id.0].routes.extend(route);
        }
        Ok(())
    }

    fn route(
        &self,
        topology: &Topology,
        here: NodeId,
        step: Step,
        source: IpAddr,
        destination: IpAddr,
        prefix_len: u8,
    ) -> Option<Route> {
        let via = topology.node(step.node).address()?;
        let index = self.interface(topology, here, step.link).index;
        Some(Route { destination, prefix_len, via, index, source })
    }

    /// Adds the wire's half of a veth pair and returns its index there.
    fn through_wire(&mut self, end: VethEnd, name: String) -> u32 {
        let wire = self.wire();
        let interface = self.add_interface(wire, name, None);
        self.veths.push(Veth { ends: [end, VethEnd { namespace: wire, interface }] });
        self.namespaces[wire].interfaces[interface].index
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

fn namespace(name: &str, kind: &NodeKind) -> NamespacePlan {
    let mut sysctls = Vec::new();
    if let NodeKind::Router { .. } = kind {
        // First: it resets others.
        sysctls.extend(FORWARDING);
    }
    sysctls.extend(NO_IPV6);
    sysctls.extend(NO_REVERSE_PATH);
    sysctls.push(TTL);
    NamespacePlan {
        name: name.into(),
        sysctls,
        interfaces: Vec::new(),
        addresses: Vec::new(),
        neighbours: Vec::new(),
        routes: Vec::new(),
    }
}

/// Small numbers of interfaces as the kernel counts them.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
