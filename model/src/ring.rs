//! Whether the servers' records show the ring that Chord wants.

use crate::settings::ChordSettings;
use crate::{Event, OverlayId, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Virtual nodes of a server at most.
pub const MAX_VIRTUAL_NODES: usize = 256;
/// Entries of a successor list at most: with virtual nodes it may take more than L to name L servers.
pub const LONGEST_LIST: usize = 32;

/// What each server last said of its places on the ring: one for each of its virtual nodes.
#[derive(Clone, Debug, Default)]
pub struct RingView {
    places: BTreeMap<OverlayId, Place>,
}

/// A virtual node's own view.
#[derive(Clone, Debug)]
struct Place {
    server: String,
    predecessor: Option<OverlayId>,
    successors: Vec<OverlayId>,
}

impl RingView {
    /// Takes in a record; says whether it was about the ring.
    pub fn note(&mut self, record: &Record) -> bool {
        if let Event::RingLeft { id } = &record.event {
            self.places.remove(id);
            return true;
        }
        let Event::RingChanged { id, predecessor, successors } = &record.event else { return false };
        let server = record.node.clone();
        let place = Place { server, predecessor: *predecessor, successors: successors.clone() };
        self.places.insert(*id, place);
        true
    }

    /// Forgets what this server said: it begins anew.
    pub fn forget(&mut self, server: &str) {
        self.places.retain(|_, place| place.server != server);
    }

    /// Those of `servers` that are not at all their places: with their predecessor and the next successors that name
    /// as many distinct servers as `settings` wants, or all others where there are fewer.
    ///
    /// A lone server is always at its place. As long as a server has said nothing, nobody's place is known, and those
    /// are named.
    pub fn out_of_place<'a>(&self, servers: &[&'a str], settings: &ChordSettings) -> Vec<&'a str> {
        if servers.len() < 2 {
            return Vec::new();
        }
        let order: Vec<_> =
            self.places.iter().filter(|(_, place)| servers.contains(&place.server.as_str())).collect();
        let mut said: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, place) in &order {
            *said.entry(&place.server).or_default() += 1;
        }
        let is_silent = |name: &str| said.get(name).copied().unwrap_or(0) < settings.virtual_nodes;
        let silent: Vec<_> = servers.iter().copied().filter(|name| is_silent(name)).collect();
        if !silent.is_empty() {
            return silent;
        }
        let mut misplaced = BTreeSet::new();
        for (position, (_, place)) in order.iter().enumerate() {
            let (before, after) = (&order[..position], &order[position + 1..]);
            let predecessor = before.last().or(after.last()).map(|(id, _)| **id);
            let following = after.iter().chain(before).copied();
            let successors = wanted(&place.server, following, settings.successors);
            if place.predecessor != predecessor || place.successors != successors {
                misplaced.insert(place.server.as_str());
            }
        }
        servers.iter().copied().filter(|name| misplaced.contains(name)).collect()
    }
}

/// The successor list of a virtual node of `server`, out of all that follow it.
fn wanted<'a>(
    server: &str,
    following: impl Iterator<Item = (&'a OverlayId, &'a Place)>,
    length: usize,
) -> Vec<OverlayId> {
    let mut others = BTreeSet::new();
    let mut list = Vec::new();
    for (id, place) in following.take(LONGEST_LIST) {
        if others.len() == length {
            break;
        }
        if place.server != server {
            others.insert(place.server.as_str());
        }
        list.push(*id);
    }
    list
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

    fn chord(successors: usize) -> ChordSettings {
        ChordSettings { successors, ..ChordSettings::default() }
    }

    const ALL: [&str; 4] = ["s1", "s2", "s3", "s4"];

    #[test]
    fn an_ideal_ring_has_everybody_at_its_place() {
        assert_eq!(ring().out_of_place(&ALL, &chord(2)), [""; 0]);
        assert_eq!(ring().out_of_place(&ALL, &chord(4)).len(), 4, "their lists are too short");
        assert_eq!(RingView::default().out_of_place(&["s1"], &chord(4)), [""; 0], "a lone server");
    }

    #[test]
    fn whoever_is_wrong_is_named() {
        for (predecessor, successors) in [(None, [40, 10]), (Some(10), [40, 10]), (Some(20), [10, 40])] {
            let mut ring = ring();
            note(&mut ring, "s1", 30, predecessor, &successors);
            assert_eq!(ring.out_of_place(&ALL, &chord(2)), ["s1"]);
        }
    }

    #[test]
    fn a_silent_server_is_named_and_a_dead_one_is_missed() {
        assert_eq!(ring().out_of_place(&["s1", "s2", "s3", "s4", "s5"], &chord(2)), ["s5"]);
        // Without s4, s1 has the wrong predecessor and the lists of s2 and s3 name a dead server.
        assert_eq!(ring().out_of_place(&["s1", "s2", "s3"], &chord(2)), ["s1", "s2", "s3"]);
    }

    #[test]
    fn who_has_left_has_no_place() {
        let mut ring = ring();
        let left = Event::RingLeft { id: OverlayId([20; 20]) };
        assert!(ring.note(&Record { at: Time::ZERO, node: "s4".to_owned(), event: left }));
        assert_eq!(ring.out_of_place(&ALL, &chord(2)), ["s4"]);
    }

    #[test]
    fn virtual_nodes_name_distinct_servers() {
        let settings = ChordSettings { virtual_nodes: 2, ..chord(2) };
        let mut ring = RingView::default();
        // On the ring: s1 s1 s2 s2 s3 s3.
        note(&mut ring, "s1", 10, Some(60), &[20, 30, 40, 50]);
        note(&mut ring, "s1", 20, Some(10), &[30, 40, 50]);
        note(&mut ring, "s2", 30, Some(20), &[40, 50, 60, 10]);
        note(&mut ring, "s2", 40, Some(30), &[50, 60, 10]);
        note(&mut ring, "s3", 50, Some(40), &[60, 10, 20, 30]);
        assert_eq!(ring.out_of_place(&["s1", "s2", "s3"], &settings), ["s3"], "one node is silent");
        note(&mut ring, "s3", 60, Some(50), &[10, 20, 30]);
        assert_eq!(ring.out_of_place(&["s1", "s2", "s3"], &settings), [""; 0]);
        note(&mut ring, "s2", 40, Some(30), &[50, 60]);
        assert_eq!(ring.out_of_place(&["s1", "s2", "s3"], &settings), ["s2"], "two nodes of one server");
    }
}
