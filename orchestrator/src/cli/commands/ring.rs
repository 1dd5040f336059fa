//! `ring`: the servers' places on the ring, as their records tell.

use super::super::{Exit, Failure, Terminal};
use super::trace::records;
use crate::client::Client;
use crate::report::table;
use samp_model::control::AgentState;
use samp_model::{Event, OverlayId, Record};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A server's place, in its own view. With virtual nodes it has several; what is the server's stands at the first one.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Place {
    server: String,
    id: OverlayId,
    alive: bool,
    predecessor: Option<Peer>,
    successors: Vec<Peer>,
    /// Bindings that the server holds as home server or replica.
    home_bindings: Option<u32>,
    /// Bindings that the server holds as anchor.
    anchor_bindings: Option<u32>,
}

/// Another server, by its name where it has said who it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
struct Peer(String);

/// Shows the ring, in the order of the identifiers.
pub(super) fn ring(terminal: &Terminal, client: &Client) -> Result<Exit, Failure> {
    let status = client.status()?;
    let records = records(terminal, client, &status)?;
    let is_alive = |name: &str| {
        let node = status.nodes.iter().find(|node| node.name == name);
        node.is_some_and(|node| !node.agent.is_some_and(AgentState::has_ended))
    };
    terminal.show(&places(&records, is_alive), |places| {
        let rows = places.iter().map(|place| {
            let successors: Vec<_> = place.successors.iter().map(|peer| peer.0.as_str()).collect();
            vec![
                place.server.clone(),
                short(place.id),
                place.predecessor.as_ref().map_or("-".to_owned(), |peer| peer.0.clone()),
                if successors.is_empty() { "-".to_owned() } else { successors.join(" ") },
                place.home_bindings.map_or_else(String::new, |count| count.to_string()),
                place.anchor_bindings.map_or_else(String::new, |count| count.to_string()),
                if place.alive { "alive" } else { "dead" }.to_owned(),
            ]
        });
        table(&["server", "id", "predecessor", "successors", "home", "anchor", "agent"], rows)
    })?;
    Ok(Exit::Success)
}

fn places(records: &[Record], is_alive: impl Fn(&str) -> bool) -> Vec<Place> {
    let mut said: BTreeMap<OverlayId, (&str, Option<OverlayId>, &[OverlayId])> = BTreeMap::new();
    let mut bindings: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for record in records {
        match &record.event {
            Event::RingChanged { id, predecessor, successors } => {
                said.insert(*id, (&record.node, *predecessor, successors));
            }
            Event::RingLeft { id } => drop(said.remove(id)),
            Event::BindingsChanged { home, anchor } => {
                bindings.insert(&record.node, (*home, *anchor));
            }
            _ => {}
        }
    }
    let peer =
        |id: &OverlayId| Peer(said.get(id).map_or_else(|| short(*id), |(name, ..)| (*name).to_owned()));
    let mut shown = BTreeSet::new();
    let places = said.iter().map(|(id, (server, predecessor, successors))| {
        let counts = shown.insert(*server).then(|| bindings.get(server).copied().unwrap_or_default());
        let (home_bindings, anchor_bindings) = counts.unzip();
        Place {
            server: (*server).to_owned(),
            id: *id,
            alive: is_alive(server),
            predecessor: predecessor.as_ref().map(peer),
            successors: successors.iter().map(peer).collect(),
            home_bindings,
            anchor_bindings,
        }
    });
    places.collect()
}

/// Enough of an identifier to tell the servers of a lab apart.
fn short(id: OverlayId) -> String {
    format!("{id:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::Time;

    #[test]
    fn the_last_word_of_each_server_counts() {
        let id = |number| OverlayId([number; 20]);
        let record = |node: &str, event| Record { at: Time::ZERO, node: node.into(), event };
        let ring = |own, predecessor, successors| Event::RingChanged { id: id(own), predecessor, successors };
        let records = [
            record("s2", ring(2, None, vec![])),
            record("s1", ring(1, Some(id(2)), vec![id(2)])),
            record("s2", Event::BindingsChanged { home: 1, anchor: 0 }),
            record("s2", ring(2, Some(id(1)), vec![id(1), id(9)])),
            record("s2", Event::BindingsChanged { home: 2, anchor: 1 }),
        ];
        let virtual_node = [&records[..], &[record("s2", ring(3, None, vec![]))]].concat();
        let counts: Vec<_> =
            places(&virtual_node, |_| true).iter().map(|place| place.home_bindings).collect();
        assert_eq!(counts, [Some(0), Some(2), None], "a server's bindings are shown once");
        let left = [&records[..], &[record("s2", Event::RingLeft { id: id(2) })]].concat();
        assert_eq!(places(&left, |_| true).len(), 1, "who has left has no place");
        let places = places(&records, |name| name == "s1");
        let names: Vec<_> = places.iter().map(|place| (place.server.as_str(), place.alive)).collect();
        assert_eq!(names, [("s1", true), ("s2", false)]);
        assert_eq!(places[1].predecessor, Some(Peer("s1".into())));
        assert_eq!(places[1].successors, [Peer("s1".into()), Peer("09090909".into())]);
        assert_eq!((places[1].home_bindings, places[1].anchor_bindings), (Some(2), Some(1)));
    }
}
