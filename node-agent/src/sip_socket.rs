//! Where SIP comes in and goes out: UDP port 5060, unicast and the discovery group, and TCP port 5060.

use crate::driver::now;
use crate::tcp::Tcp;
use crate::udp::{Departure, UdpSocket};
use samp_model::Time;
use samp_model::agent::Role;
use samp_model::settings::{Family, SampSettings};
use samp_protocol::sip::{self, Transport};
use samp_protocol::{Admission, Input, Transmit};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Where SIP is received (RFC 3261 §18.1.1).
pub(crate) const SIP_PORT: u16 = 5060;

/// Messages in and out; what is no SIP message is counted and goes no further.
#[derive(Debug)]
pub(crate) struct SipSocket {
    socket: UdpSocket,
    tcp: Tcp,
    /// Whose turn it is, where both have something.
    is_tcps_turn: bool,
    /// Whence everything is sent; without it from the interface that the route takes.
    source: Option<IpAddr>,
    /// At a server, what is worth parsing.
    admission: Option<Admission>,
    /// Index of the interface through which multicast is sent.
    interface: u32,
    /// What could not be sent over TCP, until the node is told.
    undelivered: VecDeque<Transmit>,
    unparsable: u64,
    unsendable: u64,
}

/// What a look at the socket gave.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once and never stored, as the input itself")]
pub(crate) enum Received {
    /// A message, and the instant it was received.
    Message(Time, Input),
    /// A datagram that goes no further.
    Dropped,
    /// Nothing more for now.
    Nothing,
}

impl SipSocket {
    /// Opens the socket of a node in the calling thread's network namespace. Multicast passes through the
    /// interface with index `interface`; a server joins the discovery group there.
    ///
    /// # Errors
    /// The port is taken, or the interface is missing.
    pub(crate) fn open(role: &Role, samp: &SampSettings, interface: u32) -> io::Result<Self> {
        let (socket, source, admission, (family, port)) = match role {
            Role::MobileNode { family, .. } => {
                (UdpSocket::bind(*family, SIP_PORT)?, None, None, (*family, SIP_PORT))
            }
            Role::SipServer { address, .. } => {
                let family = Family::of(address.ip());
                let socket = UdpSocket::bind(family, address.port())?;
                socket.join(samp.discovery_group(family), interface)?;
                let admission = Admission::new(samp.source_rate);
                (socket, Some(address.ip()), Some(admission), (family, address.port()))
            }
            Role::AccessRouter { .. } | Role::MobilityAgent(_) | Role::Flooder { .. } => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        Ok(Self {
            tcp: Tcp::listen(family, port, source)?,
            is_tcps_turn: false,
            socket,
            source,
            admission,
            interface,
            undelivered: VecDeque::new(),
            unparsable: 0,
            unsendable: 0,
        })
    }

    /// Waits for something to receive.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if !self.undelivered.is_empty() {
            return Ok(());
        }
        tokio::select! {
            ready = self.socket.readable() => ready,
            () = self.tcp.readable() => Ok(()),
        }
    }

    /// The node has another address, on the interface with this index, and gives up its connections.
    pub(crate) fn handle_address_change(&mut self, interface: u32) {
        self.interface = interface;
        self.tcp.close_all();
    }

    /// For how long all messages have waited too long; of interest at a server only.
    pub(crate) fn lag(&self, now: Time) -> Option<Duration> {
        self.admission.as_ref().map(|admission| admission.lag(now))
    }

    /// Takes the next datagram, if one waits; `is_behind` says that the node cannot take more for another reason.
    ///
    /// # Errors
    /// The socket is broken; what a peer sends is never an error.
    pub(crate) fn try_receive(&mut self, is_behind: bool) -> io::Result<Received> {
        if let Some(transmit) = self.undelivered.pop_front() {
            return Ok(Received::Message(now(), Input::TransportError(transmit)));
        }
        self.is_tcps_turn = !self.is_tcps_turn;
        if self.is_tcps_turn
            && let Some((at, input)) = self.tcp.try_receive(&mut self.undelivered)
        {
            return Ok(Received::Message(at, input));
        }
        let Some(datagram) = self.socket.try_receive()? else {
            if let Some(admission) = &mut self.admission {
                admission.note_empty();
            }
            return Ok(match self.tcp.try_receive(&mut self.undelivered) {
                Some((at, input)) => Received::Message(at, input),
                None => Received::Nothing,
            });
        };
        let waited = if is_behind { Duration::MAX } else { datagram.waited };
        if let Some(admission) = &mut self.admission
            && !admission.admits(datagram.at, datagram.from.ip(), waited)
        {
            if admission.dropped().is_power_of_two() {
                tracing::warn!(from = %datagram.from, dropped = admission.dropped(), "too many messages");
            }
            return Ok(Received::Dropped);
        }
        match sip::parse(datagram.payload) {
            Ok(message) => {
                let (from, to, transport) = (datagram.from, datagram.to, Transport::Udp);
                let bytes = transport.datagram_length(from.ip(), datagram.payload.len());
                let input = Input::Message { from, to, transport, message, bytes };
                Ok(Received::Message(datagram.at, input))
            }
            Err(error) => {
                self.unparsable += 1;
                let (from, unparsable) = (datagram.from, self.unparsable);
                let refusal = sip::refusal(datagram.payload, from).filter(|_| !datagram.to.is_multicast());
                let error = format!("{:#}", anyhow::Error::from(error));
                if unparsable.is_power_of_two() {
                    tracing::warn!(%from, error, unparsable, "no SIP message");
                }
                if let Some(refusal) = refusal {
                    self.send(&refusal);
                }
                Ok(Received::Dropped)
            }
        }
    }

    /// Sends a message. One that does not leave is lost, as it could be on the way: SIP sends it again.
    pub(crate) fn send(&mut self, transmit: &Transmit) {
        if transmit.transport == Transport::Tcp {
            if !self.tcp.send(transmit) {
                self.undelivered.push_back(transmit.clone());
            }
            return;
        }
        let is_multicast = transmit.destination.ip().is_multicast();
        let departure = Departure {
            source: self.source,
            interface: is_multicast.then_some(self.interface),
            ttl: transmit.ttl,
        };
        if let Err(error) = self.socket.send(&transmit.to_bytes(), transmit.destination, departure) {
            self.unsendable += 1;
            tracing::warn!(to = %transmit.destination, %error, unsendable = self.unsendable, "message not sent");
        }
    }
}
