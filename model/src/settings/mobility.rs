//! Which protocol keeps mobile nodes reachable, and its knobs.

use crate::topology::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A protocol by which mobile nodes stay reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The scalable application-layer mobility protocol: SIP over a Chord ring.
    #[default]
    Samp,
    /// Mobile IPv6 (RFC 6275).
    Mipv6,
    /// Hierarchical Mobile IPv6 (RFC 5380).
    Hmipv6,
    /// SIP with one registrar for all (Wedlund and Schulzrinne).
    Sip,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Samp => "samp",
            Self::Mipv6 => "mipv6",
            Self::Hmipv6 => "hmipv6",
            Self::Sip => "sip",
        })
    }
}

impl Protocol {
    /// Whether mobile nodes keep their address.
    pub fn is_mobile_ip(self) -> bool {
        matches!(self, Self::Mipv6 | Self::Hmipv6)
    }
}

/// Which home agents mobile nodes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeAgents {
    /// One for all.
    #[default]
    Fixed,
    /// Each the SIP server nearest to where it begins, for good.
    Dynamic,
}

/// How mobile nodes and home agents know each other's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Not at all: home agents believe what comes.
    #[default]
    None,
    /// By the mobility message authentication option (RFC 4285).
    Rfc4285,
}

/// `protocol:` and the knobs under `mobility:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MobilitySettings {
    /// The protocol.
    pub protocol: Protocol,
    /// The SIP server that is home agent or registrar of all; none where there is no server.
    pub agent: Option<NodeId>,
    /// Mobile IPv6: which home agents there are.
    pub home_agents: HomeAgents,
    /// Mobile IPv6: whether peers of a call are told where a mobile node is, so that they need no home agent.
    pub route_optimization: bool,
    /// Mobile IPv6: whether home agents ask for proof that an update is the mobile node's.
    #[serde(default)]
    pub authentication: Authentication,
}
