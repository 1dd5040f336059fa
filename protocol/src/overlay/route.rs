//! The way to the owner of a key.

use super::member::Member;
use super::{Chord, Peer};
use samp_model::OverlayId;
use std::net::SocketAddr;

/// Where a key leads from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// This server owns it.
    Here,
    /// This peer owns it, as far as is known here.
    Owner(Peer),
    /// This peer is nearer to its owner.
    Nearer(Peer),
    /// This server is no member of the ring yet.
    Unknown,
}

impl Chord {
    /// Whether, as far as is known here, a member of that server owns the key: nobody lies between the two.
    pub(crate) fn may_own(&self, server: SocketAddr, key: OverlayId) -> bool {
        let its = (0..self.settings.virtual_nodes).map(|number| Peer::virtual_node(server, number as u16).id);
        let nearest = its.reduce(|best, id| if is_nearer_behind(key, id, best) { id } else { best });
        let own = self.in_ring().map(|member| member.me().id);
        let mut others = own.chain(self.known().filter(|peer| peer.address != server).map(|peer| peer.id));
        nearest.is_some_and(|nearest| !others.any(|other| is_nearer_behind(key, other, nearest)))
    }

    /// Whether this server owns the key: it lies between a member's predecessor and that member.
    pub(crate) fn owns(&self, key: OverlayId) -> bool {
        self.arcs().any(|(_, arc)| arc.contains(key))
    }

    /// The member of this server that owns the key, or comes nearest behind it; none when none is in the ring.
    pub(crate) fn home(&self, key: OverlayId) -> Option<&Member> {
        self.in_ring().reduce(
            |best, member| {
                if is_nearer_behind(key, member.me().id, best.me().id) { member } else { best }
            },
        )
    }

    /// Where to send what concerns this key.
    pub(crate) fn next_hop(&self, key: OverlayId) -> NextHop {
        if self.owns(key) {
            return NextHop::Here;
        }
        // From the own member that comes nearest before the key, whose virtual nodes ever it passes.
        let nearest = self
            .in_ring()
            .reduce(|best, next| if next.me().id.between(best.me().id, key) { next } else { best });
        let Some(nearest) = nearest else { return self.heir.map_or(NextHop::Unknown, NextHop::Nearer) };
        if let Some(owner) = nearest.owner(key) {
            return if owner.address == self.address { NextHop::Here } else { NextHop::Owner(owner) };
        }
        let preceding = self.known().filter(|peer| peer.id.between(nearest.me().id, key));
        match preceding.reduce(|best, peer| if peer.id.between(best.id, key) { peer } else { best }) {
            Some(peer) => NextHop::Nearer(peer),
            None => NextHop::Unknown,
        }
    }

    /// As [`next_hop`](Self::next_hop), for what a peer sent here because it takes this member for the owner: if
    /// others have joined in between, one of them is.
    pub(crate) fn next_hop_at(&self, owner: OverlayId, key: OverlayId) -> NextHop {
        let Some(member) = self.in_ring().find(|member| member.me().id == owner) else {
            return self.next_hop(key);
        };
        match member.predecessor() {
            Some(peer) if !key.in_arc(peer.id, owner) && peer.address != self.address => NextHop::Owner(peer),
            _ => NextHop::Here,
        }
    }

    fn in_ring(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_in())
    }
}

/// Whether `one` lies nearer behind the key, or on it, than `other`.
fn is_nearer_behind(key: OverlayId, one: OverlayId, other: OverlayId) -> bool {
    one != other && (one == key || other != key && one.in_arc(key, other))
}
