//! The ring as it ought to be: every member at its place, with all its fingers, and the ways that lookups take there.

use super::fingers::start;
use super::{Chord, NextHop, Peer};
use samp_model::settings::ChordSettings;
use samp_model::{OverlayId, Time};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// An ideal ring, on which nobody joins or leaves. Servers and members are named by their numbers.
#[derive(Debug)]
pub struct IdealRing {
    chords: Vec<Chord>,
    numbers: BTreeMap<SocketAddr, usize>,
    members: Vec<Peer>,
}

impl IdealRing {
    /// The ring of these servers, of which there is one at least and no two at one address. Server `n` is the `n`-th.
    pub fn new(servers: &[SocketAddr], settings: &ChordSettings) -> Self {
        let numbers = servers.iter().enumerate().map(|(number, &server)| (server, number));
        Self {
            chords: chords(servers, settings, Time::ZERO),
            numbers: numbers.collect(),
            members: members_of(servers.iter().copied(), settings.virtual_nodes),
        }
    }

    /// How many members it has: `virtual_nodes` for each server.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The member that owns a key.
    pub fn owner(&self, key: OverlayId) -> usize {
        owner_among(&self.members, key)
    }

    /// The server that a member belongs to.
    pub fn server_of(&self, member: usize) -> usize {
        self.numbers[&self.members[member].address]
    }

    /// The servers that a lookup of a member's keys passes on its way from a server, the owner's last; none when it
    /// begins there. All keys of a member take the same way, as no other member lies between them.
    pub fn way(&self, from: usize, member: usize) -> Vec<usize> {
        let limit = 2 * self.chords.len();
        let reach = |_, to| self.numbers.get(&to).map(|&number| &self.chords[number]);
        let way = way(self.chords[from].address, self.members[member].id, limit, reach);
        let way = way.expect("on an ideal ring every lookup ends at the owner");
        way.into_iter().map(|server| self.numbers[&server]).collect()
    }

    /// How many other servers a server asks for a sign of life in every period.
    pub fn peers_of(&self, server: usize) -> usize {
        let chord = &self.chords[server];
        chord.known().map(|peer| peer.address).collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// All members that these servers are, in the order of their identifiers.
pub(super) fn members_of(servers: impl IntoIterator<Item = SocketAddr>, virtual_nodes: usize) -> Vec<Peer> {
    let numbers = 0..virtual_nodes as u16;
    let of_server = |server| numbers.clone().map(move |number| Peer::virtual_node(server, number));
    let mut peers: Vec<_> = servers.into_iter().flat_map(of_server).collect();
    peers.sort();
    peers
}

/// The number of the one that owns a key among `ring`, all members in order.
pub(super) fn owner_among(ring: &[Peer], key: OverlayId) -> usize {
    ring.partition_point(|peer| peer.id < key) % ring.len()
}

/// The servers' views of their ideal ring.
pub(super) fn chords(servers: &[SocketAddr], settings: &ChordSettings, now: Time) -> Vec<Chord> {
    let all = members_of(servers.iter().copied(), settings.virtual_nodes);
    let of_server = |&server: &SocketAddr| {
        let join = Some(servers[0]).filter(|first| *first != server);
        let mut chord = Chord::new(server, settings.clone(), join, now);
        chord.place(&all);
        for index in 0..chord.members.len() {
            for exponent in 0..OverlayId::BITS {
                if let Some(key) = start(&chord.members[index], exponent) {
                    let owner = all[owner_among(&all, key)];
                    if owner.address != server {
                        chord.fingers.set((index, exponent), owner);
                    }
                }
            }
        }
        chord
    };
    servers.iter().map(of_server).collect()
}

/// The servers that a lookup passes, as all of them route it, the owner's last. `reach` is a server as seen from the
/// one before, or none when it is not reached; then, and after `limit` hops, the lookup has failed.
pub(super) fn way<'a>(
    from: SocketAddr,
    key: OverlayId,
    limit: usize,
    reach: impl Fn(SocketAddr, SocketAddr) -> Option<&'a Chord>,
) -> Option<Vec<SocketAddr>> {
    let (mut chord, mut owner) = (reach(from, from)?, None);
    let mut way = Vec::new();
    while way.len() <= limit {
        let hop = match owner {
            Some(owner) => chord.next_hop_at(owner, key),
            None => chord.next_hop(key),
        };
        let next = match hop {
            NextHop::Here => return Some(way),
            NextHop::Owner(peer) => {
                owner = Some(peer.id);
                peer.address
            }
            NextHop::Nearer(peer) => {
                owner = None;
                peer.address
            }
            NextHop::Unknown => return None,
        };
        chord = reach(chord.address, next)?;
        way.push(next);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::identifier_of;

    #[test]
    fn ways_lead_to_the_owner_and_are_those_of_its_keys() {
        let servers: Vec<_> = (1..=20).map(|number| SocketAddr::from(([10, 0, 0, number], 5060))).collect();
        for virtual_nodes in [1, 4] {
            let settings = ChordSettings { virtual_nodes, ..ChordSettings::default() };
            let ring = IdealRing::new(&servers, &settings);
            assert_eq!(ring.members(), 20 * virtual_nodes);
            for number in 0..100 {
                let key = identifier_of(&format!("sip:mn{number}@samp.test"));
                let owner = ring.owner(key);
                for (from, &server) in servers.iter().enumerate() {
                    let reach = |_, to| ring.numbers.get(&to).map(|&number| &ring.chords[number]);
                    let of_key: Vec<_> = way(server, key, 40, reach).unwrap();
                    let of_key: Vec<_> = of_key.into_iter().map(|server| ring.numbers[&server]).collect();
                    let way = ring.way(from, owner);
                    assert_eq!(way, of_key);
                    assert_eq!(way.last().copied().unwrap_or(from), ring.server_of(owner));
                }
            }
        }
    }

    #[test]
    fn who_is_alone_owns_everything() {
        let ring = IdealRing::new(&[SocketAddr::from(([10, 0, 0, 1], 5060))], &ChordSettings::default());
        assert_eq!((ring.members(), ring.owner(identifier_of("a")), ring.peers_of(0)), (1, 0, 0));
        assert_eq!(ring.way(0, 0), [0_usize; 0]);
    }
}
