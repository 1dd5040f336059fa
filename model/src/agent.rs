//! What supervisor and node agent say to each other in packets of a `SOCK_SEQPACKET` socket pair: the supervisor one
//! JSON object a packet, the agent one or more, one behind the other.

use crate::Record;
use crate::flood::Flood;
use crate::record::{FloodNumber, HandoffNumber};
use crate::settings::{AddressSettings, Family, MediaSettings, SampSettings, Trigger, TunnelBackend};
use crate::topology::Subnet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The first packet that an agent receives: what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// Name of the node.
    pub name: String,
    /// Seed of the node's own random choices, derived from the topology's seed and the node's name.
    pub seed: u64,
    /// SAMP's knobs.
    pub samp: SampSettings,
    /// What the node shares with others: with `auth: digest` the key of all SIP servers, or the mobile node's password;
    /// with `authentication: rfc4285` the key of all home agents, or what the mobile node shares with its own.
    pub secret: Option<String>,
    /// What kind of node.
    pub role: Role,
}

/// What kind of node an agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A SIP server: registrar, proxy and member of the overlay.
    SipServer {
        /// Its address.
        address: SocketAddr,
        /// A member of the ring to join through; none starts a ring.
        join: Option<SocketAddr>,
        /// Name of the interface on which it hears the discovery group.
        interface: String,
    },
    /// A mobile node.
    MobileNode {
        /// Its home SIP URI, as `sip:mn1@samp.test`.
        address_of_record: String,
        /// Name of its radio interface.
        interface: String,
        /// Name of its second one, with make before break.
        second_interface: Option<String>,
        /// Which addresses it will have.
        family: Family,
        /// Its media.
        media: MediaSettings,
        /// Link-layer address of its radio interface.
        mac: [u8; 6],
        /// How its addresses end that it makes itself: its interface identifier (RFC 4862 §5.5.3).
        identifier: u64,
        /// How it gets its addresses.
        addressing: AddressSettings,
        /// What tells it of a new link.
        trigger: Trigger,
        /// How it stays reachable.
        #[serde(default)]
        mobility: Mobility,
    },
    /// Mobile IPv6: a home agent, a mobility anchor point, or both.
    MobilityAgent(MobilityAgent),
    /// An access router that gives out addresses.
    AccessRouter {
        /// Name of its interface towards the air.
        interface: String,
        /// Link-layer address of that.
        mac: [u8; 6],
        /// The subnet there.
        subnet: Subnet,
        /// How it gives them out.
        addressing: AddressSettings,
        /// The mobility anchor point that it tells of, with HMIPv6.
        map: Option<Ipv6Addr>,
    },
    /// Who floods a SIP server, beside whatever else runs at the node.
    Flooder {
        /// Which flood.
        number: FloodNumber,
        /// The address that its requests come from, which is the node's own.
        own: IpAddr,
        /// The SIP server's name.
        to: String,
        /// Its address.
        server: SocketAddr,
        /// What is sent.
        flood: Flood,
    },
}

impl Role {
    /// Who does this node's tunnels, if it has any.
    pub fn tunnels(&self) -> Option<TunnelBackend> {
        match self {
            Role::MobileNode { mobility: Mobility::MobileIp { tunnels, .. }, .. } => Some(*tunnels),
            Role::MobilityAgent(agent) => Some(agent.tunnels),
            _ => None,
        }
    }
}

/// How a mobile node stays reachable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mobility {
    /// SAMP: by an anchor that it finds, and the ring.
    #[default]
    Samp,
    /// By one registrar for all.
    Sip {
        /// Its address.
        registrar: SocketAddr,
    },
    /// By an address that it keeps (RFC 6275).
    MobileIp {
        /// That address.
        home: Ipv6Addr,
        /// Its home agent.
        home_agent: Ipv6Addr,
        /// Whether mobility anchor points are used (HMIPv6, RFC 5380).
        hierarchical: bool,
        /// Whether peers are told where it is.
        route_optimization: bool,
        /// Who does its tunnels.
        #[serde(default)]
        tunnels: TunnelBackend,
    },
}

/// A home agent, a mobility anchor point, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MobilityAgent {
    /// Its address as home agent.
    pub address: Ipv6Addr,
    /// The subnet of the home addresses that it serves; none when it is no home agent.
    pub home_subnet: Option<Subnet>,
    /// Its address as mobility anchor point; none when it is none.
    pub map: Option<Ipv6Addr>,
    /// How long it looks whether somebody else has an address that is new to it; zero does not look.
    pub dad: Duration,
    /// Who does its tunnels.
    #[serde(default)]
    pub tunnels: TunnelBackend,
}

impl MobilityAgent {
    /// The subnets for whose addresses it answers: of home addresses, and of regional ones.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> {
        let regional = self.map.map(|map| {
            let prefix = u128::from(map) & !u128::from(u64::MAX);
            Subnet { prefix: IpAddr::V6(prefix.into()), prefix_len: 64 }
        });
        self.home_subnet.into_iter().chain(regional)
    }
}

/// The most nodes whose descriptors one packet of a hiring socket brings.
///
/// An agent process is hired over a `SOCK_SEQPACKET` socket at its standard input: each packet is one byte and two
/// descriptors a node, its control socket and its network namespace (`SCM_RIGHTS`, of which a message takes 253).
pub const HIRED_AT_ONCE: usize = 126;

/// What the supervisor says to an agent after the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// The radio is behind this access router now (as IEEE 802.21 Link_Up).
    LinkUp(LinkUp),
    /// The radio is about to leave its access router (as IEEE 802.21 Link_Going_Down).
    LinkGoingDown {
        /// Which handoff begins with this.
        handoff: HandoffNumber,
        /// The next access router.
        access_router: String,
    },
    /// One of two radios is attached nowhere any more.
    LinkDown {
        /// Which: 0 or 1.
        radio: usize,
    },
    /// The radio is about to be behind this access router. With `trigger: carrier` and `ra`: the node does nothing before it
    /// hears of that itself.
    NextLink(LinkUp),
    /// Call the node with this address-of-record.
    Call {
        /// Address-of-record of the callee.
        callee: String,
        /// Call-ID to use, so that who asked can follow the call in the records.
        call: String,
    },
    /// A server: leave the ring, after handing all bindings over.
    Leave,
    /// Hang up this call, or all calls.
    HangUp {
        /// The call.
        call: Option<String>,
    },
    /// Ask another terminal to take a call over.
    Transfer {
        /// The call.
        call: String,
        /// The terminal's URI.
        target: String,
    },
    /// Leave: end all calls and have the servers forget this node.
    Deregister,
    /// An access router: this mobile node is about to come, and has this address here (manual allocation, RFC 2131 §1).
    Expect {
        /// The mobile node's link-layer address.
        mac: [u8; 6],
        /// Its care-of address.
        address: Ipv4Addr,
    },
    /// Neither hear nor say anything until [`ToAgent::Resume`]: to a node that shares its process, which cannot be
    /// stopped for it.
    Pause,
    /// Go on.
    Resume,
}

/// What the mobile node is told about its new link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkUp {
    /// Which handoff; 0 is the first attachment.
    pub handoff: HandoffNumber,
    /// On which of the node's radios: 0, or 1 for its second one.
    pub radio: usize,
    /// With `address: static`, the addresses to use there: one a family, the primary first.
    pub addresses: Vec<LinkAddress>,
    /// The access router's link-layer address there.
    pub gateway_mac: [u8; 6],
    /// With HMIPv6 and `address: static`, the mobility anchor point that the access router tells of.
    pub map: Option<Ipv6Addr>,
}

/// An address on a new link, and the way out of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAddress {
    /// The care-of address.
    pub address: IpAddr,
    /// The access router's address on the same subnet.
    pub gateway: IpAddr,
}

/// What an agent says to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// Sockets are open; input is welcome.
    Ready,
    /// Something happened.
    Record(Record),
}
