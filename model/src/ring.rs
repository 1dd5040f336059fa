//! Whether the servers' records show the ring that Chord wants.

use crate::{Event, OverlayId, Record};
use std::collections::BTreeMap;

/// What each server last said of its place on the ring, by the server's name.
#[derive(Clone, Debug, Default)]
pub struct RingView {
    places: BTreeMap<String, Place>,
}

/// A server's own view.
#[derive(Clone, Debug)]
struct Place {
    id: OverlayId,
    predecessor: Option<OverlayId>,
    successors: Vec<OverlayId>,
}

impl RingView {
    /// Takes in a record; says whether it was about the ring.
    pub fn note(&mut self, record: &Record) -> bool {
        let Event::RingChanged { id, predecessor, successors } = &record.event else { return false };
        let place = Place { id: *id, predecessor: *predecessor, successors: successors.clone() };
        self.places.insert(record.node.clone(), place);
        true
    }

    /// Those of `servers` that are not at their place: with their predecessor and the `length` next successors, or all
    /// others where there are fewer.
    ///
    /// A lone server is always at its place. As long as a server has said nothing, nobody's place is known, and those
    /// are named.
    pub fn out_of_place<'a>(&self, servers: &[&'a str], length: usize) -> Vec<&'a str> {
        if servers.len() < 2 {
            return Vec::new();
        }
        let silent: Vec<_> =
            servers.iter().copied().filter(|&name| !self.places.contains_key(name)).collect();
        if !silent.is_empty() {
            return silent;
        }
        let mut order: Vec<_> = servers.iter().map(|&name| (name, &self.places[name])).collect();
        order.sort_by_key(|(_, place)| place.id);
        let id = |position: usize| order[position % order.len()].1.id;
        let length = length.min(order.len() - 1);
        let misplaced = order.iter().enumerate().filter(|(position, (_, place))| {
            let successors = (1..=length).map(|step| id(position + step));
            place.predecessor != Some(id(position + order.len() - 1))
                || !successors.eq(place.successors.iter().copied())
        });
        misplaced.map(|(_, &(name, _))| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn note(ring: &mut RingView, name: &str, own: u8, predecessor: Option<u8>, successors: &[u8]) {
        let id = |number| OverlayId([number; 20]);
        let event = Event::RingChanged {
            id: id(own),
            predecessor: predecessor.map(id),
            successors: successors.iter().copied().map(id).collect(),
        };
        assert!(ring.note(&Record { at: Time::ZERO, node: name.to_owned(), event }));
    }

    /// Four servers whose order on the ring is not their order by name.
    fn ring() -> RingView {
        let mut ring = RingView::default();
        note(&mut ring, "s1", 30, Some(20), &[40, 10]);
        note(&mut ring, "s2", 10, Some(40), &[20, 30]);
        note(&mut ring, "s3", 40, Some(30), &[10, 20]);
        note(&mut ring, "s4", 20, Some(10), &[30, 40]);
        ring
    }

    const ALL: [&str; 4] = ["s1", "s2", "s3", "s4"];

    #[test]
    fn an_ideal_ring_has_everybody_at_its_place() {
        assert_eq!(ring().out_of_place(&ALL, 2), [""; 0]);
        assert_eq!(ring().out_of_place(&ALL, 4).len(), 4, "their lists are too short");
        assert_eq!(RingView::default().out_of_place(&["s1"], 4), [""; 0], "a lone server");
    }

    #[test]
    fn whoever_is_wrong_is_named() {
        for (predecessor, successors) in [(None, [40, 10]), (Some(10), [40, 10]), (Some(20), [10, 40])] {
            let mut ring = ring();
            note(&mut ring, "s1", 30, predecessor, &successors);
            assert_eq!(ring.out_of_place(&ALL, 2), ["s1"]);
        }
    }

    #[test]
    fn a_silent_server_is_named_and_a_dead_one_is_missed() {
        assert_eq!(ring().out_of_place(&["s1", "s2", "s3", "s4", "s5"], 2), ["s5"]);
        // Without s4, s1 has the wrong predecessor and the lists of s2 and s3 name a dead server.
        assert_eq!(ring().out_of_place(&["s1", "s2", "s3"], 2), ["s2", "s1", "s3"]);
    }
}
