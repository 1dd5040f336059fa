//! What is to be done with datagrams: the state machines say it, the driver keeps this table and does it. No state machine
//! ever sees payload.
//!
//! ```text
//! mobile node   from its home address  ▶ [care-of ▶ home agent]       home agent, MAP   to a bound address ▶ [agent ▶ care-of]
//!               with route optimisation, to a peer: care-of address as source and Home Address option (RFC 6275 §11.3.1),
//!               the peer's care-of address as destination and type 2 routing header (§9.3.2)
//! ```
//! In HMIPv6 the care-of address is the regional one, from which another tunnel leads to the MAP (RFC 5380 §6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// Bytes of an IPv6 header.
const IPV6_HEADER: usize = 40;
/// Bytes of a Home Address option with its header, and of a type 2 routing header.
const EXTENSION: usize = 24;
/// Headers around a datagram at most.
const MAX_DEPTH: usize = 4;

/// A change of a node's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Datagrams from this address of the node's own go into a tunnel between these two, or, with none, as they are.
    From(Ipv6Addr, Option<[Ipv6Addr; 2]>),
    /// An agent: so do those to this address, for which it answers on its subnet (RFC 6275 §10.4.1).
    To(Ipv6Addr, Option<[Ipv6Addr; 2]>),
    /// Route optimisation: to this peer, datagrams leave with this source address and a Home Address option.
    Direct(Ipv6Addr, Option<Ipv6Addr>),
    /// Route optimisation: to this peer, they go to this address with a type 2 routing header.
    Reach(Ipv6Addr, Option<Ipv6Addr>),
    /// Route optimisation: the next datagram to this peer is to be told of, once ([`Input::InUse`](crate::Input::InUse)).
    Watch(Ipv6Addr),
}

/// What is around a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Source and destination address of the header.
    pub ends: [Ipv6Addr; 2],
    /// How many bytes it adds.
    pub bytes: usize,
    /// Whether it is a header of its own (a tunnel's) or the datagram's own with addresses replaced.
    pub is_tunnel: bool,
}

/// A node's table.
#[derive(Clone, Debug, Default)]
pub struct ForwardingTable {
    from: BTreeMap<Ipv6Addr, [Ipv6Addr; 2]>,
    to: BTreeMap<Ipv6Addr, [Ipv6Addr; 2]>,
    direct: BTreeMap<Ipv6Addr, Ipv6Addr>,
    reach: BTreeMap<Ipv6Addr, Ipv6Addr>,
    watched: BTreeSet<Ipv6Addr>,
}

impl ForwardingTable {
    /// Takes a change in.
    pub fn apply(&mut self, change: Forwarding) {
        fn set<T>(map: &mut BTreeMap<Ipv6Addr, T>, address: Ipv6Addr, value: Option<T>) {
            match value {
                Some(value) => drop(map.insert(address, value)),
                None => drop(map.remove(&address)),
            }
        }
        match change {
            Forwarding::From(address, tunnel) => set(&mut self.from, address, tunnel),
            Forwarding::To(address, tunnel) => set(&mut self.to, address, tunnel),
            Forwarding::Direct(peer, care_of) => set(&mut self.direct, peer, care_of),
            Forwarding::Reach(peer, care_of) => {
                self.watched.remove(&peer);
                set(&mut self.reach, peer, care_of);
            }
            Forwarding::Watch(peer) => drop(self.watched.insert(peer)),
        }
    }

    /// Whether it is to be told that a datagram goes to this address; it is not to be told again.
    pub fn take_watch(&mut self, destination: Ipv6Addr) -> bool {
        self.watched.remove(&destination)
    }

    /// Whether what leaves from this address goes into a tunnel.
    pub fn has_tunnel_from(&self, address: Ipv6Addr) -> bool {
        self.from.contains_key(&address)
    }

    /// What goes around a datagram between these two when it leaves this node, the outermost last. Messages of the
    /// Mobility Header never take optimised routes (RFC 6275 §6.1).
    pub fn wrap(&self, source: Ipv6Addr, destination: Ipv6Addr, is_mobility: bool) -> Vec<Outer> {
        let mut around = Vec::new();
        let (mut from, mut to) = (source, destination);
        if !is_mobility {
            let (direct, reach) = (self.direct.get(&to), self.reach.get(&to));
            let bytes = EXTENSION * (usize::from(direct.is_some()) + usize::from(reach.is_some()));
            (from, to) = (*direct.unwrap_or(&from), *reach.unwrap_or(&to));
            if bytes > 0 {
                around.push(Outer { ends: [from, to], bytes, is_tunnel: false });
            }
        }
        while around.len() < MAX_DEPTH
            && let Some(&ends) = self.to.get(&to).or_else(|| self.from.get(&from))
        {
            around.push(Outer { ends, bytes: IPV6_HEADER, is_tunnel: true });
            [from, to] = ends;
        }
        around
    }

    /// Whether a datagram that came in this header is taken out of it: by an agent only what has a source that is bound to
    /// the tunnel's other end (RFC 6275 §10.4.5), by a mobile node what its agent has sent to any of its addresses, as
    /// the one before may still be good, and with a home address only where that is known (§9.3.1).
    pub fn admits(&self, outer: Outer, source: Ipv6Addr) -> bool {
        let [from, to] = outer.ends;
        if !outer.is_tunnel {
            return source == from || self.reach.get(&source) == Some(&from);
        }
        self.to.get(&source) == Some(&[to, from]) || self.from.values().any(|[_, agent]| *agent == from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
    }

    #[test]
    fn tunnels_nest_and_let_in_only_what_is_bound() {
        let [home, regional, care_of, agent, map, peer] = [1, 2, 3, 4, 5, 6].map(address);
        let mut node = ForwardingTable::default();
        assert_eq!(node.wrap(home, peer, false), []);
        node.apply(Forwarding::From(home, Some([regional, agent])));
        node.apply(Forwarding::From(regional, Some([care_of, map])));
        let ends = |around: Vec<Outer>| around.iter().map(|outer| outer.ends).collect::<Vec<_>>();
        assert_eq!(ends(node.wrap(home, peer, false)), [[regional, agent], [care_of, map]]);
        assert_eq!(ends(node.wrap(regional, agent, true)), [[care_of, map]]);
        let outer = |from, to| Outer { ends: [from, to], bytes: 40, is_tunnel: true };
        assert!(node.admits(outer(map, care_of), peer) && !node.admits(outer(peer, care_of), peer));

        let mut at_agent = ForwardingTable::default();
        at_agent.apply(Forwarding::To(home, Some([agent, regional])));
        assert_eq!(ends(at_agent.wrap(peer, home, false)), [[agent, regional]]);
        assert!(at_agent.admits(outer(regional, agent), home));
        assert!(!at_agent.admits(outer(care_of, agent), home), "not where it is bound to");
        assert!(!at_agent.admits(outer(regional, agent), peer), "somebody else's");
        at_agent.apply(Forwarding::To(home, None));
        assert_eq!(at_agent.wrap(peer, home, false), []);
    }

    #[test]
    fn optimised_routes_replace_addresses_but_not_for_mobility_messages() {
        let [home, care_of, agent, peer, peer_care_of] = [1, 2, 3, 4, 5].map(address);
        let mut node = ForwardingTable::default();
        node.apply(Forwarding::From(home, Some([care_of, agent])));
        node.apply(Forwarding::Reach(peer, Some(peer_care_of)));
        let around = node.wrap(home, peer, false);
        assert_eq!(around.len(), 2, "to where the peer is, by way of the home agent");
        assert_eq!((around[0].ends, around[0].bytes), ([home, peer_care_of], 24));
        assert_eq!(around[1].ends, [care_of, agent]);
        node.apply(Forwarding::Direct(peer, Some(care_of)));
        let around = node.wrap(home, peer, false);
        assert_eq!(around, [Outer { ends: [care_of, peer_care_of], bytes: 48, is_tunnel: false }]);
        assert_eq!(node.wrap(home, peer, true)[0].ends, [care_of, agent]);
        node.apply(Forwarding::Watch(peer));
        assert!(!node.take_watch(home) && node.take_watch(peer) && !node.take_watch(peer), "it is told once");
        node.apply(Forwarding::Watch(peer));
        node.apply(Forwarding::Reach(peer, Some(peer_care_of)));
        assert!(!node.take_watch(peer), "the binding is another one");
        let from_peer = Outer { ends: [peer_care_of, care_of], bytes: 48, is_tunnel: false };
        assert!(node.admits(from_peer, peer));
        assert!(!node.admits(Outer { ends: [agent, care_of], ..from_peer }, peer), "no such binding");
    }
}
