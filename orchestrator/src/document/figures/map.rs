//! The map: the topology, and the tracks of mobile nodes.

use super::super::{Figure, Material, Section, Table, count};
use super::{empty_section, handoffs};
use crate::graph::{Graph, Track, picture};
use samp_model::Topology;
use samp_model::topology::NodeKind;

/// Nodes of which a map is drawn.
const DRAWN: usize = 400;
/// Tracks that are told apart on a map.
const TRACKS: usize = 6;

/// The section.
pub(super) fn section(material: &Material) -> Section {
    let topology = &material.run.topology;
    let mut section = empty_section("map", "Map");
    let nodes = topology.nodes.len();
    let tracks = tracks(material);
    let shown = &tracks[..tracks.len().min(TRACKS)];
    let drawn = (nodes <= DRAWN).then(|| picture(&Graph::of_topology(topology), shown));
    let mut caption = "Access routers have corners, SIP servers are round, mobile nodes are where they begin. Links are labelled \
                       with their one-way delay. Arrows are handoffs."
        .to_owned();
    if let Some(left_out) = tracks.len().checked_sub(TRACKS).filter(|&more| more > 0) {
        caption += &format!(
            " Of {} the {TRACKS} that moved most are drawn; the table has the other {left_out}, too.",
            count(tracks.len(), "track")
        );
    }
    if drawn.is_none() {
        caption = format!("There is no map: {nodes} nodes are more than the {DRAWN} that are drawn.");
    }
    let row = |track: &Track| {
        let stops: Vec<_> = track.stops.iter().map(|stop| topology.node(*stop).name.clone()).collect();
        vec![track.name.clone(), (track.stops.len() - 1).to_string(), stops.join(" → ")]
    };
    section.figures.push(Figure {
        id: "map".into(),
        title: format!("{}: {}", topology.name, census(topology)),
        caption,
        picture: drawn,
        table: Table::of(&["mobile node", "handoffs", "track"], tracks.iter().map(row)),
        is_half: false,
    });
    section
}

/// The tracks of all nodes that moved, those first that moved most.
fn tracks(material: &Material) -> Vec<Track> {
    let topology = &material.run.topology;
    let mut tracks: Vec<Track> = Vec::new();
    for handoff in handoffs::in_order(material) {
        let stop = |name: &str| topology.find(name);
        let Some(to) = handoff.to.as_deref().and_then(stop) else { continue };
        match tracks.iter_mut().find(|track| track.name == handoff.node) {
            Some(track) => track.stops.push(to),
            None => {
                let stops = stop(&handoff.from).into_iter().chain([to]).collect();
                tracks.push(Track { name: handoff.node.clone(), stops });
            }
        }
    }
    tracks.sort_by_key(|track| std::cmp::Reverse(track.stops.len()));
    tracks
}

fn census(topology: &Topology) -> String {
    let number =
        |wanted: fn(&NodeKind) -> bool| topology.nodes.iter().filter(|node| wanted(&node.kind)).count();
    let access = number(|kind| matches!(kind, NodeKind::Router { access: Some(_), .. }));
    let routers = number(|kind| matches!(kind, NodeKind::Router { access: None, .. }));
    let kinds = [
        (access, "access router"),
        (routers, "router"),
        (number(|kind| matches!(kind, NodeKind::SipServer { .. })), "SIP server"),
        (topology.mobile_nodes().count(), "mobile node"),
    ];
    let kinds: Vec<_> = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| count(*n, kind)).collect();
    kinds.join(", ")
}
