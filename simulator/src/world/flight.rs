//! What is under way between the nodes of a world: sent, lost, delivered, or brought back to a sender that needs a connection.

use super::attachment::OnAir;
use super::floods::is_of_flood;
use super::mobile_ip::v6;
use super::{Actor, Happened, SIP_PORT, World};
use crate::network::Place;
use crate::wires::Hop;
use samp_model::{NodeId, Time};
use samp_protocol::mobile_ip::{Outer, Packet};
use samp_protocol::sip::{self, Message, Request, Transport};
use samp_protocol::{Input, Media, RTP_PORT, Transmit};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection to where nobody is is tried, as the node agent does.
const CONNECTING: Duration = Duration::from_secs(4);
/// Bytes of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

#[derive(Clone)]
pub(super) struct InFlight {
    from: SocketAddr,
    to: SocketAddr,
    /// The group, for a multicast message; `to` is then one of its members.
    group: Option<IpAddr>,
    transport: Transport,
    payload: Payload,
    /// On its way back: it could not be delivered.
    undelivered: bool,
    /// The radio link that it has just passed, or is on.
    lifted: Option<OnAir>,
    /// What lies ahead, the next last, where every hop counts.
    route: Vec<Hop>,
    /// Length of its IP datagram without what is around it; 0 where nobody asks for it.
    bytes: u32,
    /// With Mobile IPv6: what is around it, the outermost last.
    pub(super) around: Vec<Outer>,
    /// With Mobile IPv6: how many agents have passed it on.
    pub(super) agents: u8,
}

#[derive(Clone)]
enum Payload {
    Sip(Arc<Message>),
    Rtp(Arc<[u8]>),
    Mobility(Box<Packet>),
}

/// A message's way from one node to the next, or into and out of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// When it was sent.
    pub at: Time,
    /// Method or status and sequence number, as records have them.
    pub summary: String,
    /// Its Call-ID, or the home address that it is about.
    pub call: String,
    /// Links between routers on its way.
    pub links: u32,
}

impl InFlight {
    fn new(from: SocketAddr, to: SocketAddr, transport: Transport, payload: Payload, bytes: u32) -> Self {
        let (group, undelivered, lifted, route) = (None, false, None, Vec::new());
        let (around, agents) = (Vec::new(), 0);
        Self { from, to, group, transport, payload, undelivered, lifted, route, bytes, around, agents }
    }

    /// A message of the Mobility Header, with what its sender has put around it.
    pub(super) fn mobility(packet: Packet, around: Vec<Outer>) -> Self {
        let ends = [packet.source, packet.destination].map(|address| SocketAddr::new(address.into(), 0));
        let bytes = packet.length();
        let payload = Payload::Mobility(packet.into());
        Self { around, ..Self::new(ends[0], ends[1], Transport::Udp, payload, bytes) }
    }

    pub(super) fn is_mobility(&self) -> bool {
        matches!(self.payload, Payload::Mobility(_))
    }

    /// Source and destination of the outermost header.
    pub(super) fn outermost(&self) -> [IpAddr; 2] {
        match self.around.last() {
            Some(outer) => outer.ends.map(IpAddr::V6),
            None => [self.from.ip(), self.to.ip()],
        }
    }

    /// Puts what a node's table says around it.
    pub(super) fn wrap(&mut self, actor: &Actor, is_mobility: bool) {
        let [from, to] = self.outermost().map(v6);
        if let (Some(from), Some(to)) = (from, to) {
            self.around.extend(actor.table.wrap(from, to, is_mobility));
        }
    }

    /// What it is and what it belongs to, of what records tell of.
    fn described(&self) -> Option<(String, String)> {
        match &self.payload {
            Payload::Sip(message) => message.described(),
            Payload::Mobility(packet) => Some(packet.described()),
            Payload::Rtp(_) => None,
        }
    }

    /// Who has sent it, where it is a SIP message in a datagram.
    pub(super) fn datagram_from(&self) -> Option<IpAddr> {
        let is_datagram = self.message().is_some() && self.transport == Transport::Udp;
        is_datagram.then(|| self.from.ip())
    }

    fn message(&self) -> Option<&Arc<Message>> {
        match &self.payload {
            Payload::Sip(message) => Some(message),
            Payload::Rtp(_) | Payload::Mobility(_) => None,
        }
    }

    /// Length of its frame.
    fn frame_length(&self) -> usize {
        let around: usize = self.around.iter().map(|outer| outer.bytes).sum();
        ETHERNET_HEADER + around + self.bytes as usize
    }
}

impl World {
    /// Something is at the end of a hop, or of its whole way.
    pub(super) fn arrive(&mut self, mut arrived: InFlight) {
        if let Some(frame) = arrived.lifted.take()
            && self.was_left_behind(frame)
        {
            return self.lose("left behind", arrived);
        }
        if arrived.route.is_empty() { self.deliver(arrived) } else { self.hop(arrived) }
    }

    fn deliver(&mut self, arrived: InFlight) {
        let InFlight { from, to, undelivered, .. } = arrived;
        if undelivered {
            if let (Some(id), Payload::Sip(message)) = (self.sender(from.ip()), arrived.payload) {
                let transmit = Transmit::new(to, arrived.transport, message);
                self.input(id, Input::TransportError(transmit));
            }
            return;
        }
        if is_of_flood(to.port()) {
            if let Some(Message::Response(response)) = arrived.message().map(AsRef::as_ref) {
                self.answer_flood(to, response);
            }
            return;
        }
        let Some(id) = self.owner(arrived.outermost()[1]) else { return self.nobody_there(arrived) };
        if let Some(arrived) = self.queue(id, arrived) {
            self.receive(id, arrived);
        }
    }

    /// A node takes what has come for it, or passes it on.
    pub(super) fn receive(&mut self, id: NodeId, arrived: InFlight) {
        let from = arrived.from;
        let unwrapped = if self.is_mobile_ip() { self.unwrap(id, arrived) } else { Some(arrived) };
        let Some(arrived) = unwrapped else { return };
        self.note_passage("arrived", &arrived);
        let to = arrived.group.unwrap_or(arrived.to.ip());
        match arrived.payload {
            Payload::Sip(message) => {
                let (transport, message) = (arrived.transport, Arc::unwrap_or_clone(message));
                let bytes = arrived.bytes;
                self.input(id, Input::Message { from, to, transport, message, bytes });
            }
            Payload::Rtp(packet) => self.hear_media(id, from.ip(), to, &packet),
            Payload::Mobility(packet) => self.input(id, Input::Packet(packet)),
        }
    }

    pub(super) fn nobody_there(&mut self, arrived: InFlight) {
        self.note_passage("nobody is there", &arrived);
        let refusal = self.refusal(arrived.to.ip(), arrived.from.ip()).unwrap_or(CONNECTING);
        self.bounce(refusal, arrived);
    }

    fn note_passage(&mut self, what: &str, subject: &InFlight) {
        if let Some(message) = subject.message() {
            self.trace.message(self.now, what, subject.from.ip(), subject.to.ip(), message);
        }
    }

    /// It is gone; a sender that needs a connection will know.
    pub(super) fn lose(&mut self, how: &str, lost: InFlight) {
        self.note_passage(how, &lost);
        self.bounce(CONNECTING, lost);
    }

    /// Tells the sender after this time that there is no connection, if the message needs one.
    fn bounce(&mut self, after: Duration, message: InFlight) {
        if message.transport == Transport::Tcp {
            self.fly(self.now + after, InFlight { undelivered: true, route: Vec::new(), ..message });
        }
    }

    /// How long the refusal of a connection is on its way: a server's host answers for a process that is dead. Where a
    /// mobile node was, nobody answers.
    fn refusal(&mut self, by: IpAddr, to: IpAddr) -> Option<Duration> {
        let by = *self.places.get(&by).filter(|place| place.mobile_node.is_none())?;
        let to = *self.places.get(&to)?;
        let more = self.network.send(by, to, true)[0]?;
        Some(self.network.wires.delay(by, to)? + more)
    }

    pub(super) fn transmit(&mut self, id: NodeId, source: IpAddr, transmit: Transmit) {
        let Transmit { destination: to, transport, message, wire, ttl } = transmit;
        let bytes = wire.map_or(0, |wire| transport.datagram_length(to.ip(), wire.len()));
        let message = if self.over_the_wire {
            Arc::new(sip::parse(&message.to_bytes()).expect("what a node sends, a node can read"))
        } else {
            message
        };
        let from = SocketAddr::new(source, SIP_PORT);
        if to.ip() != self.topology.samp.discovery_group(self.topology.family) {
            return self.send_from(id, InFlight::new(from, to, transport, Payload::Sip(message), bytes));
        }
        for index in 0..self.servers.len() {
            let address = self.servers[index].1;
            if self.is_in_reach(source, address, ttl) {
                let member = SocketAddr::new(address, to.port());
                let message = InFlight::new(from, member, transport, Payload::Sip(message.clone()), bytes);
                self.send(InFlight { group: Some(to.ip()), ..message });
            }
        }
    }

    /// Sends a request that is no node's.
    pub(super) fn send_request(&mut self, from: SocketAddr, to: SocketAddr, request: Request) {
        let message = Message::Request(request);
        let bytes = Transport::Udp.datagram_length(to.ip(), message.to_bytes().len());
        self.send(InFlight::new(from, to, Transport::Udp, Payload::Sip(Arc::new(message)), bytes));
    }

    /// Whether a packet with this TTL passes all routers on its way: each takes one off, and the last may take none.
    fn is_in_reach(&mut self, from: IpAddr, to: IpAddr, ttl: Option<u8>) -> bool {
        let Some((from, to)) = self.places.get(&from).zip(self.places.get(&to)) else { return false };
        let routers = self.network.wires.routers(*from, *to);
        ttl.is_none_or(|ttl| routers.is_some_and(|routers| routers < ttl.into()))
    }

    pub(super) fn send(&mut self, mut message: InFlight) {
        let [from, to] = message.outermost().map(|address| self.place(address));
        let Some((from, to)) = from.zip(to) else {
            return self.lose("lost", message);
        };
        if self.legs.is_some() {
            self.note_leg(from, to, &message);
        }
        let is_stream = message.transport == Transport::Tcp;
        let [Some(first), second] = self.network.send(from, to, is_stream) else {
            return self.lose("lost", message);
        };
        if from.mobile_node.is_some_and(|mobile_node| self.is_between(mobile_node)) {
            return self.lose("lost", message);
        }
        if self.network.wires.every_hop_counts() {
            message.route = self.network.wires.route(&self.topology, from, to).unwrap_or_default();
            message.route.reverse();
            for more in [Some(first), second].into_iter().flatten() {
                self.fly(self.now + more, message.clone());
            }
            return;
        }
        let Some(delay) = self.network.wires.delay(from, to) else { return self.lose("lost", message) };
        if let Some(sender) = from.mobile_node {
            let [up, _] = self.network.wires.radio_delays(sender);
            message.lifted = Some(self.note_on_air(sender, from.vertex, self.now, self.now + up));
        }
        for more in [Some(first), second].into_iter().flatten() {
            let arrival = self.now + delay + more;
            if let Some(receiver) = to.mobile_node {
                let [_, down] = self.network.wires.radio_delays(receiver);
                let onto_air = Time::from_nanos(arrival.as_nanos() - down.as_nanos() as u64);
                self.note_on_air(receiver, to.vertex, onto_air, arrival);
            }
            self.fly(arrival, message.clone());
        }
    }

    fn note_leg(&mut self, from: Place, to: Place, message: &InFlight) {
        let (Some((summary, call)), Some(links)) =
            (message.described(), self.network.wires.routers(from, to))
        else {
            return;
        };
        // A server's own link is none between routers.
        let own = [from, to].iter().filter(|place| place.vertex != place.router).count() as u32;
        let leg = Leg { at: self.now, summary, call, links: u32::from(links) - own };
        self.legs.get_or_insert_default().push(leg);
    }

    /// Passes the next hop.
    fn hop(&mut self, mut message: InFlight) {
        let Some(hop) = message.route.pop() else { return };
        let is_stream = message.transport == Transport::Tcp;
        let departures = self.network.wires.pass(self.now, hop, message.frame_length(), is_stream);
        if departures == [None; 2] {
            return self.lose("lost", message);
        }
        for departure in departures.into_iter().flatten() {
            let mut message = message.clone();
            if let Hop::Radio(mobile_node, way) = hop
                && let Some(place) = self.place(message.outermost()[way])
            {
                message.lifted = Some(self.note_on_air(mobile_node, place.vertex, self.now, departure));
            }
            self.fly(departure, message);
        }
    }

    fn fly(&mut self, arrival: Time, message: InFlight) {
        self.sent += 1;
        self.in_flight.insert((arrival, self.sent), Box::new(message));
    }

    /// Sends what media of a node's calls is due.
    pub(super) fn send_media(&mut self, id: NodeId) {
        let now = self.now;
        let Some(actor) = self.actors[id.0].as_mut().filter(|actor| actor.paused.is_none()) else { return };
        let source = actor.address.and(actor.home).or(actor.address);
        let Some(streams) = &mut actor.streams else { return };
        let mut packets: Vec<(SocketAddr, Arc<[u8]>)> = Vec::new();
        streams.send_due(now, |packet, to| {
            packets.push((to, Arc::from(packet)));
            Ok(())
        });
        // Without an address none of it can be sent.
        let Some(source) = source else { return };
        let from = SocketAddr::new(source, RTP_PORT);
        for (to, packet) in packets {
            let bytes = Transport::Udp.datagram_length(to.ip(), packet.len());
            self.send_from(id, InFlight::new(from, to, Transport::Udp, Payload::Rtp(packet), bytes));
        }
    }

    fn hear_media(&mut self, id: NodeId, from: IpAddr, to: IpAddr, packet: &[u8]) {
        let now = self.now;
        let Some(actor) = self.actors[id.0].as_mut().filter(|actor| actor.paused.is_none()) else { return };
        let Some(streams) = &mut actor.streams else { return };
        streams.handle_datagram(now, from, to, packet);
        while let Some((at, event)) = actor.streams.as_mut().and_then(Media::poll_event) {
            self.happened.push(Happened { at, node: id, event });
        }
    }
}
