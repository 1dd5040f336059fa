//! Handoffs, one by one: what happened when, phase by phase, and what each total is made of.

mod binding;
mod call;
mod registration;
mod standing;
mod tunnelled;

use self::call::CallView;
use self::registration::Registration;
pub use self::standing::registered_with;
use super::floor::Floors;
use super::history::History;
use super::ledger::Signalling;
use super::path::{CriticalPath, Milestone};
use super::statistics::{maybe_milliseconds, milliseconds};
use samp_model::record::{DhcpMessage, HandoffNumber};
use samp_model::topology::{Node, NodeKind};
use samp_model::{Event, Record, Time, Topology};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// All handoffs of a run, by node and number.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Handoffs(pub Vec<Handoff>);

/// One handoff of one mobile node.
#[derive(Clone, Debug, Serialize)]
pub struct Handoff {
    /// The mobile node.
    pub node: String,
    /// Which of its handoffs.
    pub number: HandoffNumber,
    /// The old access router.
    pub from: String,
    /// The new access router, once attached.
    pub to: Option<String>,
    /// The new care-of address, once configured.
    pub address: Option<IpAddr>,
    /// How long before its detachment the node was told of it, if it was.
    #[serde(rename = "going_down_ms", serialize_with = "maybe_milliseconds")]
    pub going_down: Option<Duration>,
    /// Make before break: how long the old attachment stayed beside the new one.
    #[serde(rename = "kept_ms", serialize_with = "maybe_milliseconds")]
    pub kept: Option<Duration>,
    /// When the radio left the old access router; with make before break, when the new attachment began.
    #[serde(rename = "detached_ns")]
    pub detached: Time,
    /// What the attachment itself cost the emulator.
    #[serde(rename = "attach_cost_ms", serialize_with = "milliseconds")]
    pub attach_cost: Duration,
    /// Frames that were on the radio link and were dropped.
    pub frames_dropped: u64,
    /// Whether the anchor, with HMIPv6 the mobility anchor point, was kept, so that only it had to be told.
    pub anchor_kept: bool,
    /// Which kind of registration followed: with the anchor or mobility anchor point that there was or with another one;
    /// empty where there is only one kind.
    pub registration_kind: &'static str,
    /// What happened from when to when, in the order of the beginnings; phases may overlap.
    pub phases: Vec<Phase>,
    /// Detached → registration answered.
    pub registration: Option<CriticalPath>,
    /// What it meant for each call that was up.
    pub calls: Vec<CallHandoff>,
    /// The messages that it has cost, in a report of a run that records them, when the handoff is complete.
    pub signalling: Option<Signalling>,
    /// What has not happened yet; empty when the handoff is complete.
    pub missing: Vec<String>,
}

/// A handoff as one call of the node saw it.
#[derive(Clone, Debug, Serialize)]
pub struct CallHandoff {
    /// The call.
    pub call: String,
    /// The correspondent node.
    pub peer: String,
    /// Detached → first media packet received at the new care-of address.
    pub downlink: Direction,
    /// Detached → first media packet from the new care-of address received by the peer.
    pub uplink: Direction,
}

/// A handoff as one media stream saw it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Direction {
    /// What the total is made of; none while no media has come.
    pub path: Option<CriticalPath>,
    /// Silence before the first packet on the new path.
    #[serde(rename = "media_gap_ms", serialize_with = "maybe_milliseconds")]
    pub media_gap: Option<Duration>,
    /// Packets missing before it.
    pub packets_lost: Option<u64>,
    /// For how long that packet was at the agents whose tunnels it passed, by their means around then; part of the path's
    /// last segment. With Mobile IPv6 in a lab.
    #[serde(rename = "tunnel_cost_ms", serialize_with = "maybe_milliseconds")]
    pub tunnel_cost: Option<Duration>,
}

/// Something that took time in a handoff.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    #[serde(rename = "phase")]
    pub name: &'static str,
    /// The correspondent node, for what concerns one call.
    pub peer: Option<String>,
    /// From the detachment to its beginning.
    #[serde(rename = "start_ms", serialize_with = "milliseconds")]
    pub start: Duration,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

impl Handoffs {
    /// From the records of a run, in any order.
    pub fn assemble(topology: &Topology, records: &[Record]) -> Self {
        Self::from_history(&Floors::new(topology), &records.iter().cloned().collect())
    }

    /// As [`Handoffs::assemble`], from records in order.
    pub fn from_history(floors: &Floors<'_>, history: &History) -> Self {
        let handoffs = history.nodes().flat_map(|(node, _)| {
            history
                .handoffs_of(node)
                .filter_map(move |number| Handoff::assemble(floors, history, node, number))
        });
        Self(handoffs.collect())
    }
}

impl Handoff {
    /// One handoff; none when it has not begun.
    pub fn assemble(
        floors: &Floors<'_>,
        history: &History,
        node: &str,
        number: HandoffNumber,
    ) -> Option<Self> {
        let (detached, until) = history.handoff_window(node, number)?;
        let facts = Facts::gather(
            history.since_before(node, number),
            number,
            detached,
            floors.node(node).and_then(radio_round_trip),
        );
        let registration = Registration::follow(floors, &facts);
        let mut calls = Vec::new();
        let mut missing = facts.missing();
        if !floors.node(node).is_some_and(runs_own_program) {
            missing.extend(registration.missing.clone());
        }
        let mut phases = facts.phases();
        phases.extend(registration.phases.iter().cloned());
        for (id, call) in history.calls_of(node) {
            let Some(peer) = call.peer_of(node).filter(|_| call.is_live(detached)) else { continue };
            let view = CallView { history, floors, facts: &facts, node, peer, id, until };
            let (outcome, update) = view.assemble();
            phases.extend(update);
            let ends_meanwhile = call.ended.is_some_and(|ended| ended < until);
            missing.extend(view.missing(&outcome, ends_meanwhile));
            calls.push(outcome);
        }
        phases.sort_by_key(|phase| phase.0);
        Some(Self {
            node: node.to_owned(),
            number,
            from: facts.from.clone(),
            to: facts.to.clone(),
            address: facts.address,
            kept: facts.released.zip(facts.attached).map(|(released, attached)| released - attached),
            going_down: facts.going_down.map(|told| detached - told),
            detached,
            attach_cost: facts.attach_cost,
            frames_dropped: facts.frames_dropped,
            anchor_kept: registration.anchor_kept,
            registration_kind: registration.kind,
            phases: phases
                .into_iter()
                .map(|Span(from, until, name, peer)| Phase {
                    name,
                    peer,
                    start: from - detached,
                    took: until - from,
                })
                .collect(),
            registration: registration.path,
            calls,
            signalling: None,
            missing,
        })
    }

    /// Whether the node is registered, every call's peer has answered, and media flows both ways again.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Whether a program of the user's runs there: what it says to whom is not known here.
fn runs_own_program(node: &Node) -> bool {
    node.program.is_some()
}

/// The configured delay of a mobile node's radio link, there and back.
fn radio_round_trip(mobile_node: &Node) -> Option<Duration> {
    match &mobile_node.kind {
        NodeKind::MobileNode { radio, .. } => Some(radio.up.least_delay() + radio.down.least_delay()),
        _ => None,
    }
}

/// The segment that a DHCP message ends.
fn dhcp_step(message: DhcpMessage) -> &'static str {
    match message {
        DhcpMessage::Discover => "dhcp_delay",
        DhcpMessage::Offer => "dhcp_offer",
        DhcpMessage::Request => "dhcp_request",
        DhcpMessage::Ack => "dhcp_ack",
        DhcpMessage::Nak => "dhcp_nak",
    }
}

/// A phase in absolute time: from, until, name, peer.
#[derive(Clone, Debug)]
struct Span(Time, Time, &'static str, Option<String>);

/// The milestones that a handoff has whatever else goes on.
struct Facts<'a> {
    records: Vec<&'a Record>,
    going_down: Option<Time>,
    detached: Time,
    gap: Duration,
    from: String,
    attached: Option<Time>,
    released: Option<Time>,
    to: Option<String>,
    attach_cost: Duration,
    frames_dropped: u64,
    triggered: Option<Time>,
    /// The steps by which the address was had, each with the segment that it ends.
    steps: Vec<(&'static str, Time)>,
    /// What the node's radio link takes there and back.
    radio_round_trip: Option<Duration>,
    configured: Option<Time>,
    address: Option<IpAddr>,
}

impl<'a> Facts<'a> {
    /// The handoff began at `detached`.
    fn gather(
        records: &'a [Record],
        number: HandoffNumber,
        detached: Time,
        radio_round_trip: Option<Duration>,
    ) -> Self {
        let mut facts = Facts {
            records: records.iter().filter(|record| record.event.handoff() == Some(number)).collect(),
            going_down: None,
            detached,
            gap: Duration::ZERO,
            from: String::new(),
            attached: None,
            released: None,
            to: None,
            attach_cost: Duration::ZERO,
            frames_dropped: 0,
            triggered: None,
            steps: Vec::new(),
            radio_round_trip,
            configured: None,
            address: None,
        };
        let mut sent = None;
        for record in &facts.records {
            match &record.event {
                Event::LinkGoingDown { .. } => facts.going_down = Some(record.at),
                Event::Detached { access_router, gap, .. } => {
                    facts.gap = *gap;
                    facts.from = access_router.clone();
                }
                Event::Attached { access_router, attach_cost, frames_dropped, .. } => {
                    facts.attached = Some(record.at);
                    facts.to = Some(access_router.clone());
                    facts.attach_cost = *attach_cost;
                    facts.frames_dropped += *frames_dropped;
                }
                Event::Released { access_router, frames_dropped, .. } => {
                    facts.released = Some(record.at);
                    facts.from = access_router.clone();
                    facts.frames_dropped += *frames_dropped;
                }
                Event::LinkTriggered { .. } => facts.triggered = Some(record.at),
                // Of a lease that was lost and had again nothing is part of the handoff.
                Event::DhcpSent { message, .. } if facts.configured.is_none() => {
                    let is_again = sent.replace(*message) == Some(*message);
                    let segment = if is_again { "dhcp_retransmit" } else { dhcp_step(*message) };
                    facts.steps.push((segment, record.at));
                }
                Event::DhcpReceived { message, .. } if facts.configured.is_none() => {
                    facts.steps.push((dhcp_step(*message), record.at));
                }
                Event::RouterSolicited { .. } if facts.configured.is_none() => {
                    let is_again = facts.steps.iter().any(|(segment, _)| *segment == "rs_delay");
                    facts.steps.push((if is_again { "rs_retransmit" } else { "rs_delay" }, record.at));
                }
                Event::RouterAdvertised { solicited, .. } => {
                    facts.steps.push((if *solicited { "ra_solicited" } else { "ra_unsolicited" }, record.at));
                }
                Event::AddressChecked { .. } if facts.configured.is_none() => {
                    facts.steps.push(("dad", record.at));
                }
                Event::AddressConfigured { address, .. } if facts.configured.is_none() => {
                    facts.configured = Some(record.at);
                    facts.address = Some(*address);
                }
                _ => {}
            }
        }
        facts
    }

    /// From detachment to a usable address: the head of every path.
    ///
    /// The emulator's own attach cost is a segment of its own as far as it lies between the two.
    fn head(&self) -> Vec<Milestone> {
        let l2 = self.attached.map(|attached| {
            let cost = self.attach_cost.min(attached - self.detached);
            self.detached + (attached - self.detached - cost)
        });
        let mut head = vec![
            Milestone::over("l2", l2, Some(self.gap)),
            Milestone::local("attach_cost", self.attached),
            Milestone::local("movement_detection", self.triggered),
        ];
        head.extend(self.steps.iter().map(|&(segment, at)| match segment {
            // Over the radio link and back.
            "dhcp_offer" | "dhcp_ack" | "ra_solicited" => {
                Milestone::over(segment, Some(at), self.radio_round_trip)
            }
            _ => Milestone::local(segment, Some(at)),
        }));
        head.push(Milestone::local("address", self.configured));
        head
    }

    fn phases(&self) -> Vec<Span> {
        let mut here = Some(self.detached);
        let head = self.head();
        let phases = head.iter().filter_map(|milestone| {
            let from = std::mem::replace(&mut here, milestone.at);
            Some(Span(from?, milestone.at?, milestone.segment, None))
        });
        phases.collect()
    }

    fn missing(&self) -> Vec<String> {
        // Where it makes before it breaks, that is the last thing to come.
        let left = (!self.from.is_empty()).then_some(self.detached);
        [
            (self.attached, "attachment"),
            (self.triggered, "link trigger"),
            (self.configured, "address"),
            (left, "release of the old link"),
        ]
        .into_iter()
        .filter(|(at, _)| at.is_none())
        .map(|(_, what)| what.to_owned())
        .collect()
    }
}
