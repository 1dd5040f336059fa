//! Fingers: members far away on the ring, each about twice as far as the one before.

use super::Peer;
use super::member::Member;
use samp_model::OverlayId;
use std::collections::BTreeMap;

/// Which finger: of which of the server's members, and the exponent of 2 in its distance.
pub(crate) type FingerName = (usize, usize);

/// The fingers of all members of a server.
#[derive(Debug, Default)]
pub(crate) struct Fingers {
    table: BTreeMap<FingerName, Peer>,
    next: usize,
}

impl Fingers {
    /// All of them.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.table.values().copied()
    }

    /// Sets one.
    pub(crate) fn set(&mut self, name: FingerName, peer: Peer) {
        self.table.insert(name, peer);
    }

    /// Drops one: what it points to is to be looked up anew.
    pub(crate) fn clear(&mut self, name: FingerName) {
        self.table.remove(&name);
    }

    /// Drops those that point to a peer that is gone.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(Peer) -> bool) {
        self.table.retain(|_, peer| !is_gone(*peer));
    }

    /// The next one to look up, in turn, and where it starts. What a successor list reaches needs no finger, and
    /// loses the one that it has.
    pub(crate) fn next(&mut self, members: &[Member]) -> Option<(FingerName, OverlayId)> {
        self.table.retain(|&(index, exponent), _| start(&members[index], exponent).is_some());
        let count = members.len() * OverlayId::BITS;
        let numbers = (0..count).map(|step| (self.next + step) % count);
        let (number, found) = numbers.into_iter().find_map(|number| {
            let name = (number / OverlayId::BITS, number % OverlayId::BITS);
            Some((number, (name, start(&members[name.0], name.1)?)))
        })?;
        self.next = number + 1;
        Some(found)
    }
}

/// Where a finger starts, unless the successor list reaches there.
pub(crate) fn start(member: &Member, exponent: usize) -> Option<OverlayId> {
    let me = member.me().id;
    let list = member.successors();
    let key = me.plus_power_of_two(exponent);
    let is_covered = list.is_whole() || list.peers().last().is_none_or(|last| key.in_arc(me, last.id));
    (!is_covered).then_some(key)
}
