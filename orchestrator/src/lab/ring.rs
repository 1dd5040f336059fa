//! When the servers' ring is ideal: every server's successors and predecessor are who they should be.

use samp_model::OverlayId;
use samp_model::topology::NodeId;
use std::collections::BTreeMap;

/// What each server last said about its place.
#[derive(Debug, Default)]
pub(super) struct Ring {
    members: BTreeMap<NodeId, Place>,
}

/// One server's own view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: OverlayId,
    pub(super) predecessor: Option<OverlayId>,
    pub(super) successors: Vec<OverlayId>,
}

impl Ring {
    /// A server's view has changed.
    pub(super) fn update(&mut self, server: NodeId, place: Place) {
        self.members.insert(server, place);
    }

    /// Those of `servers` that are not at their place yet: with full successor lists of `length` entries (fewer in a
    /// small ring) and their predecessor.
    ///
    /// A lone server is always at its place. As long as a server has said nothing, nobody's place is known.
    pub(super) fn out_of_place(&self, servers: &[NodeId], length: usize) -> Vec<NodeId> {
        if servers.len() < 2 {
            return Vec::new();
        }
        let silent: Vec<NodeId> =
            servers.iter().copied().filter(|server| !self.members.contains_key(server)).collect();
        if !silent.is_empty() {
            return silent;
        }
        let mut order: Vec<NodeId> = servers.to_vec();
        order.sort_by_key(|server| self.members[server].id);
        let id = |position: usize| self.members[&order[position % order.len()]].id;
        let length = length.min(order.len() - 1);
        let misplaced = order.iter().enumerate().filter(|(position, server)| {
            let place = &self.members[server];
            let successors = (1..=length).map(|step| id(position + step));
            place.predecessor != Some(id(position + order.len() - 1))
                || !successors.eq(place.successors.iter().copied())
        });
        misplaced.map(|(_, &server)| server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> OverlayId {
        OverlayId([number; 20])
    }

    fn place(me: u8, predecessor: u8, successors: &[u8]) -> Place {
        Place {
            id: id(me),
            predecessor: Some(id(predecessor)),
            successors: successors.iter().map(|&successor| id(successor)).collect(),
        }
    }

    /// Four servers whose order on the ring is not their order in the topology.
    fn ring() -> (Ring, Vec<NodeId>) {
        let mut ring = Ring::default();
        let places = [
            place(30, 20, &[40, 10]),
            place(10, 40, &[20, 30]),
            place(40, 30, &[10, 20]),
            place(20, 10, &[30, 40]),
        ];
        for (server, place) in places.into_iter().enumerate() {
            ring.update(NodeId(server), place);
        }
        (ring, (0..4).map(NodeId).collect())
    }

    #[test]
    fn an_ideal_ring_has_everybody_at_its_place() {
        let (ring, servers) = ring();
        assert_eq!(ring.out_of_place(&servers, 2), []);
        // The lists would have to be longer.
        assert_eq!(ring.out_of_place(&servers, 4).len(), 4);
    }

    #[test]
    fn wrong_neighbours_are_named() {
        for (server, wrong) in [
            (2, place(40, 20, &[10, 20])),
            (2, place(40, 30, &[20, 10])),
            (2, place(40, 30, &[10])),
            (2, Place { predecessor: None, ..place(40, 30, &[10, 20]) }),
        ] {
            let (mut ring, servers) = ring();
            ring.update(NodeId(server), wrong);
            assert_eq!(ring.out_of_place(&servers, 2), [NodeId(server)]);
        }
    }

    #[test]
    fn silent_servers_are_waited_for_and_a_lone_one_is_not() {
        let (ring, mut servers) = ring();
        servers.push(NodeId(9));
        assert_eq!(ring.out_of_place(&servers, 2), [NodeId(9)]);
        assert_eq!(Ring::default().out_of_place(&[NodeId(0)], 4), []);
        assert_eq!(Ring::default().out_of_place(&[NodeId(0), NodeId(1)], 4).len(), 2);
    }
}
