//! A datagram with a Mobility Header, with what may stand before that: a type 2 routing header and the Home Address
//! destination option (RFC 6275 §6.3, §6.4).

use super::message::{self, Message};
use super::options::{self, Options};
use std::net::Ipv6Addr;

/// Bytes of an IPv6 header.
const HEADER_LEN: usize = 40;
/// Hop limit of what is sent.
const HOP_LIMIT: u8 = 64;
/// Next Header values.
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// Both extension headers are so long: 8 bytes and an address.
const EXTENSION_LEN: usize = 24;
/// Which they say in units of 8, the first one left out.
const EXTENSION_UNITS: u8 = 2;

/// A datagram with a Mobility Header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address of its IPv6 header.
    pub source: Ipv6Addr,
    /// Destination address of its IPv6 header.
    pub destination: Ipv6Addr,
    /// The sender's home address, in a Home Address destination option.
    pub home: Option<Ipv6Addr>,
    /// The receiver's home address, in a type 2 routing header.
    pub routed_home: Option<Ipv6Addr>,
    /// The message.
    pub message: Message,
}

impl Packet {
    /// One without home addresses.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr, message: Message) -> Self {
        Self { source, destination, home: None, routed_home: None, message }
    }

    /// Who sends it: its home address, or else the source address.
    pub fn sender(&self) -> Ipv6Addr {
        self.home.unwrap_or(self.source)
    }

    /// Whom it is for: the home address, or else the destination address.
    pub fn receiver(&self) -> Ipv6Addr {
        self.routed_home.unwrap_or(self.destination)
    }

    /// What it is, and the home address that it is about, as far as it says: for records.
    pub fn described(&self) -> (String, String) {
        let subject = match &self.message {
            Message::HomeTest(_) | Message::CareOfTest(_) => self.destination,
            Message::Error { home, .. } => *home,
            _ => self.home.or(self.routed_home).unwrap_or(self.source),
        };
        (self.message.summary(), subject.to_string())
    }

    /// The whole datagram.
    pub fn encode(&self) -> Vec<u8> {
        let message = self.message.encode(self.sender(), self.receiver());
        let mut before = Vec::new();
        let mut first = message::PROTOCOL;
        if let Some(home) = self.home {
            before = vec![first, EXTENSION_UNITS];
            options::push(&mut before, options::HOME_ADDRESS, &home.octets());
            first = DESTINATION_OPTIONS;
        }
        if let Some(home) = self.routed_home {
            let mut routing = vec![first, EXTENSION_UNITS, 2, 1, 0, 0, 0, 0];
            routing.extend(home.octets());
            before.splice(0..0, routing);
            first = ROUTING;
        }
        let length = (before.len() + message.len()) as u16;
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([first, HOP_LIMIT]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(before);
        bytes.extend(message);
        bytes
    }

    /// The packet that a datagram is; none when it is something else or malformed.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let (header, mut rest) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let length = u16::from_be_bytes([header[4], header[5]]);
        if header[0] >> 4 != 6 || rest.len() != usize::from(length) {
            return None;
        }
        let address = |at: usize| Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?));
        let (source, destination) = (address(8)?, address(24)?);
        let (mut home, mut routed_home) = (None, None);
        let mut next = header[6];
        if next == ROUTING {
            let (routing, others) = rest.split_first_chunk::<EXTENSION_LEN>()?;
            // One segment, which is the last (RFC 6275 §6.4.1).
            if routing[1..4] != [EXTENSION_UNITS, 2, 1] {
                return None;
            }
            routed_home = Some(Ipv6Addr::from(*routing.last_chunk::<16>()?));
            (next, rest) = (routing[0], others);
        }
        if next == DESTINATION_OPTIONS {
            let units = usize::from(*rest.get(1)?);
            let (extension, others) = rest.split_at_checked((units + 1) * 8)?;
            for option in Options(&extension[2..]) {
                match option? {
                    (options::PAD1 | options::PADN, _) => {}
                    (options::HOME_ADDRESS, value) if home.is_none() => {
                        home = Some(<[u8; 16]>::try_from(value).ok()?.into());
                    }
                    // Whoever knows an option that we do not wants us to know it (RFC 8200 §4.2).
                    _ => return None,
                }
            }
            (next, rest) = (extension[0], others);
        }
        if next != message::PROTOCOL || [home, routed_home].iter().flatten().any(is_no_home) {
            return None;
        }
        let (sender, receiver) = (home.unwrap_or(source), routed_home.unwrap_or(destination));
        let message = Message::decode(rest, sender, receiver)?;
        Some(Self { source, destination, home, routed_home, message })
    }
}

/// Home addresses are unicast and routable (RFC 6275 §6.3, §6.4.1).
fn is_no_home(address: &Ipv6Addr) -> bool {
    address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
}
