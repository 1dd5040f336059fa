//! The way to the owner of a key.

use super::member::Member;
use super::{Chord, Peer};
use samp_model::OverlayId;

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
    /// Whether this server owns the key: it lies between a member's predecessor and that member.
    pub(crate) fn owns(&self, key: OverlayId) -> bool {
        self.arcs().any(|(_, arc)| arc.contains(key))
    }

    /// The member of this server that owns the key, or comes nearest behind it; none when none is in the ring.
    pub(crate) fn home(&self, key: OverlayId) -> Option<&Member> {
        let arc_to = |member: &Member| member.me().id;
        self.in_ring().reduce(|best, member| {
            if key == arc_to(best) || !arc_to(member).in_arc(key, arc_to(best)) { best } else { member }
        })
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
        let Some(nearest) = nearest else { return NextHop::Unknown };
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
