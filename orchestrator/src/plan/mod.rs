//! The plan: every namespace, interface, address and route of a lab, decided before anything is created.
//!
//! Pure: the same topology on the same kind of machine gives the same plan, number by number.

mod agents;
mod aggregate;
mod listing;
mod machine;
mod multicast;
mod resolve;
mod routes;
mod wiring;

pub(crate) use agents::{SIP_PORT, password};
pub use machine::Machine;
pub use multicast::{Multicast, MulticastTree, TreeEntry};
pub use routes::{MAX_ROUTERS_ON_PATH, MAX_ROUTES};

use routes::OwnNetwork;
use samp_model::agent::AgentConfig;
use samp_model::mobility::Agents;
use samp_model::paths::WiredGraph;
use samp_model::settings::EmulationSettings;
use samp_model::topology::{HandoffHindrance, LinkQuality, NodeId, NodeKind, Subnet, Topology};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use wiring::Wiring;

/// Names of a mobile node's radio interfaces, of which it has the second with make before break.
pub const RADIOS: [&str; 2] = ["radio0", "radio1"];
/// Name of an access router's interface towards the air, in attach mode `switch`.
pub const ACCESS: &str = "access0";
/// Name of the namespace where the delay line lives.
pub const WIRE: &str = "wire";
/// Interfaces that one namespace can use for multicast routing at most (the kernel's MAXVIFS).
pub const MAX_VIFS: usize = 32;
/// The interface index of `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// Everything that will be created.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The backends that will run; never `auto`.
    pub emulation: EmulationSettings,
    /// The namespaces: one a node in the topology's order, then [`WIRE`].
    pub namespaces: Vec<NamespacePlan>,
    /// The veth pairs.
    pub veths: Vec<Veth>,
    /// The nodes' ends of each wired link, in the topology's order.
    pub links: Vec<[VethEnd; 2]>,
    /// What the delay line carries.
    pub line: LinePlan,
    /// The mobile nodes' ends of the air, in the order of [`Topology::mobile_nodes`].
    pub mobile_nodes: Vec<MobileNodePlan>,
    /// The network's ends of the air, in the order of [`Topology::access_routers`].
    pub access_routers: Vec<AccessRouterPlan>,
    /// How discoveries reach the servers.
    pub multicast: Multicast,
    /// The agents.
    pub agents: Vec<AgentPlan>,
    /// Programs beside the agents.
    pub programs: Vec<ProgramPlan>,
    /// The nodes whose agent or program has a CPU quota, in node order.
    pub quotas: Vec<NodeId>,
}

/// A network namespace and what is in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamespacePlan {
    /// The node's name, or [`WIRE`].
    pub name: String,
    /// Kernel parameters, to be written in this order before any interface is created.
    pub sysctls: Vec<Sysctl>,
    /// Interfaces besides `lo`.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Permanent neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// Routes.
    pub routes: Vec<Route>,
}

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// Path below `/proc/sys`.
    pub path: &'static str,
    /// Value.
    pub value: &'static str,
}

impl Sysctl {
    /// Whether it switches IPv6 off.
    pub fn is_ipv6_off(&self) -> bool {
        self.path.ends_with("/disable_ipv6") && self.value == "1"
    }
}

/// One end of a veth pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in its namespace.
    pub index: u32,
    /// Its link-layer address.
    pub mac: Mac,
    /// What netem does to the packets that leave here.
    pub netem: Option<NetemPlan>,
    /// Its number in the router's multicast routing.
    pub vif: Option<u16>,
    /// Whether it is up from the beginning; the others come up when a mobile node attaches.
    pub up: bool,
}

/// What netem does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NetemPlan {
    /// What it does to packets.
    pub quality: LinkQuality,
    /// Seed of its losses.
    pub seed: u64,
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    /// On which interface.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits in its prefix.
    pub prefix_len: u8,
}

/// A permanent neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// On which interface.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its link-layer address.
    pub mac: Mac,
}

/// A route over an unnumbered link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: IpAddr,
    /// Bits in the destination's prefix.
    pub prefix_len: u8,
    /// The next hop, on the link: in IPv4 the neighbour's own address, in IPv6 its interface's link-local one, as the
    /// kernel does not take a next hop that it has a route to by another interface.
    pub via: IpAddr,
    /// Out of which interface.
    pub index: u32,
    /// The address that the node's own packets carry.
    pub source: IpAddr,
    /// The longest datagrams that go by it, in bytes, where tunnels need room.
    pub mtu: Option<u32>,
}

/// A veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Veth {
    /// Its ends.
    pub ends: [VethEnd; 2],
}

/// Where one end of a veth pair is born.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VethEnd {
    /// Index in [`Plan::namespaces`].
    pub namespace: usize,
    /// Index in [`NamespacePlan::interfaces`].
    pub interface: usize,
}

/// What the userspace delay line carries; interfaces are named by their index in [`WIRE`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinePlan {
    /// Wired links.
    pub pipes: Vec<Pipe>,
    /// Mobile nodes' ends of the air: the first of each, then the second of each.
    pub radios: Vec<RadioEnd>,
    /// Network ends of the air: in attach mode `switch` one an access router, in `move` one a mobile node.
    pub access: Vec<u32>,
    /// Seed of its losses.
    pub seed: u64,
}

impl LinePlan {
    /// Whether there is nothing to carry.
    pub fn is_empty(&self) -> bool {
        self.pipes.is_empty() && self.radios.is_empty()
    }
}

/// A wired link through the delay line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pipe {
    /// Index of each end.
    pub ends: [u32; 2],
    /// From the first end to the second, and back.
    pub quality: [LinkQuality; 2],
}

/// A mobile node's radio at the delay line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RadioEnd {
    /// Its index.
    pub index: u32,
    /// The link-layer address of the mobile node itself.
    pub mac: Mac,
    /// From the mobile node.
    pub up: LinkQuality,
    /// To the mobile node.
    pub down: LinkQuality,
}

/// A mobile node at the air.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MobileNodePlan {
    /// Which node.
    pub node: NodeId,
    /// Where it begins.
    pub start: NodeId,
    /// Link-layer address of its (first) radio interface.
    pub mac: Mac,
    /// In attach mode `move`: the interface that moves from access router to access router.
    pub moving: Option<MovingInterface>,
}

/// The network's end of one mobile node's radio link, in attach mode `move`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MovingInterface {
    /// Its name.
    pub name: String,
    /// Its index, the same in every access router.
    pub index: u32,
    /// Its link-layer address.
    pub mac: Mac,
}

/// An access router at the air.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessRouterPlan {
    /// Which node.
    pub node: NodeId,
    /// The subnets of its access network, the primary first.
    pub subnets: Vec<Subnet>,
    /// In attach mode `switch`: its interface towards the air.
    pub access: Option<AccessInterface>,
}

/// An access router's interface towards the air, in attach mode `switch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AccessInterface {
    /// Its index.
    pub index: u32,
    /// Its link-layer address.
    pub mac: Mac,
    /// Its number in multicast routing.
    pub vif: u16,
}

/// An agent to start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentPlan {
    /// For which node.
    pub node: NodeId,
    /// What it is told.
    pub config: AgentConfig,
}

/// A program to start that is no agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramPlan {
    /// At which node. A mobile node's starts when the node has its first address.
    pub node: NodeId,
    /// The program, to be found in the search path unless it has a slash, and its arguments.
    pub argv: Vec<String>,
    /// Whether it is the user's own, and not one that samp-lab has chosen.
    pub is_users: bool,
}

/// A link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of interface number `number` of a lab: locally administered, so no real card has it.
    fn numbered(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([0x02, 0x5a, a, b, c, d])
    }

    /// The link-local address that the kernel gives to an interface with this address (RFC 4862 §5.3, RFC 2464 §4).
    fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 0x02, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a topology cannot become a lab on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// netem was asked for, and the kernel has none.
    #[error("the topology asks for netem links, but this kernel has no sch_netem")]
    NoNetem,
    /// IPv6 was asked for, and the kernel has none.
    #[error("the topology asks for IPv6, but this kernel has none")]
    NoIpv6,
    /// Mobile nodes cannot get their addresses as the topology says, with what the command line says besides.
    #[error("{0}")]
    Addressing(&'static str),
    /// Handoffs cannot be as the topology says, with what the command line says besides.
    #[error("{}", .0.why)]
    Handoff(HandoffHindrance),
    /// The kernel's switch was asked for, and cannot be had.
    #[error("the topology asks for `attach: bpf`, but {0}")]
    NoBpf(&'static str),
    /// The servers are to have a CPU quota, and this user cannot give any.
    #[error("the topology asks for `server_cpu`, but this user has no cgroup with a CPU controller")]
    NoCpuQuota,
    /// The kernel is to do the tunnels, and has none.
    #[error("the topology asks for `tunnels: kernel`, but this kernel has no ip6tnl")]
    NoTunnels,
    /// Plain links were asked for, and this one is none.
    #[error("the topology asks for plain links, but {a}--{b} has a delay, a loss or a rate")]
    NotPlain {
        /// One end.
        a: String,
        /// The other.
        b: String,
    },
    /// A SIP server hangs on something else than one router.
    #[error("the SIP server `{0}` must have exactly one link, and that to a router")]
    ServerLinks(String),
    /// A mobile node has a wired link.
    #[error("the mobile node `{0}` cannot have a wired link")]
    WiredMobileNode(String),
    /// A router has more interfaces than multicast routing takes.
    #[error("the router `{router}` would have {interfaces} interfaces, multicast routing takes {MAX_VIFS}")]
    TooManyInterfaces {
        /// The router.
        router: String,
        /// How many.
        interfaces: usize,
    },
    /// There is a path that no packet survives.
    #[error("the path from `{from}` to `{to}` passes {routers} routers, IP takes {MAX_ROUTERS_ON_PATH}")]
    TooFar {
        /// Whence.
        from: String,
        /// Where to.
        to: String,
        /// Routers on it.
        routers: u16,
    },
    /// The topology is too big and too irregular.
    #[error("the routers would need more than {MAX_ROUTES} routes")]
    TooManyRoutes,
    /// There is no path.
    #[error("`{from}` has no path to `{to}`")]
    Unreachable {
        /// Whence.
        from: String,
        /// Where to.
        to: String,
    },
}

impl PlanError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::NoNetem => Some(
                "install the module (Debian and Ubuntu: linux-modules-extra of this kernel, then `modprobe sch_netem`), \
                 write `links: auto` for the userspace delay line, or run under scripts/vm.sh"
                    .into(),
            ),
            PlanError::NoIpv6 => Some(
                "write `family: ipv4`, or boot without `ipv6.disable=1` and load the module `ipv6`".into(),
            ),
            PlanError::Addressing(_) => Some("write `address: static`, or change the other".into()),
            PlanError::Handoff(hindrance) => Some(hindrance.hint()),
            PlanError::NoBpf(_) => Some("write `attach: switch`, or `auto` for the kernel's where it can be".into()),
            PlanError::NoCpuQuota => Some(
                "use sudo, or a delegated cgroup: `systemd-run --user --scope -p Delegate=yes samp-lab …`; \
                 `samp-lab doctor` says whether there is one"
                    .into(),
            ),
            PlanError::NoTunnels => Some(
                "write `tunnels: agent` for the agents' own, which need nothing of the kernel, or load the module `ip6_tunnel`".into(),
            ),
            PlanError::NotPlain { .. } => {
                Some("write `one_way_delay: 0` and no loss and rate for all wired links, or `links: auto`".into())
            }
            PlanError::ServerLinks(_) => Some("link it to one router; routers do the forwarding".into()),
            PlanError::WiredMobileNode(_) => Some("mobile nodes have a radio link only: remove the wired one".into()),
            PlanError::TooManyInterfaces { .. } => Some("spread its links over several routers".into()),
            PlanError::TooFar { .. } => Some(
                "add a link that bridges a part of the way, as topologies/paper-150.yaml does: with the sum of the delays \
                 of the links that it bridges it changes no delay"
                    .into(),
            ),
            PlanError::TooManyRoutes => Some("use fewer routers".into()),
            PlanError::Unreachable { .. } => Some("add a link between the two parts of the network".into()),
        }
    }
}

impl Plan {
    /// Plans a lab of this topology on this machine.
    ///
    /// # Errors
    /// The machine lacks something that the topology asks for, or the topology cannot be wired.
    pub fn new(topology: &Topology, machine: &Machine) -> Result<Plan, PlanError> {
        Self::routed(topology, machine, |graph, wiring, mobility, own| {
            routes::routes(topology, graph, wiring, mobility, own)
        })
    }

    /// The plan that [`Plan::new`] made of this topology on this machine, from its [routes](Plan::routes): nearly all of
    /// the work is theirs.
    ///
    /// # Errors
    /// As [`Plan::new`], but for what it finds on the way to the routes.
    pub fn with_routes(
        topology: &Topology,
        machine: &Machine,
        routes: Vec<Vec<Route>>,
    ) -> Result<Plan, PlanError> {
        Self::routed(topology, machine, |_, _, _, _| Ok(routes))
    }

    /// The routes of each node, for [`Plan::with_routes`].
    pub fn routes(&self) -> impl Iterator<Item = &[Route]> {
        self.namespaces[..self.wire()].iter().map(|namespace| &namespace.routes[..])
    }

    fn routed(
        topology: &Topology,
        machine: &Machine,
        routes: impl FnOnce(&WiredGraph, &Wiring, &Agents, OwnNetwork) -> Result<Vec<Vec<Route>>, PlanError>,
    ) -> Result<Plan, PlanError> {
        if topology.family.has_ipv6() && !machine.ipv6 {
            return Err(PlanError::NoIpv6);
        }
        let emulation = resolve::resolve(topology, machine)?;
        if let Some(hindrance) = topology.addressing_hindrance() {
            return Err(PlanError::Addressing(hindrance));
        }
        if let Some(hindrance) = topology.handoff_hindrance() {
            return Err(PlanError::Handoff(hindrance));
        }
        let graph = WiredGraph::new(topology);
        check(topology, &graph)?;
        let mobility = Agents::new(topology);
        let mut wiring = Wiring::new(topology, &mobility, emulation);
        let routes = routes(&graph, &wiring, &mobility, OwnNetwork::of(emulation.attach))?;
        wiring.namespaces.iter_mut().zip(routes).for_each(|(namespace, routes)| namespace.routes = routes);
        let multicast = Multicast::new(topology, graph, &wiring);
        let agents = agents::agents(topology, &wiring, &mobility);
        let programs = agents::programs(topology, &wiring);
        let run: BTreeSet<NodeId> =
            agents.iter().map(|agent| agent.node).chain(programs.iter().map(|it| it.node)).collect();
        let quotas = topology
            .sip_servers()
            .filter(|node| emulation.server_cpu.is_some() && run.contains(node))
            .collect();
        Ok(Plan {
            emulation,
            links: wiring.link_ends(topology),
            namespaces: wiring.namespaces,
            veths: wiring.veths,
            line: wiring.line,
            mobile_nodes: wiring.mobile_nodes,
            access_routers: wiring.access_routers,
            multicast,
            agents,
            programs,
            quotas,
        })
    }

    /// Index of [`WIRE`] in [`Plan::namespaces`].
    pub fn wire(&self) -> usize {
        self.namespaces.len() - 1
    }

    /// The agents by process: those with the same privileges together, and no more than the emulation says; each that has a
    /// CPU quota alone.
    pub fn processes(&self) -> impl Iterator<Item = &[AgentPlan]> {
        let most = self.emulation.nodes_per_process.map_or(1, |most| usize::from(most.get()));
        let kind = |agent: &AgentPlan| mem::discriminant(&agent.config.role);
        let alike = self.agents.chunk_by(move |a, b| kind(a) == kind(b));
        let has_quota = |agent: &AgentPlan| self.quotas.binary_search(&agent.node).is_ok();
        alike.flat_map(move |alike| alike.chunks(if has_quota(&alike[0]) { 1 } else { most }))
    }

    /// Position of a mobile node in [`Plan::mobile_nodes`], which is also the number of its first radio.
    pub fn mobile_node(&self, node: NodeId) -> Option<usize> {
        self.mobile_nodes.binary_search_by_key(&node, |mobile_node| mobile_node.node).ok()
    }

    /// The number of a mobile node's first (0) or second (1) radio among those of the delay line.
    pub fn radio(&self, mobile_node: usize, which: usize) -> usize {
        mobile_node + which * self.mobile_nodes.len()
    }

    /// How many radios each mobile node has.
    pub fn radios_each(&self) -> usize {
        radios_each(&self.emulation)
    }

    /// Position of an access router in [`Plan::access_routers`], which is also in attach mode `switch` its number among the delay line's access ends.
    pub fn access_router(&self, node: NodeId) -> Option<usize> {
        self.access_routers.binary_search_by_key(&node, |access_router| access_router.node).ok()
    }
}

/// How many radios each mobile node has.
fn radios_each(emulation: &EmulationSettings) -> usize {
    if emulation.make_before_break.is_zero() { 1 } else { 2 }
}

/// What later stages take for granted.
fn check(topology: &Topology, graph: &WiredGraph) -> Result<(), PlanError> {
    for (id, node) in topology.nodes() {
        let name = || node.name.clone();
        let mut neighbours = graph.neighbours(id);
        match &node.kind {
            NodeKind::Router { access, .. } => {
                let interfaces = neighbours.len() + usize::from(access.is_some());
                if interfaces > MAX_VIFS {
                    return Err(PlanError::TooManyInterfaces { router: name(), interfaces });
                }
            }
            NodeKind::SipServer { .. } => {
                let to_a_router = |id: NodeId| matches!(topology.node(id).kind, NodeKind::Router { .. });
                if neighbours.len() != 1 || !neighbours.all(|step| to_a_router(step.node)) {
                    return Err(PlanError::ServerLinks(name()));
                }
            }
            NodeKind::MobileNode { .. } if neighbours.len() > 0 => {
                return Err(PlanError::WiredMobileNode(name()));
            }
            NodeKind::MobileNode { .. } => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
