//! What the servers had to do: SIP messages by method, and bindings.

mod cpu;

use super::super::{Figure, Material, Section, Table};
use super::empty_section;
use samp_chart::{Bar, Bars, Entry, Key, Part};
use samp_model::topology::NodeKind;
use samp_model::{Event, Record};
use std::collections::BTreeMap;

/// Servers that are drawn.
const DRAWN: usize = 60;

/// What messages are counted by, and their classes; what is none of the others is of the last kind.
const METHODS: [(&str, &str); 4] =
    [("REGISTER", "s4"), ("INVITE", "s2"), ("ACK and BYE", "s1"), ("other", "s6")];

/// What one server did.
#[derive(Clone, Debug, Default)]
struct Load {
    received: u64,
    sent: u64,
    by_method: [u64; METHODS.len()],
    per_second: BTreeMap<u64, u64>,
    most_home: u32,
    most_anchor: u32,
}

/// The section, where there are servers that samp-lab knows from inside.
pub(super) fn section(material: &Material) -> Option<Section> {
    let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
    for (_, node) in material.run.topology.nodes() {
        if matches!(node.kind, NodeKind::SipServer { .. }) {
            loads.insert(&node.name, Load::default());
        }
    }
    for record in &material.run.records {
        if let Some(load) = loads.get_mut(record.node.as_str()) {
            load.add(record);
        }
    }
    if loads.is_empty() {
        return None;
    }
    let mut loads: Vec<_> = loads.into_iter().collect();
    // Those with most to do come first.
    loads.sort_by_key(|(_, load)| std::cmp::Reverse(load.messages()));
    let mut section = empty_section("servers", "Servers");
    section.figures.push(figure(&loads));
    section.figures.extend(cpu::figure(material));
    Some(section)
}

impl Load {
    fn add(&mut self, record: &Record) {
        let summary = match &record.event {
            Event::MessageReceived { summary, .. } => {
                self.received += 1;
                summary
            }
            Event::MessageSent { summary, .. } => {
                self.sent += 1;
                summary
            }
            Event::BindingsChanged { home, anchor } => {
                self.most_home = self.most_home.max(*home);
                self.most_anchor = self.most_anchor.max(*anchor);
                return;
            }
            _ => return,
        };
        self.by_method[kind(method(summary))] += 1;
        *self.per_second.entry(record.at.as_nanos() / 1_000_000_000).or_default() += 1;
    }

    fn messages(&self) -> u64 {
        self.received + self.sent
    }
}

/// The method that a message or an answer is of: `INVITE 1`, `200 INVITE 1`.
pub(super) fn method(summary: &str) -> &str {
    summary.split_whitespace().rev().nth(1).unwrap_or(summary)
}

fn kind(method: &str) -> usize {
    match method {
        "REGISTER" => 0,
        "INVITE" => 1,
        "ACK" | "BYE" => 2,
        _ => 3,
    }
}

fn figure(loads: &[(&str, Load)]) -> Figure {
    let title = "SIP messages per server";
    let bar = |(name, load): &(&str, Load)| {
        let mut from = 0.0;
        let parts = METHODS.iter().zip(load.by_method).map(|((method, class), n)| {
            from += n as f64;
            Part {
                class: (*class).to_owned(),
                is_pale: false,
                from: from - n as f64,
                length: n as f64,
                tip: format!("{name}, {method}: {n}"),
            }
        });
        let parts = parts.filter(|part| part.length > 0.0).collect();
        Bar { name: (*name).to_owned(), href: None, parts, value: load.messages().to_string() }
    };
    let shown = METHODS
        .iter()
        .enumerate()
        .filter(|(index, _)| loads.iter().any(|(_, load)| load.by_method[*index] > 0));
    let picture = Bars {
        title: title.to_owned(),
        label: "messages received and sent",
        rows: loads.iter().take(DRAWN).map(bar).collect(),
        legend: shown
            .map(|(_, (method, class))| Entry {
                class: (*class).into(),
                name: (*method).into(),
                key: Key::Box,
            })
            .collect(),
        width: 640.0,
    };
    let row = |(name, load): &(&str, Load)| {
        let mut row = vec![(*name).to_owned()];
        let busiest = load.per_second.values().max().copied().unwrap_or(0);
        let bindings = [load.most_home, load.most_anchor].map(u64::from);
        let figures =
            [load.received, load.sent].into_iter().chain(load.by_method).chain([busiest]).chain(bindings);
        row.extend(figures.map(|figure| figure.to_string()));
        row
    };
    let header = [
        "server",
        "received",
        "sent",
        "REGISTER",
        "INVITE",
        "ACK and BYE",
        "other",
        "busiest second",
        "bindings as home",
        "bindings as anchor",
    ];
    let total: u64 = loads.iter().map(|(_, load)| load.messages()).sum();
    let mut caption = format!(
        "Requests and answers by the method that they belong to, n = {total}. What the servers say to each other about their \
         ring is left out. Bindings are the most that there were; home includes replicas."
    );
    if loads.len() > DRAWN {
        caption += &format!(" The {DRAWN} with most to do are drawn; the table has all {}.", loads.len());
    }
    Figure {
        id: "servers".into(),
        title: title.to_owned(),
        caption,
        picture: Some(picture.picture()),
        table: Table::of(&header, loads.iter().map(row)),
        is_half: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_by_their_method() {
        assert_eq!(
            ["INVITE 1", "200 INVITE 1", "REGISTER 12", "", "odd"].map(method),
            ["INVITE", "INVITE", "REGISTER", "", "odd"]
        );
    }
}
