//! The shape of every protocol node: what goes in, what comes out, and in which order a driver turns the crank.

use crate::mobile_ip::{Forwarding, Packet};
use crate::sip::{Message, Request, Response, Transport};
use crate::transaction::Hop;
use samp_model::{Event, Time, record::HandoffNumber};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A protocol node: no sockets, no clock, no threads.
///
/// After each `handle_*` the driver empties [`poll_event`](Node::poll_event) and
/// [`poll_transmit`](Node::poll_transmit), then arms its timer with [`poll_timeout`](Node::poll_timeout).
pub trait Node {
    /// Something arrived.
    fn handle_input(&mut self, now: Time, input: Input);
    /// The instant that [`poll_timeout`](Node::poll_timeout) named has come.
    fn handle_timeout(&mut self, now: Time);
    /// The next message to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// When to call [`handle_timeout`](Node::handle_timeout), if at all.
    fn poll_timeout(&self) -> Option<Time>;
    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<Output>;
    /// What the node keeps at this instant, for tests that hold it against a bound.
    fn census(&self, _now: Time) -> Census {
        Census::default()
    }
}

/// What a node keeps at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Transactions, with those that are answered and linger for stragglers.
    pub transactions: usize,
    /// Transactions that still wait for a final response, from the network or from this node.
    pub unanswered: usize,
    /// What waits for a response or a choice above the transactions: registrations, forwarded requests, discoveries.
    pub pending: usize,
    /// Questions to other servers about ring and records, each an unanswered transaction.
    pub asked: usize,
    /// Calls at this end, established or not.
    pub calls: usize,
    /// Entries of location caches, too old ones included.
    pub cached: usize,
    /// Records of bindings, as home server, replica and anchor, removed ones that are still remembered included.
    pub records: usize,
    /// Addresses-of-record of which this node holds live bindings, as home server or replica.
    pub home: Vec<String>,
    /// Addresses-of-record of which this node holds live bindings, as anchor.
    pub anchored: Vec<String>,
}

/// What can reach a node.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all input is a message, moved once and never stored")]
pub enum Input {
    /// A SIP message.
    Message {
        /// The sender's address and port.
        from: SocketAddr,
        /// The address it came to: one of the node's own, or the discovery group.
        to: IpAddr,
        /// How it came.
        transport: Transport,
        /// Length of its IP datagram, for who records it; see [`Transport::datagram_length`].
        bytes: u32,
        /// The message.
        message: Message,
    },
    /// A message of the node's could not be sent, as no connection could be had (RFC 3261 §18.4).
    TransportError(Transmit),
    /// Server: for so long, all messages have waited too long before they came here.
    Lag(Duration),
    /// Mobile node: the radio is about to leave its access router.
    LinkGoingDown {
        /// Which handoff begins with this.
        handoff: HandoffNumber,
        /// The next access router.
        access_router: String,
    },
    /// Mobile node: the radio is behind another access router.
    LinkTrigger {
        /// Which handoff; 0 is the first attachment.
        handoff: HandoffNumber,
    },
    /// Mobile node: the new care-of address is usable; the old one is gone, or goes soon.
    AddressConfigured {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The care-of address.
        address: IpAddr,
    },
    /// Mobile node: call this address-of-record.
    Call {
        /// The callee.
        callee: String,
        /// The Call-ID to use.
        call: String,
    },
    /// Mobile node: end one call, or all.
    HangUp {
        /// The call.
        call: Option<String>,
    },
    /// Mobile node: move a call to another terminal.
    Transfer {
        /// The call.
        call: String,
        /// The terminal's URI.
        target: String,
    },
    /// Mobile IPv6: a datagram with a Mobility Header.
    Packet(Box<Packet>),
    /// HMIPv6, mobile node: the mobility anchor point that the router of the new link tells of (RFC 5380 §4), before
    /// the new address is configured.
    MapAdvertised(Option<Ipv6Addr>),
    /// Mobile IPv6, agent: somebody else has an address that a mobile node wants to register (RFC 4862 §5.4).
    DuplicateAddress(Ipv6Addr),
    /// Mobile IPv6: a datagram with a home address came from a care-of address that it is not bound to.
    UnknownBinding {
        /// The home address.
        home: Ipv6Addr,
        /// Its source address.
        care_of: Ipv6Addr,
    },
    /// Mobile IPv6: a datagram has gone to this peer, as [`Forwarding::Watch`] wanted to be told.
    InUse(Ipv6Addr),
    /// Server: leave the ring.
    Leave,
    /// Mobile node: leave; its servers are to forget it.
    Deregister,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// How.
    pub transport: Transport,
    /// What; shared with the transaction that may have to send it again.
    pub message: Arc<Message>,
    /// Its wire form, where a transaction has made it already.
    pub wire: Option<Arc<[u8]>>,
    /// Time to live, for multicast.
    pub ttl: Option<u8>,
}

impl Transmit {
    /// A message to send to one receiver.
    pub fn new(destination: SocketAddr, transport: Transport, message: Arc<Message>) -> Self {
        Self { destination, transport, message, wire: None, ttl: None }
    }

    /// The message in its wire form.
    pub fn to_bytes(&self) -> Arc<[u8]> {
        self.wire.clone().unwrap_or_else(|| self.message.to_bytes().into())
    }

    /// The same, with its wire form, which then is not made again.
    pub fn encoded(mut self) -> Self {
        self.wire = Some(self.to_bytes());
        self
    }

    /// A request to send outside of any transaction.
    pub(crate) fn request(hop: impl Into<Hop>, mut request: Request) -> Self {
        let hop = hop.into();
        let (destination, transport) = (hop.address, hop.transport_for(&request));
        if let Some(via) = request.headers.via.first_mut() {
            via.set_transport(transport);
        }
        Self::new(destination, transport, Arc::new(Message::Request(request)))
    }

    /// A response, to where its topmost Via says (RFC 3261 §18.2.2); none when that names no address.
    pub(crate) fn response(response: Response) -> Option<Self> {
        let via = response.headers.via.first()?;
        let (destination, transport) = (via.response_address()?, via.transport());
        Some(Self::new(destination, transport, Arc::new(Message::Response(response))))
    }
}

/// What a node tells its driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To be recorded; the driver adds instant and name.
    Record(Event),
    /// To be done to the media streams.
    Media(MediaCommand),
    /// Mobile IPv6: to be sent, in its place among the changes of what goes where.
    Packet(Box<Packet>),
    /// Mobile IPv6: to be done to datagrams from now on.
    Forwarding(Forwarding),
    /// A server has left the ring, as [`Input::Leave`] wanted: it may be ended without loss.
    Left,
}

/// What to do to the media streams of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaCommand {
    /// Begin to send and to expect media.
    Start {
        /// The call.
        call: String,
        /// Where the peer receives.
        remote: SocketAddr,
        /// The synchronisation source of what is sent (RFC 3550 §8).
        ssrc_send: u32,
        /// The synchronisation source of what is expected.
        ssrc_receive: u32,
    },
    /// The peer has moved.
    Retarget {
        /// The call.
        call: String,
        /// Where the peer receives now.
        remote: SocketAddr,
    },
    /// The call is over.
    Stop {
        /// The call.
        call: String,
    },
}
