//! A topology, resolved and valid: what the plan, the simulator and the report read.

mod addressing;
mod file;
mod graph;
mod graphml;
mod hindrances;
mod knobs;
mod program;
mod quality;
mod resolve;
mod schema;
mod sound;

pub(crate) use addressing::{agent_of, home_subnet, regional_subnet};
pub(crate) use schema::schema;

pub(crate) use self::file::{Metres, Packets};
pub use addressing::AddressSpaceError;
pub use hindrances::HandoffHindrance;
pub use program::Program;
pub use quality::{Distribution, Jitter, LinkQuality, Loss, QualityChange, QualityPart, RateChange};
pub use resolve::SIP_DOMAIN;

use crate::diagnostic::Diagnostic;
use crate::settings::{
    AddressSettings, EmulationSettings, Family, MediaSettings, MobilitySettings, Protocol, SampSettings,
};
use crate::tree::{Setting, rewritten};
use crate::yaml::Source;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Reads a topology file.
///
/// # Errors
/// All that is wrong with it, in the order of the text.
pub fn load(path: &Path) -> Result<Topology, Vec<Diagnostic>> {
    resolve_with(&Source::read(path)?, None, &[])
}

/// What a text describes, with another seed than its own if one is given, and with these settings in the place of its own.
pub(crate) fn resolve_with(
    source: &Source,
    seed: Option<u64>,
    settings: &[&Setting],
) -> Result<Topology, Vec<Diagnostic>> {
    if settings.is_empty() {
        return resolve::resolve(source, seed, &read_graph);
    }
    let written = rewritten(source, settings.iter().copied())?;
    resolve::resolve(written.source(), seed, &read_graph).map_err(|errors| written.back(errors))
}

/// Takes a text for the content of the topology file `path`, whose name messages show and an unnamed topology bears.
/// A GraphML file that it names is read.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &str, text: &str) -> Result<Topology, Vec<Diagnostic>> {
    let source = Source::new(path, text)?;
    resolve::resolve(&source, None, &read_graph)
}

/// As [`parse`], with a text for the content of the GraphML file that it names.
///
/// # Errors
/// As [`load`].
pub fn parse_with_graph(path: &str, text: &str, graphml: &str) -> Result<Topology, Vec<Diagnostic>> {
    let source = Source::new(path, text)?;
    resolve::resolve(&source, None, &|path| {
        Source::new_at_most(&path.display().to_string(), graphml, graphml::MAX_BYTES)
    })
}

/// The GraphML file that a topology file names, if it names one: beside the topology file, the only one that says how
/// the topology is.
///
/// # Errors
/// The topology file cannot be read as one.
pub fn graph_file(path: &Path) -> Result<Option<PathBuf>, Vec<Diagnostic>> {
    let source = Source::read(path)?;
    let file: file::TopologyFile = source.parse()?;
    Ok(file.graph.map(|graph| graph::located(&source, Path::new(&graph.graphml.value))))
}

fn read_graph(path: &Path) -> Result<Source, Vec<Diagnostic>> {
    Source::read_at_most(path, graphml::MAX_BYTES)
}

/// A network with everything decided but the backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The lab's default name.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Which addresses the nodes have.
    pub family: Family,
    /// Routers first, then SIP servers, then mobile nodes; a [`NodeId`] indexes it.
    pub nodes: Vec<Node>,
    /// The wired links.
    pub links: Vec<Link>,
    /// Which protocol keeps mobile nodes reachable.
    #[serde(default)]
    pub mobility: MobilitySettings,
    /// SAMP's knobs.
    pub samp: SampSettings,
    /// The calls' media.
    pub media: MediaSettings,
    /// How mobile nodes get their care-of addresses.
    pub addressing: AddressSettings,
    /// What is asked of the emulation.
    pub emulation: EmulationSettings,
}

/// Index of a node in [`Topology::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique, at most 11 characters (so that `NAME-acc` fits an interface name).
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// What runs there in the place of samp-lab's own program; beside the forwarding, on a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A router, with an access network if it is an access router.
    Router {
        /// Its own addresses, on its loopback interface: one a family, the primary first.
        addresses: Vec<IpAddr>,
        /// The access network, for an access router.
        access: Option<AccessNetwork>,
    },
    /// A SIP server.
    SipServer {
        /// Its own addresses, on its loopback interface: one a family, the primary first.
        addresses: Vec<IpAddr>,
    },
    /// A mobile node.
    MobileNode {
        /// Its home SIP URI.
        address_of_record: String,
        /// The access router where it begins.
        start: NodeId,
        /// Its number in every access network: the host part of its care-of addresses.
        host: u32,
        /// Its radio link, up and down.
        radio: Box<Radio>,
    },
}

/// What an access router offers to mobile nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessNetwork {
    /// One subnet a family, the primary first.
    pub subnets: Vec<Subnet>,
    /// Where it stands, in metres, for maps and mobility models.
    pub position: Option<[f64; 2]>,
}

/// A subnet, in which the access router is host 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its prefix.
    pub prefix: IpAddr,
    /// Bits in the prefix.
    pub prefix_len: u8,
}

/// A wired link between two nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its two ends.
    pub ends: [NodeId; 2],
    /// From the first end to the second, and back.
    pub quality: [LinkQuality; 2],
}

/// A radio link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Radio {
    /// From the mobile node to the access router.
    pub up: LinkQuality,
    /// From the access router to the mobile node.
    pub down: LinkQuality,
}

impl Topology {
    /// The node with this index.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All nodes with their indexes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    /// The node with this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// Indexes of the access routers, in order.
    pub fn access_routers(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|(_, node)| node.access().is_some()).map(|(id, _)| id)
    }

    /// Indexes of the SIP servers, in order.
    pub fn sip_servers(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::SipServer { .. })).map(|(id, _)| id)
    }

    /// Indexes of the SIP servers that are members of the ring, in order: samp-lab's own. With `protocol: sip` the one
    /// registrar is a ring by itself; with Mobile IPv6 there is none.
    pub fn ring_servers(&self) -> impl Iterator<Item = NodeId> {
        let MobilitySettings { protocol, agent, .. } = self.mobility;
        let takes_part = move |id| match protocol {
            Protocol::Samp => true,
            Protocol::Sip => agent == Some(id),
            Protocol::Mipv6 | Protocol::Hmipv6 => false,
        };
        self.sip_servers().filter(move |&id| self.node(id).program.is_none() && takes_part(id))
    }

    /// Indexes of the mobile nodes, in order.
    pub fn mobile_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::MobileNode { .. })).map(|(id, _)| id)
    }

    /// The primary care-of address of a mobile node behind an access router.
    ///
    /// # Panics
    /// When the nodes are not of these kinds: a mistake of the caller's.
    pub fn care_of_address(&self, mobile_node: NodeId, access_router: NodeId) -> IpAddr {
        self.care_of_addresses(mobile_node, access_router).next().expect("a network has a subnet")
    }

    /// All care-of addresses of a mobile node behind an access router: one a family, the primary first.
    ///
    /// # Panics
    /// As [`care_of_address`](Self::care_of_address).
    pub fn care_of_addresses(
        &self,
        mobile_node: NodeId,
        access_router: NodeId,
    ) -> impl Iterator<Item = IpAddr> {
        let NodeKind::MobileNode { host, .. } = self.node(mobile_node).kind else {
            panic!("{} is no mobile node", self.node(mobile_node).name)
        };
        let access = self.node(access_router).access().expect("an access router");
        access.subnets.iter().map(move |subnet| subnet.host(host))
    }

    /// Gives all nodes the addresses of another family.
    ///
    /// # Errors
    /// There are too many access networks for it; nothing has changed.
    pub fn set_family(&mut self, family: Family) -> Result<(), AddressSpaceError> {
        addressing::assign(&mut self.nodes, family)?;
        self.family = family;
        Ok(())
    }

    /// The node that has this address, and for a care-of address also the access router that it belongs to.
    ///
    /// The address of an access router on its own subnet is the router's. With Mobile IPv6, home and regional care-of addresses
    /// are their agent's, as what is sent there goes to it first.
    pub fn locate(&self, address: IpAddr) -> Option<(NodeId, Option<NodeId>)> {
        if let Some((id, _)) = self.nodes().find(|(_, node)| node.addresses().contains(&address)) {
            return Some((id, None));
        }
        if self.mobility.protocol.is_mobile_ip()
            && let Some(number) = addressing::agent_of(address)
        {
            return self.sip_servers().nth(number as usize).map(|server| (server, None));
        }
        let access_router = self
            .access_routers()
            .find(|&id| self.node(id).access().is_some_and(|access| access.contains(address)))?;
        if self.node(access_router).access().is_some_and(|access| access.has_gateway(address)) {
            return Some((access_router, None));
        }
        let mobile_node = self
            .mobile_nodes()
            .find(|&id| self.care_of_addresses(id, access_router).any(|care_of| care_of == address))?;
        Some((mobile_node, Some(access_router)))
    }
}

impl Node {
    /// The primary fixed address of a router or server; mobile nodes have none.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses().first().copied()
    }

    /// All fixed addresses of a router or server: one a family, the primary first.
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.kind {
            NodeKind::Router { addresses, .. } | NodeKind::SipServer { addresses } => addresses,
            NodeKind::MobileNode { .. } => &[],
        }
    }

    /// The access network of an access router.
    pub fn access(&self) -> Option<&AccessNetwork> {
        match &self.kind {
            NodeKind::Router { access, .. } => access.as_ref(),
            _ => None,
        }
    }
}

impl AccessNetwork {
    /// Whether the address is in one of its subnets.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(address))
    }

    /// Whether the address is the access router's own in one of its subnets.
    pub fn has_gateway(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.gateway() == address)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.prefix_len)
    }
}

impl Subnet {
    /// The access router's own address on the subnet.
    pub fn gateway(&self) -> IpAddr {
        self.host(1)
    }

    /// The address of host number `host` of the subnet.
    pub fn host(&self, host: u32) -> IpAddr {
        match self.prefix {
            IpAddr::V4(prefix) => IpAddr::V4((u32::from(prefix) | host).into()),
            IpAddr::V6(prefix) => IpAddr::V6((u128::from(prefix) | u128::from(host)).into()),
        }
    }

    /// Whether the address is in the subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        let len = u32::from(self.prefix_len);
        match (self.prefix, address) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                (u32::from(prefix) ^ u32::from(address)).checked_shr(32 - len).unwrap_or(0) == 0
            }
            (IpAddr::V6(prefix), IpAddr::V6(address)) => {
                (u128::from(prefix) ^ u128::from(address)).checked_shr(128 - len).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
