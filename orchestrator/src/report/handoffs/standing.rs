//! Whether a mobile node is registered by now, whatever came before.

use super::super::floor::Floors;
use super::super::history::History;
use super::Facts;
use super::registration::Progress;
use samp_model::settings::Protocol;
use samp_model::topology::NodeId;
use samp_model::{Event, Time};
use std::net::IpAddr;

/// The server that a mobile node is registered with where it is now: its anchor, or without SAMP who answered last.
/// None while it waits for an answer, or knows that it has lost its registration.
pub fn registered_with(floors: &Floors<'_>, history: &History, node: &str) -> Option<NodeId> {
    let latest = history.handoffs_of(node).last().unwrap_or(0);
    let began = history.handoff_window(node, latest).map_or(Time::ZERO, |(began, _)| began);
    let facts = Facts::gather(history.since_before(node, latest), latest, began, None);
    let server = match floors.topology().mobility.protocol {
        Protocol::Samp => Progress::to_the_end(floors, &facts),
        _ => bound_by(&facts),
    };
    floors.node_at(server?)
}

/// Who answered last, when all have.
fn bound_by(facts: &Facts<'_>) -> Option<IpAddr> {
    let (mut waiting, mut server) = (Vec::new(), None);
    for record in &facts.records {
        match &record.event {
            Event::RegisterSent { scope, .. } | Event::RegistrationFailed { scope, .. } => {
                waiting.push(*scope);
            }
            Event::Registered { scope, path, .. } => {
                waiting.retain(|sent| sent != scope);
                server = path.first().copied();
            }
            _ => {}
        }
    }
    server.filter(|_| waiting.is_empty())
}
