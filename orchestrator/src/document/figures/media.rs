//! What handoffs do to media: gaps over time, and how they are distributed.

use super::super::{Figure, Material, Section, Table, maybe, ms};
use super::{distribution, empty_section, handoffs, seconds, start};
use crate::document::millis;
use crate::report::{Delta, Direction};
use samp_chart::{Event, Scale, Stem, Stems};

/// Gaps that are drawn.
const DRAWN: usize = 1000;

/// A gap of one direction of one call.
struct Gap {
    at: f64,
    name: String,
    href: String,
    peer: String,
    direction: &'static str,
    gap: std::time::Duration,
    lost: Option<u64>,
}

/// The section, where handoffs met calls or something was done to the lab.
pub(super) fn section(material: &Material) -> Option<Section> {
    let gaps = gaps(material);
    if gaps.is_empty() {
        return None;
    }
    let mut section = empty_section("media", "Media");
    section.text.push(
        "Silence before the first packet on the new path, as the receiver has it. A packet leaves every 20 ms, so 20 ms are \
         no gap at all."
            .to_owned(),
    );
    section.figures.push(timeline(material, &gaps));
    let sample = |wanted: &str| {
        let of_direction = gaps.iter().filter(|gap| gap.direction == wanted);
        (wanted.to_owned(), of_direction.map(|gap| Delta::from(gap.gap)).collect())
    };
    section.figures.extend(distribution(
        "media-gaps",
        "How long media are silent",
        "Share of handoffs whose media gap is at most so long, by direction as the mobile node sees it.",
        "media gap, ms",
        vec![sample("downlink"), sample("uplink")],
    ));
    section.figures.push(losses(&gaps));
    Some(section)
}

fn gaps(material: &Material) -> Vec<Gap> {
    let start = start(material);
    let mut gaps = Vec::new();
    for handoff in handoffs::in_order(material).into_iter().filter(|handoff| handoff.is_complete()) {
        for call in &handoff.calls {
            let mut push = |direction: &'static str, of: &Direction| {
                if let Some(gap) = of.media_gap {
                    gaps.push(Gap {
                        at: seconds(handoff.detached.since(start)),
                        name: handoffs::name(handoff),
                        href: format!("#{}", handoffs::id(handoff)),
                        peer: call.peer.clone(),
                        direction,
                        gap,
                        lost: of.packets_lost,
                    });
                }
            };
            push("downlink", &call.downlink);
            push("uplink", &call.uplink);
        }
    }
    gaps
}

fn timeline(material: &Material, gaps: &[Gap]) -> Figure {
    let title = "Media gaps over time";
    let drawn = &gaps[..gaps.len().min(DRAWN)];
    let series = |wanted: &str| {
        let of_direction = drawn.iter().filter(|gap| gap.direction == wanted);
        let stem = |gap: &Gap| Stem {
            x: gap.at,
            y: millis(gap.gap),
            tip: format!("{}, {wanted}, {}: {} ms, {} lost", gap.name, gap.peer, ms(gap.gap), lost(gap)),
            href: Some(gap.href.clone()),
        };
        (wanted.to_owned(), of_direction.map(stem).collect())
    };
    let events = material.report.interventions.iter().map(|intervention| Event {
        x: seconds(intervention.at),
        tip: format!("{}: {}", intervention.node, intervention.what),
    });
    let picture = Stems {
        title: title.to_owned(),
        x: Scale { label: "s since the first record", is_log: false },
        y: Scale { label: "media gap, ms", is_log: false },
        series: vec![series("downlink"), series("uplink")],
        events: events.take(DRAWN).collect(),
        size: [820.0, 200.0],
    };
    let row = |gap: &Gap| {
        vec![
            gap.name.clone(),
            format!("{:.3}", gap.at),
            gap.peer.clone(),
            gap.direction.to_owned(),
            ms(gap.gap),
            lost(gap),
        ]
    };
    let mut caption = format!(
        "Each handoff of a node in a call, when its radio left the old access router; n = {}.",
        gaps.len()
    );
    if gaps.len() > DRAWN {
        caption += &format!(" The first {DRAWN} are drawn; the table has all.");
    }
    let header = ["handoff", "at s", "peer", "direction", "gap ms", "packets lost"];
    Figure {
        id: "media-timeline".into(),
        title: title.to_owned(),
        caption,
        picture: Some(picture.picture()),
        table: Table::of(&header, gaps.iter().map(row)),
        is_half: false,
    }
}

fn lost(gap: &Gap) -> String {
    gap.lost.map_or_else(|| "–".to_owned(), |lost| lost.to_string())
}

/// How many handoffs lost how many packets.
fn losses(gaps: &[Gap]) -> Figure {
    let mut numbers: Vec<u64> = gaps.iter().filter_map(|gap| gap.lost).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let with = |lost: u64, direction: &str| {
        gaps.iter().filter(|gap| gap.lost == Some(lost) && gap.direction == direction).count().to_string()
    };
    let row = |lost: &u64| vec![lost.to_string(), with(*lost, "downlink"), with(*lost, "uplink")];
    Figure {
        id: "packets-lost".into(),
        title: "Packets that handoffs lose".into(),
        caption: format!(
            "How many handoffs lost so many packets before the first one on the new path; longest gap {} ms.",
            maybe(gaps.iter().map(|gap| Delta::from(gap.gap)).max())
        ),
        picture: None,
        table: Table::of(&["packets lost", "downlink", "uplink"], numbers.iter().map(row)),
        is_half: true,
    }
}
