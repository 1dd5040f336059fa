//! A datagram with a Mobility Header, with what may stand before that: a type 2 routing header and the Home Address
//! destination option (RFC 6275 §6.3, §6.4).

use super::datagram::{Datagram, Homes};
use super::message::{self, Message, Update};
use std::net::Ipv6Addr;

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

    /// Where its sender is, if this is its update (RFC 6275 §9.5.1).
    pub(super) fn care_of(&self, update: &Update) -> Ipv6Addr {
        update.care_of.unwrap_or(self.source)
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
        let homes = Homes { home: self.home, routed_home: self.routed_home };
        let (next, before) = homes.encode(message::PROTOCOL);
        let datagram = Datagram::new([self.source, self.destination], next, &[&before, &message]);
        // A message is a few hundred bytes at most.
        datagram.map_or_else(Vec::new, |datagram| datagram.bytes().to_vec())
    }

    /// The packet that a datagram is; none when it is something else or malformed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let datagram = Datagram::of_frame(bytes).filter(|datagram| datagram.bytes().len() == bytes.len())?;
        Self::of_datagram(&datagram)
    }

    /// As [`decode`](Self::decode).
    pub fn of_datagram(datagram: &Datagram) -> Option<Self> {
        let (Homes { home, routed_home }, next, rest) = datagram.homes()?;
        if next != message::PROTOCOL {
            return None;
        }
        let (source, destination) = (datagram.source(), datagram.destination());
        let (sender, receiver) = (home.unwrap_or(source), routed_home.unwrap_or(destination));
        let message = Message::decode(rest, sender, receiver)?;
        Some(Self { source, destination, home, routed_home, message })
    }
}
