//! The routes: few prefixes a router that lead every packet along a shortest path.
//!
//! Each router is a search of its own, whose outcome is aggregated at once, so that memory does not grow with the square
//! of the routers. Where several first hops are as good, routers choose for the sake of fewer prefixes and without
//! agreement: every hop shortens what is left, so there are no loops, and all shortest paths take the same time.

use super::aggregate::{ANY, NO_ROUTE, Trie, Ways};
use super::wiring::{Wiring, next_hop};
use super::{PlanError, Route};
use samp_model::agent::MobilityAgent;
use samp_model::mobility::Agents;
use samp_model::paths::{ShortestPaths, Step, WiredGraph};
use samp_model::settings::AttachMode;
use samp_model::topology::{NodeId, NodeKind, Topology};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Routers on a path at most: each takes one off the TTL or hop limit, which begins at 255, and drops what has 1.
pub const MAX_ROUTERS_ON_PATH: u16 = 254;
/// Routes of a lab at most, that a topology of a few megabytes does not fill the memory.
pub const MAX_ROUTES: usize = 4_000_000;

/// For each node its routes: routers know the way to every router, server and access network; a server knows its router.
pub(super) fn routes(
    topology: &Topology,
    graph: &WiredGraph,
    wiring: &Wiring,
    mobility: &Agents,
    own_network: OwnNetwork,
) -> Result<Vec<Vec<Route>>, PlanError> {
    let spaces = spaces(topology, mobility, own_network);
    let targets: Vec<_> = topology
        .nodes()
        .filter(|(_, node)| !node.addresses().is_empty())
        .map(|(id, node)| (id, u16::from(matches!(node.kind, NodeKind::Router { .. }))))
        .collect();
    let number_of_routes = AtomicUsize::new(0);
    let some = |nodes: &[NodeId]| {
        let mut search = Search {
            topology,
            graph,
            wiring,
            spaces: &spaces,
            targets: &targets,
            paths: ShortestPaths::default(),
            trie: Trie::default(),
        };
        let routes = nodes.iter().map(|&node| {
            let routes = search.routes_of(node)?;
            if number_of_routes.fetch_add(routes.len(), Ordering::Relaxed) > MAX_ROUTES {
                return Err(PlanError::TooManyRoutes);
            }
            Ok(routes)
        });
        routes.collect::<Result<Vec<_>, _>>()
    };
    let nodes: Vec<_> = topology.nodes().map(|(id, _)| id).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let parts = nodes.chunks(nodes.len().div_ceil(threads).max(1));
        let some = &some;
        let begin =
            |nodes| thread::Builder::new().spawn_scoped(scope, move || some(nodes)).map_err(|_| nodes);
        let parts: Vec<_> = parts.map(begin).collect();
        let mut routes = Vec::with_capacity(nodes.len());
        for part in parts {
            routes.extend(match part {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic))?,
                // Where no thread can be had, this one does the work.
                Err(nodes) => some(nodes)?,
            });
        }
        Ok(routes)
    })
}

/// What a router's routes say of its own access network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnNetwork {
    /// It is on an interface, whose route is longer than all others.
    OnInterface,
    /// Nothing: without a mobile node it is nowhere.
    NoRoute,
}

impl OwnNetwork {
    /// That of an access router with this attach mode.
    pub(super) fn of(attach: AttachMode) -> Self {
        match attach {
            AttachMode::Move => OwnNetwork::NoRoute,
            AttachMode::Switch | AttachMode::Bpf | AttachMode::Auto => OwnNetwork::OnInterface,
        }
    }
}

/// Prefixes of one length and who has them.
struct Space {
    /// Bits of an address: 32 or 128.
    width: u32,
    /// Bits of such a prefix.
    prefix_len: u32,
    /// The number that is 0 in the trie; a number is an address without its bits below the prefix.
    first: u128,
    /// Bits of a number in the trie.
    bits: u32,
    /// The numbers in the trie and who has them.
    members: Vec<(u32, NodeId)>,
    /// What the owner itself needs.
    own: Ways,
}

impl Space {
    /// None when there are no prefixes.
    fn new(prefixes: &[(IpAddr, u8, NodeId)], own: Ways) -> Option<Self> {
        let &(some, prefix_len, _) = prefixes.first()?;
        let width = width(some);
        let prefix_len = u32::from(prefix_len);
        let number = |prefix: IpAddr| bits(prefix) >> (width - prefix_len);
        let numbers = || prefixes.iter().map(|&(prefix, ..)| number(prefix));
        let (lowest, highest) = (numbers().min()?, numbers().max()?);
        let bits = u128::BITS - (lowest ^ highest).leading_zeros();
        let first = lowest >> bits << bits;
        let members =
            prefixes.iter().map(|&(prefix, _, node)| ((number(prefix) - first) as u32, node)).collect();
        Some(Self { width, prefix_len, first, bits, members, own })
    }

    fn prefix(&self, first: u32, bits: u32) -> (IpAddr, u8) {
        let address = (self.first + u128::from(first)) << (self.width - self.prefix_len);
        let address = match self.width {
            32 => Ipv4Addr::from_bits(address as u32).into(),
            _ => Ipv6Addr::from_bits(address).into(),
        };
        (address, (self.prefix_len - bits) as u8)
    }
}

/// The addresses of routers and servers, and the access networks, each in both IP versions, and with Mobile IPv6 the
/// subnets for which servers answer.
fn spaces(topology: &Topology, mobility: &Agents, own_network: OwnNetwork) -> Vec<Space> {
    let fixed = topology.nodes().flat_map(|(id, node)| {
        node.addresses().iter().map(move |&address| (address, width(address) as u8, id))
    });
    let access = topology.nodes().flat_map(|(id, node)| {
        let subnets = node.access().into_iter().flat_map(|access| &access.subnets);
        subnets.map(move |subnet| (subnet.prefix, subnet.prefix_len, id))
    });
    let own = match own_network {
        OwnNetwork::OnInterface => ANY,
        OwnNetwork::NoRoute => NO_ROUTE,
    };
    let (fixed4, fixed6): (Vec<_>, Vec<_>) = fixed.partition(|(address, ..)| address.is_ipv4());
    let (access4, access6): (Vec<_>, Vec<_>) = access.partition(|(prefix, ..)| prefix.is_ipv4());
    let served = topology.sip_servers().flat_map(|id| {
        let subnets = mobility.mobility_agent(id).into_iter().flat_map(MobilityAgent::subnets);
        subnets.map(move |subnet| (subnet.prefix, subnet.prefix_len, id))
    });
    [(fixed4, ANY), (access4, own), (fixed6, ANY), (access6, own), (served.collect(), ANY)]
        .iter()
        .filter_map(|(prefixes, own)| Space::new(prefixes, *own))
        .collect()
}

struct Search<'a> {
    topology: &'a Topology,
    graph: &'a WiredGraph,
    wiring: &'a Wiring,
    spaces: &'a [Space],
    /// Routers and servers, and how many routers each is: one or none.
    targets: &'a [(NodeId, u16)],
    paths: ShortestPaths,
    trie: Trie,
}

impl Search<'_> {
    fn routes_of(&mut self, here: NodeId) -> Result<Vec<Route>, PlanError> {
        match self.topology.node(here).kind {
            NodeKind::Router { .. } => self.routes_of_router(here),
            NodeKind::SipServer { .. } => Ok(self.routes_of_server(here)),
            NodeKind::MobileNode { .. } => Ok(self.wiring.tunnels.get(&here).cloned().unwrap_or_default()),
        }
    }

    fn routes_of_router(&mut self, here: NodeId) -> Result<Vec<Route>, PlanError> {
        self.paths.find(self.graph, here);
        self.check_reach(here)?;
        let neighbours: Vec<Step> = self.graph.neighbours(here).collect();
        let mut routes = Vec::new();
        for space in self.spaces {
            let ways = space.members.iter().map(|&(number, node)| {
                (number, if node == here { space.own } else { self.paths.first_hops(node) })
            });
            let blocks = self.trie.aggregate(space.bits, ways);
            routes.extend(blocks.iter().filter_map(|block| {
                let (destination, prefix_len) = space.prefix(block.first, block.bits);
                self.route(here, neighbours[block.way as usize], destination, prefix_len)
            }));
        }
        Ok(routes)
    }

    fn routes_of_server(&self, here: NodeId) -> Vec<Route> {
        let Some(step) = self.graph.neighbours(here).next() else { return Vec::new() };
        let everywhere = self.topology.node(here).addresses().iter().map(|own| match own {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let routes = everywhere.filter_map(|destination| self.route(here, step, destination, 0));
        routes.chain(self.wiring.tunnels.get(&here).into_iter().flatten().copied()).collect()
    }

    /// A route from `here` by this step, in the IP version of its destination.
    fn route(&self, here: NodeId, step: Step, destination: IpAddr, prefix_len: u8) -> Option<Route> {
        let address = |node: NodeId| {
            let mut addresses = self.topology.node(node).addresses().iter().copied();
            addresses.find(|address| address.is_ipv4() == destination.is_ipv4())
        };
        let index = self.wiring.interface(self.topology, here, step.link).index;
        let mac = self.wiring.interface(self.topology, step.node, step.link).mac;
        let via = next_hop(address(step.node)?, mac);
        Some(Route { destination, prefix_len, via, index, source: address(here)?, mtu: None })
    }

    /// That there is a path to every router and server, and none too long.
    fn check_reach(&self, here: NodeId) -> Result<(), PlanError> {
        for &(node, passes) in self.targets {
            let names = || [node, here].map(|node| self.topology.node(node).name.clone());
            let Some(hops) = self.paths.hops(node) else {
                let [from, to] = names();
                return Err(PlanError::Unreachable { from, to });
            };
            // One hop between routers passes both of them.
            let routers = hops + passes;
            if routers > MAX_ROUTERS_ON_PATH {
                let [from, to] = names();
                return Err(PlanError::TooFar { from, to, routers });
            }
        }
        Ok(())
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Bits of an address.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}
