//! Mobile IPv6: tunnels and optimised routes, done to datagrams as the nodes have said.

use super::flight::InFlight;
use super::{Actor, World};
use crate::network::Place;
use samp_model::NodeId;
use samp_protocol::Input;
use samp_protocol::mobile_ip::{Outer, Packet};
use std::net::{IpAddr, Ipv6Addr};

/// Agents that a datagram passes at most: two of each end's, and as many more for what never happens.
const MAX_AGENTS: u8 = 8;

impl World {
    /// Whether nodes keep their addresses.
    pub(super) fn is_mobile_ip(&self) -> bool {
        self.topology.mobility.protocol.is_mobile_ip()
    }

    /// Who hears what is sent to an address: who has it, or else the agent that answers for it.
    pub(super) fn owner(&self, address: IpAddr) -> Option<NodeId> {
        let served = || self.agents.serving(address).filter(|agent| self.is_running(*agent));
        self.owners.get(&address).copied().or_else(served)
    }

    /// Where an address is, or where it was last.
    pub(super) fn place(&self, address: IpAddr) -> Option<Place> {
        let served = || {
            let agent = self.topology.node(self.agents.serving(address)?).address()?;
            self.places.get(&agent)
        };
        self.places.get(&address).or_else(served).copied()
    }

    /// Who sends from this address.
    pub(super) fn sender(&self, address: IpAddr) -> Option<NodeId> {
        self.homes.get(&address).or_else(|| self.owners.get(&address)).copied()
    }

    /// Sends what one node has to send, inside of what its table says.
    pub(super) fn send_from(&mut self, id: NodeId, mut datagram: InFlight) {
        if self.is_mobile_ip() {
            if let Some(actor) = &self.actors[id.0] {
                datagram.wrap(actor, datagram.is_mobility());
            }
            // From a care-of address that it does not have any more, nothing comes out.
            if self.owners.get(&datagram.outermost()[0]) != Some(&id) {
                return self.lose("unsendable", datagram);
            }
        }
        self.send(datagram);
    }

    /// Takes out of its headers what has come to where the outermost leads. Says who gets it, unless it goes on from there.
    pub(super) fn unwrap(&mut self, mut datagram: InFlight) -> Option<(NodeId, InFlight)> {
        let Some(id) = self.owner(datagram.outermost()[1]) else {
            self.nobody_there(datagram);
            return None;
        };
        let is_here = |actor: &&Actor| actor.paused.is_none() || datagram.around.is_empty();
        let Some(actor) = self.actors[id.0].as_ref().filter(is_here) else {
            self.lose("not forwarded", datagram);
            return None;
        };
        loop {
            let [from, to] = datagram.outermost();
            if self.owners.get(&to) != Some(&id) && !actor.keeps(to) {
                datagram.wrap(actor, true);
                datagram.agents += 1;
                let goes_on = datagram.outermost() != [from, to] || self.owner(to) != Some(id);
                if goes_on && datagram.agents <= MAX_AGENTS {
                    self.send(datagram);
                } else {
                    self.lose("not bound", datagram);
                }
                return None;
            }
            let Some(outer) = datagram.around.pop() else { return Some((id, datagram)) };
            let [source, _] = datagram.outermost();
            if !v6(source).is_some_and(|source| actor.table.admits(outer, source)) {
                self.refuse(id, outer, source);
                self.lose("not admitted", datagram);
                return None;
            }
        }
    }

    /// What came in this header was not for this node to believe. A home address without a binding is told of.
    fn refuse(&mut self, id: NodeId, outer: Outer, source: IpAddr) {
        if let (false, Some(home)) = (outer.is_tunnel, v6(source)) {
            self.input(id, Input::UnknownBinding { home, care_of: outer.ends[0] });
        }
    }

    /// Sends a message of the Mobility Header, which `around` was wrapped when the node said it.
    pub(super) fn send_packet(&mut self, id: NodeId, packet: Packet, around: Vec<Outer>) {
        let datagram = InFlight::mobility(packet, around);
        if self.owners.get(&datagram.outermost()[0]) == Some(&id) {
            self.send(datagram);
        } else {
            self.lose("unsendable", datagram);
        }
    }
}

impl Actor {
    /// Whether an address that others serve is this node's own: its home address, or a regional one that it tunnels from.
    fn keeps(&self, address: IpAddr) -> bool {
        self.home == Some(address) || v6(address).is_some_and(|address| self.table.has_tunnel_from(address))
    }
}

pub(super) fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}
