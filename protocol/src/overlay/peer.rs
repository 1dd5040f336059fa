//! Members of the ring and their identifiers.

use samp_model::OverlayId;
use samp_model::ring::MAX_VIRTUAL_NODES;
use sha1::{Digest, Sha1};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The identifier of a name: its SHA-1.
pub fn identifier_of(name: &str) -> OverlayId {
    OverlayId(Sha1::digest(name.as_bytes()).into())
}

/// A member of the ring: one of the virtual nodes of a server. Its identifier is the hash of its text form, so nobody
/// can choose a place on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where on the ring.
    pub id: OverlayId,
    /// Where in the network: the same for all virtual nodes of a server.
    pub address: SocketAddr,
    /// Which of the server's virtual nodes, from 0.
    pub number: u16,
}

impl Peer {
    /// The first virtual node of the server at this address; for most servers the only one.
    pub fn at(address: SocketAddr) -> Self {
        Self::virtual_node(address, 0)
    }

    /// One of the virtual nodes of the server at this address.
    pub fn virtual_node(address: SocketAddr, number: u16) -> Self {
        Self { id: identifier_of(&text(address, number)), address, number }
    }
}

fn text(address: SocketAddr, number: u16) -> String {
    if number == 0 { address.to_string() } else { format!("{address}/{number}") }
}

impl fmt::Display for Peer {
    /// `10.255.0.1:5060`, and for further virtual nodes `10.255.0.1:5060/3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.address, self.number))
    }
}

/// The text names no possible member.
#[derive(Debug)]
pub struct ParsePeerError;

impl FromStr for Peer {
    type Err = ParsePeerError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, number) = match text.split_once('/') {
            Some((address, number)) => (address, number.parse().map_err(|_| ParsePeerError)?),
            None => (text, 0),
        };
        if usize::from(number) >= MAX_VIRTUAL_NODES {
            return Err(ParsePeerError);
        }
        Ok(Self::virtual_node(address.parse().map_err(|_| ParsePeerError)?, number))
    }
}
