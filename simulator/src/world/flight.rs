//! Messages between the nodes of a world: sent, lost, delivered, or brought back to a sender that needs a connection.

use super::{SIP_PORT, World};
use samp_protocol::sip::{self, Message, Transport};
use samp_protocol::{Input, Transmit};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection to where nobody is is tried, as the node agent does.
const CONNECTING: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(super) struct InFlight {
    from: SocketAddr,
    to: SocketAddr,
    /// The group, for a multicast message; `to` is then one of its members.
    group: Option<IpAddr>,
    transport: Transport,
    message: Arc<Message>,
    /// On its way back: it could not be delivered.
    undelivered: bool,
}

impl World {
    pub(super) fn deliver(&mut self, arrived: InFlight) {
        let InFlight { from, to, group, transport, message, undelivered } = arrived;
        let receiver = self.owners.get(&if undelivered { from } else { to }.ip()).copied();
        if undelivered {
            if let Some(id) = receiver {
                let transmit = Transmit::new(to, transport, message);
                self.input(id, Input::TransportError(transmit));
            }
            return;
        }
        let Some(id) = receiver else {
            self.trace.message(self.now, "nobody is there", from.ip(), to.ip(), &message);
            let refusal = self.refusal(to.ip(), from.ip()).unwrap_or(CONNECTING);
            return self.bounce(refusal, InFlight { from, to, group, transport, message, undelivered });
        };
        self.trace.message(self.now, "arrived", from.ip(), to.ip(), &message);
        let (to, message) = (group.unwrap_or(to.ip()), Arc::unwrap_or_clone(message));
        self.input(id, Input::Message { from, to, transport, message });
    }

    /// Tells the sender after this time that there is no connection, if the message needs one.
    fn bounce(&mut self, after: Duration, message: InFlight) {
        if message.transport == Transport::Tcp {
            self.fly(after, InFlight { undelivered: true, ..message });
        }
    }

    /// How long the refusal of a connection is on its way: a server's host answers for a process that is dead. Where a
    /// mobile node was, nobody answers.
    fn refusal(&mut self, by: IpAddr, to: IpAddr) -> Option<Duration> {
        let by = self.places.get(&by).filter(|place| place.mobile_node.is_none())?;
        self.network.send(&self.topology, *by, *self.places.get(&to)?, true)[0]
    }

    pub(super) fn transmit(&mut self, source: IpAddr, transmit: Transmit) {
        let Transmit { destination: to, transport, message, .. } = transmit;
        let message = if self.over_the_wire {
            Arc::new(sip::parse(&message.to_bytes()).expect("what a node sends, a node can read"))
        } else {
            message
        };
        let from = SocketAddr::new(source, SIP_PORT);
        if to.ip() != self.topology.samp.discovery_group(self.topology.family) {
            return self.send(InFlight { from, to, group: None, transport, message, undelivered: false });
        }
        for index in 0..self.servers.len() {
            let member = SocketAddr::new(self.servers[index].1, to.port());
            let message = message.clone();
            self.send(InFlight {
                from,
                to: member,
                group: Some(to.ip()),
                transport,
                message,
                undelivered: false,
            });
        }
    }

    fn send(&mut self, message: InFlight) {
        let (from, to) = (message.from.ip(), message.to.ip());
        let places = self.places.get(&from).zip(self.places.get(&to));
        let is_stream = message.transport == Transport::Tcp;
        let delays = places.map(|(from, to)| self.network.send(&self.topology, *from, *to, is_stream));
        let [first, second] = delays.unwrap_or_default();
        let Some(first) = first else {
            self.trace.message(self.now, "lost", from, to, &message.message);
            return self.bounce(CONNECTING, message);
        };
        if let Some(second) = second {
            self.fly(second, message.clone());
        }
        self.fly(first, message);
    }

    fn fly(&mut self, delay: Duration, message: InFlight) {
        self.sent += 1;
        self.in_flight.insert((self.now + delay, self.sent), Box::new(message));
    }
}
