//! A topology, resolved and valid: what the plan, the simulator and the report read.

mod file;
mod knobs;
mod resolve;

use crate::diagnostic::Diagnostic;
use crate::settings::{EmulationSettings, MediaSettings, SampSettings};
use crate::yaml::Source;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Reads a topology file.
///
/// # Errors
/// All that is wrong with it, in the order of the text.
pub fn load(path: &Path) -> Result<Topology, Vec<Diagnostic>> {
    load_seeded(path, None)
}

/// Reads a topology file, with another seed than its own if one is given.
///
/// # Errors
/// As [`load`].
pub fn load_seeded(path: &Path, seed: Option<u64>) -> Result<Topology, Vec<Diagnostic>> {
    let source = Source::read(path)?;
    resolve::resolve(&source, seed)
}

/// Takes a text for the content of the topology file `path`, whose name messages show and an unnamed topology bears.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &str, text: &str) -> Result<Topology, Vec<Diagnostic>> {
    let source = Source::new(path, text)?;
    resolve::resolve(&source, None)
}

/// A network with everything decided but the backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The lab's default name.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Routers first, then SIP servers, then mobile nodes; a [`NodeId`] indexes it.
    pub nodes: Vec<Node>,
    /// The wired links.
    pub links: Vec<Link>,
    /// SAMP's knobs.
    pub samp: SampSettings,
    /// The calls' media.
    pub media: MediaSettings,
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
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A router, with an access network if it is an access router.
    Router {
        /// Its own address, on its loopback interface.
        address: IpAddr,
        /// The access network, for an access router.
        access: Option<AccessNetwork>,
    },
    /// A SIP server.
    SipServer {
        /// Its own address, on its loopback interface.
        address: IpAddr,
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
        radio: Radio,
    },
}

/// The subnet that an access router offers to mobile nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessNetwork {
    /// The subnet's prefix; the access router is host 1.
    pub prefix: IpAddr,
    /// Bits in the prefix.
    pub prefix_len: u8,
    /// Where it stands, in metres, for maps and mobility models.
    pub position: Option<[f64; 2]>,
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

/// What one direction of a link does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkQuality {
    /// Propagation delay.
    pub one_way_delay: Duration,
    /// Probability of loss, 0.0 to 1.0.
    pub loss: f64,
    /// Bits per second; none is as fast as the machine.
    pub rate: Option<u64>,
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

    /// Indexes of the mobile nodes, in order.
    pub fn mobile_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::MobileNode { .. })).map(|(id, _)| id)
    }

    /// The care-of address of a mobile node behind an access router.
    ///
    /// # Panics
    /// When the nodes are not of these kinds: a mistake of the caller's.
    pub fn care_of_address(&self, mobile_node: NodeId, access_router: NodeId) -> IpAddr {
        let NodeKind::MobileNode { host, .. } = self.node(mobile_node).kind else {
            panic!("{} is no mobile node", self.node(mobile_node).name)
        };
        self.node(access_router).access().expect("an access router").host(host)
    }

    /// The node that has this address, and for a care-of address also the access router that it belongs to.
    ///
    /// The address of an access router on its own subnet is the router's.
    pub fn locate(&self, address: IpAddr) -> Option<(NodeId, Option<NodeId>)> {
        if let Some((id, _)) = self.nodes().find(|(_, node)| node.address() == Some(address)) {
            return Some((id, None));
        }
        let access_router = self
            .access_routers()
            .find(|&id| self.node(id).access().is_some_and(|access| access.contains(address)))?;
        if self.node(access_router).access().is_some_and(|access| access.gateway() == address) {
            return Some((access_router, None));
        }
        let mobile_node =
            self.mobile_nodes().find(|&id| self.care_of_address(id, access_router) == address)?;
        Some((mobile_node, Some(access_router)))
    }
}

impl Node {
    /// The fixed address of a router or server; mobile nodes have none.
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            NodeKind::Router { address, .. } | NodeKind::SipServer { address } => Some(address),
            NodeKind::MobileNode { .. } => None,
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
