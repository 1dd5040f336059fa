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
        let mut watched = None;
        if self.is_mobile_ip() {
            let destination = v6(datagram.outermost()[1]);
            if let Some(actor) = &self.actors[id.0] {
                datagram.wrap(actor, datagram.is_mobility());
            }
            // From a care-of address that it does not have any more, nothing comes out.
            if self.owners.get(&datagram.outermost()[0]) != Some(&id) {
                return self.lose("unsendable", datagram);
            }
            let table = self.actors[id.0].as_mut().map(|actor| &mut actor.table);
            watched = destination.zip(table).and_then(|(to, table)| table.take_watch(to).then_some(to));
        }
        self.send(datagram);
        if let Some(peer) = watched {
            self.input(id, Input::InUse(peer));
        }
    }

    /// Takes out of its headers what has come to where the outermost leads; what goes on from there is passed on.
    pub(super) fn unwrap(&mut self, id: NodeId, mut datagram: InFlight) -> Option<InFlight> {
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
            let Some(outer) = datagram.around.pop() else { return Some(datagram) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;
    use samp_protocol::mobile_ip::{Message, Update};
    use std::path::Path;
    use std::time::Duration;

    /// mn2 says that mn1's home address is where mn2 is.
    #[test]
    fn a_forged_update_is_believed_unless_updates_are_authenticated() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
        let shipped = std::fs::read_to_string(path).expect("the shipped topology");
        for (authentication, is_believed) in [("none", true), ("rfc4285", false)] {
            let knobs = format!("protocol: mipv6\nmobility: {{ authentication: {authentication} }}");
            let text = format!("family: ipv6\naddressing: {{ dad: off }}\n{knobs}\n{shipped}");
            let topology = topology::parse("city.yaml", &text).expect("a valid topology");
            let node = |name| topology.find(name).expect("a node");
            let [victim, thief, server] = ["mn1", "mn2", "s1"].map(node);
            let mut world = World::new(topology, 1);
            world.attach_all();
            world.run_for(Duration::from_secs(1));
            let (home, agent) = (world.agents.home_address(victim), world.agents.home_agent(victim));
            let (home, agent) = (home.expect("Mobile IP"), agent.expect("Mobile IP"));
            let care_of = |world: &World, node| world.address(node).and_then(v6).expect("an address");
            let bound = |world: &World| {
                let table = &world.actors[server.0].as_ref().expect("it runs").table;
                table.wrap(agent, home, true).first().expect("it is bound").ends[1]
            };
            assert_eq!(bound(&world), care_of(&world, victim));
            let update =
                Update { sequence: 1_000, home_registration: true, lifetime: 100, ..Update::default() };
            let forged = Packet {
                home: Some(home),
                ..Packet::new(care_of(&world, thief), agent, Message::Update(update))
            };
            world.send_packet(thief, forged, Vec::new());
            world.run_for(Duration::from_secs(1));
            let expected = if is_believed { thief } else { victim };
            assert_eq!(bound(&world), care_of(&world, expected), "{authentication}");
        }
    }
}
