//! A call or a handoff as a ladder diagram: nodes as columns, SIP messages as arrows, milestones as notes.

use super::interventions::intervention;
use super::text::Style;
use samp_model::record::{Event, HandoffNumber, RegistrationScope};
use samp_model::{Record, Time, Topology};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

/// What a diagram is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A call, by its Call-ID.
    Call(String),
    /// A handoff of a mobile node; number 0 is its first attachment.
    Handoff {
        /// The mobile node.
        node: String,
        /// Which one.
        number: HandoffNumber,
    },
}

/// A ladder diagram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ladder {
    /// What it is about.
    pub title: String,
    /// The columns, from left to right.
    pub nodes: Vec<String>,
    /// What happened, in order.
    pub rungs: Vec<Rung>,
}

/// A message or a milestone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rung {
    /// Since the first one; a message counts from when it was sent.
    #[serde(rename = "at_ms", serialize_with = "super::statistics::milliseconds")]
    pub at: Duration,
    /// Which of the two.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A SIP message went from one node to another.
    Message {
        /// Who sent it.
        from: String,
        /// Who received it, or should have; none when that is nobody's address.
        to: Option<String>,
        /// Method or status, and sequence number.
        summary: String,
        /// From sending to receiving; none when it was lost or is on its way.
        #[serde(rename = "one_way_ms", serialize_with = "super::statistics::maybe_milliseconds")]
        one_way: Option<Duration>,
        /// Its Call-ID.
        call: String,
    },
    /// Something happened at a node.
    Note {
        /// The node.
        node: String,
        /// What.
        text: String,
    },
}

/// A message that was sent, and when who received it.
#[derive(Debug)]
struct Sent<'a> {
    at: Time,
    from: &'a str,
    peer: IpAddr,
    summary: &'a str,
    call: &'a str,
    received: Vec<(Time, &'a str)>,
}

/// A lab's records, ready for any number of ladders: in order, and each message's sending and receipt together.
#[derive(Debug)]
pub struct Ladders<'a> {
    topology: &'a Topology,
    records: Vec<&'a Record>,
    sent: Vec<Sent<'a>>,
}

impl<'a> Ladders<'a> {
    /// Of these records, in any order.
    pub fn new(topology: &'a Topology, records: &'a [Record]) -> Self {
        let mut records: Vec<&Record> = records.iter().collect();
        records.sort_by_key(|record| record.at);
        let sent = pair(topology, &records);
        Self { topology, records, sent }
    }

    /// The ladder of this; none when the records say nothing of it.
    pub fn draw(&self, traced: &Traced) -> Option<Ladder> {
        let Self { topology, records, sent } = self;
        let (title, sent, notes) = match traced {
            Traced::Call(call) => of_call(call, sent, records),
            Traced::Handoff { node, number } => of_handoff(topology, node, *number, sent, records)?,
        };
        let instants = || sent.iter().map(|sent| sent.at).chain(notes.iter().map(|(at, ..)| *at));
        let (start, end) = (instants().min()?, instants().max()?);
        let meanwhile = records.iter().filter(|record| (start..=end).contains(&record.at));
        let notes = notes.iter().cloned().chain(
            meanwhile
                .filter_map(|record| Some((record.at, record.node.as_str(), intervention(&record.event)?))),
        );
        let mut rungs = Vec::new();
        for message in &sent {
            let rung = |at: Time, to: Option<String>, one_way| Rung {
                at: at.since(start),
                what: What::Message {
                    from: message.from.to_owned(),
                    to,
                    summary: message.summary.to_owned(),
                    one_way,
                    call: message.call.to_owned(),
                },
            };
            for (received, by) in &message.received {
                rungs.push(rung(message.at, Some((*by).to_owned()), Some(received.since(message.at))));
            }
            if message.received.is_empty() {
                rungs.push(rung(message.at, name_of(topology, message.peer), None));
            }
        }
        rungs.extend(notes.map(|(at, node, text)| Rung {
            at: at.since(start),
            what: What::Note { node: node.to_owned(), text },
        }));
        // At one instant the milestone is first: messages follow from it.
        rungs.sort_by_key(|rung| (rung.at, matches!(rung.what, What::Message { .. })));
        Some(Ladder { title, nodes: columns(topology, &rungs), rungs })
    }
}

impl Ladder {
    /// As text: time, ladder, and what each rung is.
    pub fn draw(&self, style: Style) -> String {
        let marks = if style.unicode { &UNICODE } else { &ASCII };
        let width =
            self.nodes.iter().map(|node| node.chars().count()).max().unwrap_or(0).max(MIN_GAP - 2) + 2;
        let mut text = format!("{}\n\n{:>10}  ", self.title, "ms");
        for node in &self.nodes {
            let _ = write!(text, "{node:width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        for rung in &self.rungs {
            let (line, label) = self.draw_rung(rung, width, marks);
            let _ = writeln!(text, "{:>10.3}  {line}  {label}", rung.at.as_secs_f64() * 1e3);
        }
        text
    }

    fn draw_rung(&self, rung: &Rung, width: usize, marks: &Marks) -> (String, String) {
        let column = |name: &str| self.nodes.iter().position(|node| node == name);
        let mut cells = vec![' '; width * self.nodes.len().saturating_sub(1) + 1];
        for cell in cells.iter_mut().step_by(width) {
            *cell = marks.rail;
        }
        let label = match &rung.what {
            What::Note { node, text } => {
                if let Some(column) = column(node) {
                    cells[column * width] = marks.note;
                }
                format!("{node}: {text}")
            }
            What::Message { from, to, summary, one_way, .. } => {
                let ends = (column(from), to.as_deref().and_then(column));
                if let (Some(from), Some(to)) = ends {
                    draw_arrow(&mut cells, from * width, to * width, one_way.is_some(), marks);
                } else if let Some(from) = ends.0 {
                    cells[from * width] = marks.note;
                }
                match (one_way, to) {
                    (Some(one_way), _) => format!("{summary}, {:.3} ms", one_way.as_secs_f64() * 1e3),
                    (None, Some(_)) => format!("{summary}, not received"),
                    (None, None) => format!("{summary} to nobody"),
                }
            }
        };
        (cells.into_iter().collect(), label)
    }
}

/// Columns between two rails at least.
const MIN_GAP: usize = 10;

struct Marks {
    rail: char,
    line: char,
    note: char,
    right: char,
    left: char,
    lost: char,
    leaves: [char; 2],
    crosses: char,
}

const UNICODE: Marks = Marks {
    rail: '│',
    line: '─',
    note: '●',
    right: '▶',
    left: '◀',
    lost: '╳',
    leaves: ['├', '┤'],
    crosses: '┼',
};
const ASCII: Marks = Marks {
    rail: '|',
    line: '-',
    note: '*',
    right: '>',
    left: '<',
    lost: 'x',
    leaves: ['|', '|'],
    crosses: '|',
};

fn draw_arrow(cells: &mut [char], from: usize, to: usize, arrives: bool, marks: &Marks) {
    if from == to {
        cells[from] = marks.note;
        return;
    }
    for cell in &mut cells[from.min(to) + 1..from.max(to)] {
        *cell = if *cell == marks.rail { marks.crosses } else { marks.line };
    }
    let (leaves, head, tip) = if from < to {
        (marks.leaves[0], marks.right, to - 1)
    } else {
        (marks.leaves[1], marks.left, to + 1)
    };
    cells[from] = leaves;
    cells[tip] = if arrives { head } else { marks.lost };
}

/// Finds for each message that was sent when it was received, and by whom; `records` are in order.
///
/// A message and its repetitions look the same; what arrives is the latest of them.
fn pair<'a>(topology: &Topology, records: &[&'a Record]) -> Vec<Sent<'a>> {
    let mut all: Vec<Sent<'a>> = Vec::new();
    // Those of which one more may arrive, by what they are.
    let mut flying: HashMap<(&str, &str), VecDeque<usize>> = HashMap::new();
    let mut names: HashMap<IpAddr, Option<String>> = HashMap::new();
    let mut name =
        |address: IpAddr| names.entry(address).or_insert_with(|| name_of(topology, address)).clone();
    for record in records {
        match &record.event {
            Event::MessageSent { peer, summary, call, .. } => {
                flying.entry((call, summary)).or_default().push_back(all.len());
                let (at, from, peer) = (record.at, record.node.as_str(), *peer);
                all.push(Sent { at, from, peer, summary, call, received: Vec::new() });
            }
            Event::MessageReceived { peer, summary, call, .. } => {
                let from = name(*peer);
                let Some(candidates) = flying.get(&(call.as_str(), summary.as_str())) else { continue };
                let fits = |sent: &Sent<'_>, to: Option<String>| {
                    from.as_deref() == Some(sent.from)
                        && match sent.peer.is_multicast() {
                            true => sent.received.iter().all(|(_, by)| *by != record.node),
                            false => sent.received.is_empty() && to.as_deref() == Some(record.node.as_str()),
                        }
                };
                let mut candidates = candidates.iter().rev();
                if let Some(&index) = candidates.find(|&&index| {
                    let to = name(all[index].peer);
                    fits(&all[index], to)
                }) {
                    all[index].received.push((record.at, &record.node));
                }
            }
            _ => {}
        }
    }
    all
}

type Notes<'a> = Vec<(Time, &'a str, String)>;

fn of_call<'s, 'a>(
    call: &str,
    sent: &'s [Sent<'a>],
    records: &[&'a Record],
) -> (String, Vec<&'s Sent<'a>>, Notes<'a>) {
    let sent = sent.iter().filter(|sent| sent.call == call).collect();
    let notes = records.iter().filter_map(|record| {
        let (own, text) = note(&record.event)?;
        (own == Some(call)).then_some((record.at, record.node.as_str(), text))
    });
    (format!("call {call}"), sent, notes.collect())
}

/// From the detachment, or what tells of it before, until the node is registered and its correspondent nodes have answered.
fn of_handoff<'s, 'a>(
    topology: &Topology,
    node: &str,
    number: HandoffNumber,
    sent: &'s [Sent<'a>],
    records: &[&'a Record],
) -> Option<(String, Vec<&'s Sent<'a>>, Notes<'a>)> {
    let own = || records.iter().filter(|record| record.node == node);
    let begins = |wanted: HandoffNumber| {
        own().find(|record| match record.event {
            Event::LinkGoingDown { handoff, .. }
            | Event::Detached { handoff, .. }
            | Event::Attached { handoff, .. } => handoff == wanted,
            _ => false,
        })
    };
    let start = begins(number)?.at;
    let until = begins(number + 1).map_or(Time::from_nanos(u64::MAX), |record| record.at);
    let window = || records.iter().filter(|record| (start..until).contains(&record.at));
    let address = window().find_map(|record| match record.event {
        Event::AddressConfigured { handoff, address } if record.node == node && handoff == number => {
            Some(address)
        }
        _ => None,
    });
    // Its last step: of the handoff itself, of the updates, and of the media on the new path.
    let is_step = |record: &Record| match &record.event {
        Event::MediaFirstSent { to, .. } => Some(*to) == address,
        Event::MediaFirstReceived { from, at, .. } => Some(*from) == address || Some(*at) == address,
        Event::MediaRetargeted { to, .. } => Some(*to) == address,
        event => record.node == node && event.handoff() == Some(number),
    };
    let steps: Vec<_> = window().filter(|record| is_step(record)).collect();
    let end = steps.last()?.at;
    let calls: BTreeSet<&str> = sent
        .iter()
        .filter(|sent| sent.from == node && (start..=end).contains(&sent.at))
        .map(|sent| sent.call)
        .collect();
    let sent = sent.iter().filter(|sent| (start..=end).contains(&sent.at) && calls.contains(sent.call));
    let notes =
        steps.iter().filter_map(|record| Some((record.at, record.node.as_str(), note(&record.event)?.1)));
    let title = match address.and_then(|address| topology.locate(address)) {
        Some((_, Some(router))) => format!("handoff {number} of {node}, to {}", topology.node(router).name),
        _ => format!("handoff {number} of {node}"),
    };
    Some((title, sent.collect(), notes.collect()))
}

/// A milestone in words, and the call that it belongs to.
fn note(event: &Event) -> Option<(Option<&str>, String)> {
    let scope = |scope: &RegistrationScope| match scope {
        RegistrationScope::Anchor => "anchor",
        RegistrationScope::Home => "home server",
    };
    Some(match event {
        Event::LinkGoingDown { access_router, .. } => {
            (None, format!("is told that its link goes down, next is {access_router}"))
        }
        Event::Detached { access_router, .. } => (None, format!("detached from {access_router}")),
        Event::Attached { access_router, .. } => (None, format!("attached to {access_router}")),
        Event::Released { access_router, .. } => (None, format!("released from {access_router}")),
        Event::LinkTriggered { .. } => (None, "knows of the new link".to_owned()),
        Event::AddressConfigured { address, .. } => (None, format!("has the address {address}")),
        Event::DiscoveryStarted { .. } => (None, "looks for an anchor".to_owned()),
        Event::AnchorSelected { anchor, answers, .. } => {
            (None, format!("takes {anchor} as anchor, of {answers} that have answered"))
        }
        Event::RegisterSent { .. } => return None,
        Event::Registered { scope: at, .. } => (None, format!("registered with its {}", scope(at))),
        Event::RegistrationFailed { scope: at, status, .. } => {
            (None, format!("registration with its {} failed: {status}", scope(at)))
        }
        Event::UpdateAnswered { call, status, .. } => (Some(call), format!("update answered: {status}")),
        Event::CallStarted { call, callee } => (Some(call), format!("calls {callee}")),
        Event::CallEstablished { call, .. } => (Some(call), "call established".to_owned()),
        Event::CallFailed { call, status } => (Some(call), format!("call failed: {status}")),
        Event::CallAccepted { call, .. } => (Some(call), "call accepted".to_owned()),
        Event::CallEnded { call } => (Some(call), "call ended".to_owned()),
        Event::MediaRetargeted { call, to } => (Some(call), format!("media goes to {to}")),
        Event::MediaFirstSent { call, to } => (Some(call), format!("first media packet to {to}")),
        Event::MediaFirstReceived { call, from, .. } => {
            (Some(call), format!("first media packet from {from}"))
        }
        _ => return None,
    })
}

fn name_of(topology: &Topology, address: IpAddr) -> Option<String> {
    topology.locate(address).map(|(node, _)| topology.node(node).name.clone())
}

/// The nodes that take part, in the order in which they do, but with the servers between the mobile nodes.
fn columns(topology: &Topology, rungs: &[Rung]) -> Vec<String> {
    let mut nodes: Vec<&str> = Vec::new();
    for rung in rungs {
        let named = match &rung.what {
            What::Note { node, .. } => [Some(node), None],
            What::Message { from, to, .. } => [Some(from), to.as_ref()],
        };
        for node in named.into_iter().flatten() {
            if !nodes.contains(&node.as_str()) {
                nodes.push(node);
            }
        }
    }
    let mobile: BTreeSet<&str> = topology.mobile_nodes().map(|id| topology.node(id).name.as_str()).collect();
    let first = nodes.iter().position(|node| mobile.contains(node));
    let rank = |(index, node): &(usize, &str)| match mobile.contains(node) {
        true if Some(*index) == first => 0,
        true => 2,
        false => 1,
    };
    let mut ranked: Vec<_> = nodes.into_iter().enumerate().collect();
    ranked.sort_by_key(rank);
    ranked.into_iter().map(|(_, node)| node.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;

    const TOPOLOGY: &str = "
nodes:
  ar1: { kind: access_router }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
  mn2: { kind: mobile_node, start: ar1 }
links:
  - { between: [ar1, s1], one_way_delay: 1ms }
";

    fn at(node: &str, micros: u64, event: Event) -> Record {
        Record { at: Time::from_nanos(micros * 1000), node: node.into(), event }
    }

    fn sent(peer: IpAddr, summary: &str) -> Event {
        Event::MessageSent { peer, summary: summary.into(), call: "c".into(), bytes: 1 }
    }

    fn received(peer: IpAddr, summary: &str) -> Event {
        Event::MessageReceived { peer, summary: summary.into(), call: "c".into(), bytes: 1 }
    }

    #[test]
    fn a_call_is_drawn_from_end_to_end() {
        let topology = topology::parse("t.yaml", TOPOLOGY).unwrap();
        let router = topology.find("ar1").unwrap();
        let address = |name: &str| {
            let id = topology.find(name).unwrap();
            topology.node(id).address().unwrap_or_else(|| topology.care_of_address(id, router))
        };
        let (mn1, mn2, s1) = (address("mn1"), address("mn2"), address("s1"));
        let records = [
            at("mn1", 1000, Event::CallStarted { call: "c".into(), callee: "sip:mn2@samp.test".into() }),
            at("mn1", 1000, sent(s1, "INVITE 1")),
            // Lost, and sent again.
            at("mn1", 501_000, sent(s1, "INVITE 1")),
            at("s1", 503_500, received(mn1, "INVITE 1")),
            at("s1", 503_600, sent(mn2, "INVITE 1")),
            at("mn2", 505_600, received(s1, "INVITE 1")),
            at("mn2", 505_700, sent(mn1, "200 INVITE 1")),
        ];
        let ladders = Ladders::new(&topology, &records);
        let ladder = ladders.draw(&Traced::Call("c".into())).unwrap();
        assert_eq!(ladder.nodes, ["mn1", "s1", "mn2"]);
        let expected = [
            "call c",
            "",
            "        ms  mn1       s1        mn2",
            "     0.000  *         |         |  mn1: calls sip:mn2@samp.test",
            "     0.000  |--------x|         |  INVITE 1, not received",
            "   500.000  |-------->|         |  INVITE 1, 2.500 ms",
            "   502.600  |         |-------->|  INVITE 1, 2.000 ms",
            "   504.700  |x--------|---------|  200 INVITE 1, not received",
        ];
        assert_eq!(ladder.draw(Style::default()).lines().collect::<Vec<_>>(), expected);
        assert!(ladder.draw(Style { unicode: true, width: 80 }).contains("├────────▶│         │"));
        assert!(ladders.draw(&Traced::Call("d".into())).is_none());
    }
}
