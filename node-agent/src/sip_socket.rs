//! The SIP socket: UDP port 5060, unicast and the discovery group.

use crate::driver::now;
use crate::udp::{Departure, UdpSocket};
use samp_model::Time;
use samp_model::agent::Role;
use samp_model::settings::{Family, SampSettings};
use samp_protocol::sip::{self, Transport};
use samp_protocol::{Input, Transmit};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

/// Where SIP is received (RFC 3261 §18.1.1).
const SIP_PORT: u16 = 5060;

/// Messages in and out; what is no SIP message is counted and goes no further.
#[derive(Debug)]
pub(crate) struct SipSocket {
    socket: UdpSocket,
    /// Whence everything is sent; without it from the interface that the route takes.
    source: Option<IpAddr>,
    /// Index of the interface through which multicast is sent.
    interface: u32,
    /// What asked for a transport that this node does not have, until the node is told.
    undelivered: VecDeque<Transmit>,
    unparsable: u64,
    unsendable: u64,
}

impl SipSocket {
    /// Opens the socket of a node in the calling thread's network namespace. Multicast passes through the
    /// interface with index `interface`; a server joins the discovery group there.
    ///
    /// # Errors
    /// The port is taken, or the interface is missing.
    pub(crate) fn open(role: &Role, samp: &SampSettings, interface: u32) -> io::Result<Self> {
        let (socket, source) = match role {
            Role::MobileNode { family, .. } => (UdpSocket::bind(*family, SIP_PORT)?, None),
            Role::SipServer { address, .. } => {
                let family = Family::of(address.ip());
                let socket = UdpSocket::bind(family, address.port())?;
                socket.join(samp.discovery_group(family), interface)?;
                (socket, Some(address.ip()))
            }
        };
        let undelivered = VecDeque::new();
        Ok(Self { socket, source, interface, undelivered, unparsable: 0, unsendable: 0 })
    }

    /// Waits for a datagram.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.undelivered.is_empty() { self.socket.readable().await } else { Ok(()) }
    }

    /// The next message, if one waits, and the instant it was received.
    ///
    /// # Errors
    /// The socket is broken; what a peer sends is never an error.
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<(Time, Input)>> {
        if let Some(transmit) = self.undelivered.pop_front() {
            return Ok(Some((now(), Input::TransportError(transmit))));
        }
        while let Some(datagram) = self.socket.try_receive()? {
            match sip::parse(datagram.payload) {
                Ok(message) => {
                    let (from, to, transport) = (datagram.from, datagram.to, Transport::Udp);
                    let input = Input::Message { from, to, transport, message };
                    return Ok(Some((datagram.at, input)));
                }
                Err(error) => {
                    self.unparsable += 1;
                    let (from, unparsable) = (datagram.from, self.unparsable);
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(%from, error, unparsable, "no SIP message");
                }
            }
        }
        Ok(None)
    }

    /// Sends a message. One that does not leave is lost, as it could be on the way: SIP sends it again.
    pub(crate) fn send(&mut self, transmit: &Transmit) {
        if transmit.transport == Transport::Tcp {
            return self.undelivered.push_back(transmit.clone());
        }
        let is_multicast = transmit.destination.ip().is_multicast();
        let departure = Departure {
            source: self.source,
            interface: is_multicast.then_some(self.interface),
            ttl: transmit.ttl,
        };
        if let Err(error) = self.socket.send(&transmit.message.to_bytes(), transmit.destination, departure) {
            self.unsendable += 1;
            tracing::warn!(to = %transmit.destination, %error, unsendable = self.unsendable, "message not sent");
        }
    }
}
