//! Whether the servers' records show the ring that Chord wants.

use crate::{Event, OverlayId, Record};
use std::collections::BTreeMap;

/// What each server last said of its place: predecessor and successor list, by its identifier.
#[derive(Clone, Debug, Default)]
pub struct RingView {
    places: BTreeMap<OverlayId, (Option<OverlayId>, Vec<OverlayId>)>,
    by_name: BTreeMap<String, OverlayId>,
}

impl RingView {
    /// Takes in a record; says whether it was about the ring.
    pub fn note(&mut self, record: &Record) -> bool {
        let Event::RingChanged { id, predecessor, successors } = &record.event else { return false };
        self.places.insert(*id, (*predecessor, successors.clone()));
        self.by_name.insert(record.node.clone(), *id);
        true
    }

    /// Leaves a server that has ended out of what follows.
    pub fn remove(&mut self, node: &str) {
        if let Some(id) = self.by_name.remove(node) {
            self.places.remove(&id);
        }
    }

    /// Servers that have said something.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no server has said anything.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// True when the servers form one ring in the order of their identifiers, everyone knows its predecessor, and
    /// everyone lists its `length` next successors, or all others where there are fewer.
    pub fn is_ideal(&self, length: usize) -> bool {
        let ids: Vec<_> = self.places.keys().copied().collect();
        let count = ids.len();
        if count < 2 {
            return true;
        }
        ids.iter().enumerate().all(|(index, id)| {
            let (predecessor, successors) = &self.places[id];
            let expected = (1..=length.min(count - 1)).map(|step| ids[(index + step) % count]);
            *predecessor == Some(ids[(index + count - 1) % count]) && successors.iter().copied().eq(expected)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn id(first: u8) -> OverlayId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        OverlayId(bytes)
    }

    fn record(own: u8, predecessor: Option<u8>, successors: &[u8]) -> Record {
        let event = Event::RingChanged {
            id: id(own),
            predecessor: predecessor.map(id),
            successors: successors.iter().copied().map(id).collect(),
        };
        Record { at: Time::ZERO, node: format!("s{own}"), event }
    }

    #[test]
    fn an_ideal_ring_is_told_from_one_that_is_not() {
        let mut ring = RingView::default();
        ring.note(&record(1, Some(3), &[2, 3]));
        ring.note(&record(2, Some(1), &[3, 1]));
        ring.note(&record(3, None, &[1, 2]));
        assert!(!ring.is_ideal(4), "3 knows no predecessor");
        ring.note(&record(3, Some(2), &[1, 2]));
        assert!(ring.is_ideal(4));
        ring.note(&record(1, Some(3), &[2]));
        assert!(!ring.is_ideal(4), "1 has too short a list");
        assert!(!ring.is_ideal(1), "the others have too long ones");
        ring.remove("s1");
        assert!(!ring.is_ideal(4), "1 is still listed");
    }
}
