//! What was done to the lab from outside while it ran.

use super::history::History;
use super::statistics::milliseconds;
use samp_model::flood::Flood;
use samp_model::record::Answers;
use samp_model::topology::LinkQuality;
use samp_model::{Event, Time};
use serde::Serialize;
use std::time::Duration;

/// A change of the network, or something done to a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervention {
    /// When, since the run's first record.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub at: Duration,
    /// The node that the record is of: of a link the first end, of a partition the first node named.
    pub node: String,
    /// What.
    pub what: String,
}

impl Intervention {
    /// All of a run, in order.
    pub fn all(history: &History) -> Vec<Self> {
        let records = || history.nodes().flat_map(|(_, records)| records);
        let start = records().map(|record| record.at).min().unwrap_or(Time::ZERO);
        let mut all: Vec<_> = records()
            .filter_map(|record| {
                let what = intervention(&record.event)?;
                Some(Self { at: record.at.since(start), node: record.node.clone(), what })
            })
            .collect();
        all.sort_by_key(|intervention| intervention.at);
        all
    }
}

/// What was done, in words; none for what the lab did itself.
pub(super) fn intervention(event: &Event) -> Option<String> {
    Some(match event {
        Event::LinkChanged { peer, up, quality } => {
            let link = peer.as_ref().map_or("radio link".to_owned(), |peer| format!("link to {peer}"));
            if *up { format!("{link} up: {}", both_ways(quality)) } else { format!("{link} down") }
        }
        Event::Partitioned { nodes, from, links } => {
            let from = if from.is_empty() { "all others".to_owned() } else { from.join(", ") };
            format!("partition: {} cut off from {from}, {}", nodes.join(", "), count(*links, "down"))
        }
        Event::Healed { links } => format!("partitions healed, {}", count(*links, "up")),
        Event::Killed => "killed".to_owned(),
        Event::Paused => "paused".to_owned(),
        Event::Resumed => "resumed".to_owned(),
        Event::FloodBegan { to, flood, .. } => {
            let Flood { request, rate, lasts } = flood;
            format!("flood of {to}: {rate} {}/s for {lasts:?}", request.method())
        }
        Event::FloodEnded { to, sent, answers, unanswered, .. } => {
            let answers =
                answers.iter().map(|Answers { status, count }| format!(", {count} answered {status}"));
            format!("flood of {to} over: {sent} sent{}, {unanswered} unanswered", answers.collect::<String>())
        }
        _ => return None,
    })
}

fn both_ways([there, back]: &[LinkQuality; 2]) -> String {
    if there == back { there.to_string() } else { format!("{there}; back {back}") }
}

fn count(links: usize, state: &str) -> String {
    if links == 1 { format!("1 link {state}") } else { format!("{links} links {state}") }
}
