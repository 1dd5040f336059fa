//! The successor list of a member.

use super::Peer;
use samp_model::ring::LONGEST_LIST;
use std::net::SocketAddr;

/// The next members, clockwise: as many as it takes to name L distinct other servers, or all where there are fewer.
///
/// A list that lost its dead is shorter for a moment. It stands for Zave's list of equal length, whose end is then
/// filled with places right behind the last entry where nobody is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SuccessorList {
    peers: Vec<Peer>,
    /// Nobody is left out: the list reaches round to its owner.
    is_whole: bool,
}

impl SuccessorList {
    /// Of a member that is alone.
    pub(crate) fn empty() -> Self {
        Self { peers: Vec::new(), is_whole: true }
    }

    /// The list of `me` that begins with `head` and goes on with what `head` told of its own; `length` is L.
    ///
    /// What does not lie clockwise one behind the other is left out, with all that follows.
    pub(crate) fn new(me: Peer, length: usize, head: Peer, rest: &[Peer]) -> Self {
        let mut list = Self { peers: Vec::new(), is_whole: false };
        for &peer in std::iter::once(&head).chain(rest) {
            let last = list.peers.last().map_or(me.id, |last| last.id);
            if peer.id == me.id || list.peers.len() == LONGEST_LIST {
                list.is_whole = true;
                break;
            }
            if !peer.id.between(last, me.id) || list.servers(me.address).count() == length {
                break;
            }
            list.peers.push(peer);
        }
        list
    }

    /// Removes entries; says whether there were any.
    pub(crate) fn remove(&mut self, is_gone: impl Fn(Peer) -> bool) -> bool {
        let before = self.peers.len();
        self.peers.retain(|&peer| !is_gone(peer));
        self.peers.len() < before
    }

    /// The nearest successor.
    pub(crate) fn head(&self) -> Option<Peer> {
        self.peers.first().copied()
    }

    /// All entries, nearest first.
    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The distinct servers on it, nearest first, without that at `own`: where copies go.
    pub(crate) fn servers(&self, own: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let peers = self.peers.iter().enumerate();
        peers
            .filter(move |(index, peer)| {
                let earlier = &self.peers[..*index];
                peer.address != own && earlier.iter().all(|other| other.address != peer.address)
            })
            .map(|(_, peer)| peer.address)
    }

    /// Whether no other server is a member, as far as can be told.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight virtual nodes on the servers 0 to 3, in the order of their identifiers.
    fn ring() -> Vec<Peer> {
        let server = |number| SocketAddr::from(([10, 0, 0, number], 5060));
        let mut ring: Vec<_> =
            (0..4).flat_map(|s| (0..2).map(move |n| Peer::virtual_node(server(s), n))).collect();
        ring.sort();
        ring
    }

    #[test]
    fn a_list_names_l_distinct_servers_and_no_more() {
        let ring = ring();
        for start in 0..ring.len() {
            let rest: Vec<_> = (2..2 + ring.len()).map(|step| ring[(start + step) % ring.len()]).collect();
            let (me, head) = (ring[start], ring[(start + 1) % ring.len()]);
            for length in 1..=3 {
                let list = SuccessorList::new(me, length, head, &rest);
                assert_eq!(list.servers(me.address).count(), length);
                let shorter = &list.peers()[..list.peers().len() - 1];
                assert!(shorter.iter().all(|peer| peer.address != list.peers().last().unwrap().address));
                assert!(!list.is_whole());
            }
            let all = SuccessorList::new(me, 4, head, &rest);
            assert_eq!((all.peers().len(), all.is_whole()), (ring.len() - 1, true));
        }
    }

    #[test]
    fn what_is_out_of_order_ends_a_list() {
        let ring = ring();
        let list = |rest: &[Peer]| SuccessorList::new(ring[0], 8, ring[2], rest).peers().to_vec();
        assert_eq!(list(&[ring[3], ring[1], ring[4]]), [ring[2], ring[3]]);
        assert_eq!(list(&[ring[2], ring[3]]), [ring[2]]);
        assert_eq!(list(&[ring[5], ring[0], ring[6]]), [ring[2], ring[5]]);
        assert_eq!(SuccessorList::new(ring[0], 8, ring[0], &[]), SuccessorList::empty());
    }
}
