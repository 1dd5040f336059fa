//! Handoffs, one by one: what happened when, phase by phase, and what each total is made of.

use super::floor::Floors;
use super::history::History;
use super::path::{CriticalPath, Milestone};
use super::statistics::milliseconds;
use samp_model::record::{HandoffNumber, RegistrationScope};
use samp_model::{Event, Record, Time, Topology};
use serde::Serialize;
use std::collections::BTreeSet;
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
    /// When the radio left the old access router.
    #[serde(rename = "detached_ns")]
    pub detached: Time,
    /// What the attachment itself cost the emulator.
    #[serde(rename = "attach_cost_ms", serialize_with = "milliseconds")]
    pub attach_cost: Duration,
    /// Frames that were on the radio link and were dropped.
    pub frames_dropped: u64,
    /// Whether the anchor was kept, so that only it had to be told.
    pub anchor_kept: bool,
    /// What happened from when to when, in the order of the beginnings; phases may overlap.
    pub phases: Vec<Phase>,
    /// Detached → registration answered.
    pub registration: Option<CriticalPath>,
    /// What it meant for each call that was up.
    pub calls: Vec<CallHandoff>,
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
    #[serde(rename = "media_gap_ms", serialize_with = "super::statistics::maybe_milliseconds")]
    pub media_gap: Option<Duration>,
    /// Packets missing before it.
    pub packets_lost: Option<u64>,
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
        let handoffs = history.nodes().flat_map(|(node, records)| {
            let numbers: BTreeSet<_> = records
                .iter()
                .filter_map(|record| match record.event {
                    Event::Detached { handoff, .. } => Some(handoff),
                    _ => None,
                })
                .collect();
            numbers.into_iter().filter_map(move |number| Handoff::assemble(floors, history, node, number))
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
        let facts = Facts::gather(history.of(node), number);
        let registration = Registration::follow(floors, &facts);
        let mut calls = Vec::new();
        let mut missing = facts.missing();
        missing.extend(registration.missing.clone());
        let mut phases = facts.phases();
        phases.extend(registration.phases.iter().cloned());
        for (id, call) in history.calls() {
            let Some(peer) = call.peer_of(node).filter(|_| call.is_live(detached)) else { continue };
            let view = CallView { history, floors, facts: &facts, node, peer, id, until };
            let (outcome, update) = view.assemble();
            phases.extend(update);
            if call.ended.is_none_or(|ended| until <= ended) {
                missing.extend(view.missing(&outcome));
            }
            calls.push(outcome);
        }
        phases.sort_by_key(|phase| phase.0);
        Some(Self {
            node: node.to_owned(),
            number,
            from: facts.from.clone(),
            to: facts.to.clone(),
            address: facts.address,
            detached,
            attach_cost: facts.attach_cost,
            frames_dropped: facts.frames_dropped,
            anchor_kept: registration.anchor_kept,
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
            missing,
        })
    }

    /// Whether the node is registered, every call's peer has answered, and media flows both ways again.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A phase in absolute time: from, until, name, peer.
#[derive(Clone, Debug)]
struct Span(Time, Time, &'static str, Option<String>);

/// The milestones that a handoff has whatever else goes on.
struct Facts<'a> {
    records: Vec<&'a Record>,
    detached: Time,
    from: String,
    attached: Option<Time>,
    to: Option<String>,
    attach_cost: Duration,
    frames_dropped: u64,
    triggered: Option<Time>,
    configured: Option<Time>,
    address: Option<IpAddr>,
}

impl<'a> Facts<'a> {
    /// The records must hold the detachment.
    fn gather(records: &'a [Record], number: HandoffNumber) -> Self {
        let mut facts = Facts {
            records: records.iter().filter(|record| handoff_of(&record.event) == Some(number)).collect(),
            detached: Time::ZERO,
            from: String::new(),
            attached: None,
            to: None,
            attach_cost: Duration::ZERO,
            frames_dropped: 0,
            triggered: None,
            configured: None,
            address: None,
        };
        for record in &facts.records {
            match &record.event {
                Event::Detached { access_router, .. } => {
                    facts.detached = record.at;
                    facts.from = access_router.clone();
                }
                Event::Attached { access_router, attach_cost, frames_dropped, .. } => {
                    facts.attached = Some(record.at);
                    facts.to = Some(access_router.clone());
                    facts.attach_cost = *attach_cost;
                    facts.frames_dropped = *frames_dropped;
                }
                Event::LinkTriggered { .. } => facts.triggered = Some(record.at),
                Event::AddressConfigured { address, .. } => {
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
        vec![
            Milestone::local("l2", l2),
            Milestone::local("attach_cost", self.attached),
            Milestone::local("movement_detection", self.triggered),
            Milestone::local("address", self.configured),
        ]
    }

    fn phases(&self) -> Vec<Span> {
        let points = [Some(self.detached), self.head()[0].at, self.attached, self.triggered, self.configured];
        let names = ["l2", "attach_cost", "movement_detection", "address"];
        points
            .windows(2)
            .zip(names)
            .filter_map(|(points, name)| Some(Span(points[0]?, points[1]?, name, None)))
            .collect()
    }

    fn missing(&self) -> Vec<String> {
        [(self.attached, "attachment"), (self.triggered, "link trigger"), (self.configured, "address")]
            .into_iter()
            .filter(|(at, _)| at.is_none())
            .map(|(_, what)| what.to_owned())
            .collect()
    }
}

/// What a handoff's registration consisted of.
struct Registration {
    anchor_kept: bool,
    path: Option<CriticalPath>,
    phases: Vec<Span>,
    missing: Option<String>,
}

impl Registration {
    /// Follows the events in order: discovery, REGISTERs and answers, each interval named by what ended it.
    fn follow(floors: &Floors<'_>, facts: &Facts<'_>) -> Self {
        let mut milestones = facts.head();
        let mut phases = Vec::new();
        let mut anchor_kept = true;
        let mut discovery = None;
        let mut sent: Vec<(RegistrationScope, Time)> = Vec::new();
        let mut awaited = Some("registration");
        for record in &facts.records {
            let at = record.at;
            match &record.event {
                Event::DiscoveryStarted { .. } => {
                    milestones.push(Milestone::local("dispatch", Some(at)));
                    discovery = Some(at);
                    awaited = Some("anchor discovery");
                }
                Event::AnchorSelected { anchor, response_time, .. } => {
                    anchor_kept = false;
                    if let Some(started) = discovery.take() {
                        let floor = facts.address.and_then(|own| floors.there_and_back(&[own, *anchor]));
                        let answered = started + *response_time;
                        milestones.push(Milestone::over("anchor_discovery", Some(answered), floor));
                        milestones.push(Milestone::local("delta_wait", Some(at)));
                        phases.push(Span(started, at, "anchor_discovery", None));
                    }
                    awaited = Some("home registration");
                }
                Event::RegisterSent { scope, .. } => {
                    milestones.push(Milestone::local("dispatch", Some(at)));
                    sent.push((*scope, at));
                }
                Event::Registered { scope, path, .. } => {
                    let floor = facts.address.and_then(|own| {
                        let stops: Vec<_> = [own].into_iter().chain(path.iter().copied()).collect();
                        floors.there_and_back(&stops)
                    });
                    milestones.push(Milestone::over(registration_name(*scope), Some(at), floor));
                    phases.extend(answered(&mut sent, *scope, at, registration_name(*scope)));
                    if anchor_kept || *scope == RegistrationScope::Home {
                        awaited = None;
                    }
                }
                Event::RegistrationFailed { scope, .. } => {
                    milestones.push(Milestone::local("registration_failed", Some(at)));
                    phases.extend(answered(&mut sent, *scope, at, "registration_failed"));
                    awaited = Some("registration after a failure");
                }
                _ => {}
            }
        }
        let missing = awaited.or(sent.first().map(|_| "answer to a REGISTER")).map(str::to_owned);
        // Nothing happens between an event and the REGISTER that it causes: keep the dispatch only where it took time.
        let mut here = facts.detached;
        milestones.retain(|milestone| {
            let took = milestone.at.is_some_and(|at| at > here);
            here = milestone.at.unwrap_or(here);
            milestone.segment != "dispatch" || took
        });
        let path = match missing {
            None => CriticalPath::new(facts.detached, &milestones),
            Some(_) => None,
        };
        Self { anchor_kept, path, phases, missing }
    }
}

/// Takes the REGISTER of this scope out of those that wait for an answer.
fn answered(
    sent: &mut Vec<(RegistrationScope, Time)>,
    scope: RegistrationScope,
    at: Time,
    name: &'static str,
) -> Option<Span> {
    let index = sent.iter().position(|(waiting, _)| *waiting == scope)?;
    let (_, from) = sent.remove(index);
    Some(Span(from, at, name, None))
}

/// What is needed to see a handoff as one call does.
struct CallView<'a> {
    history: &'a History,
    floors: &'a Floors<'a>,
    facts: &'a Facts<'a>,
    node: &'a str,
    peer: &'a str,
    id: &'a str,
    until: Time,
}

impl CallView<'_> {
    fn assemble(&self) -> (CallHandoff, Option<Span>) {
        let update = self
            .update_sent()
            .zip(self.update_answered())
            .map(|(sent, (answered, _))| Span(sent, answered, "session_update", Some(self.peer.to_owned())));
        let outcome = CallHandoff {
            call: self.id.to_owned(),
            peer: self.peer.to_owned(),
            downlink: self.downlink(),
            uplink: self.uplink(),
        };
        (outcome, update)
    }

    fn missing(&self, outcome: &CallHandoff) -> Vec<String> {
        let mut missing = Vec::new();
        match self.update_answered() {
            Some((_, 200..300)) => {}
            Some((_, status)) => missing.push(format!("session update (answered {status} by {})", self.peer)),
            None => missing.push(format!("session update by {}", self.peer)),
        }
        for (direction, which) in [(&outcome.downlink, "from"), (&outcome.uplink, "to")] {
            if direction.path.is_none() {
                missing.push(format!("media {which} {}", self.peer));
            }
        }
        missing
    }

    /// re-INVITE to the peer, whose media then comes to the new care-of address.
    fn downlink(&self) -> Direction {
        let Some(own) = self.facts.address else { return Default::default() };
        let retargeted = self.at_peer(
            |event| matches!(event, Event::MediaRetargeted { call, to } if call == self.id && *to == own),
        );
        let sent = self.at_peer(
            |event| matches!(event, Event::MediaFirstSent { call, to } if call == self.id && *to == own),
        );
        let received = self.at_node().iter().find_map(|record| match &record.event {
            Event::MediaFirstReceived { call, from, at, silence, lost } if call == self.id && *at == own => {
                Some((record.at, *from, *silence, *lost))
            }
            _ => None,
        });
        let peer = received.map(|(_, from, ..)| from);
        let leg = |from: Option<IpAddr>, to: Option<IpAddr>| self.floors.one_way(from?, to?);
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("update_dispatch", self.update_sent()),
            Milestone::over("update_transit", retargeted, leg(Some(own), peer)),
            Milestone::local("packetisation", sent),
            Milestone::over("media_transit", received.map(|(at, ..)| at), leg(peer, Some(own))),
        ]);
        self.direction(&milestones, received.map(|(at, _, silence, lost)| (at, silence, lost)))
    }

    /// Own media from the new care-of address, as soon as there is one.
    fn uplink(&self) -> Direction {
        let Some(own) = self.facts.address else { return Default::default() };
        let received =
            self.history.window(self.peer, self.facts.detached, self.until).iter().find_map(|record| {
                match &record.event {
                    Event::MediaFirstReceived { call, from, at, silence, lost }
                        if call == self.id && *from == own =>
                    {
                        Some((record.at, *at, *silence, *lost))
                    }
                    _ => None,
                }
            });
        let sent = self.at_node().iter().find_map(|record| match &record.event {
            Event::MediaFirstSent { call, .. }
                if call == self.id && Some(record.at) >= self.facts.configured =>
            {
                Some(record.at)
            }
            _ => None,
        });
        let floor = received.and_then(|(_, peer, ..)| self.floors.one_way(own, peer));
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("packetisation", sent),
            Milestone::over("media_transit", received.map(|(at, ..)| at), floor),
        ]);
        self.direction(&milestones, received.map(|(at, _, silence, lost)| (at, silence, lost)))
    }

    fn direction(&self, milestones: &[Milestone], received: Option<(Time, Duration, u64)>) -> Direction {
        Direction {
            path: CriticalPath::new(self.facts.detached, milestones),
            media_gap: received.map(|(_, silence, _)| silence),
            packets_lost: received.map(|(_, _, lost)| lost),
        }
    }

    fn update_sent(&self) -> Option<Time> {
        self.facts.records.iter().find_map(|record| match &record.event {
            Event::UpdateSent { call, .. } if call == self.id => Some(record.at),
            _ => None,
        })
    }

    fn update_answered(&self) -> Option<(Time, u16)> {
        self.facts.records.iter().rev().find_map(|record| match &record.event {
            Event::UpdateAnswered { call, status, .. } if call == self.id => Some((record.at, *status)),
            _ => None,
        })
    }

    fn at_node(&self) -> &[Record] {
        self.history.window(self.node, self.facts.detached, self.until)
    }

    fn at_peer(&self, wanted: impl Fn(&Event) -> bool) -> Option<Time> {
        let records = self.history.window(self.peer, self.facts.detached, self.until);
        records.iter().find(|record| wanted(&record.event)).map(|record| record.at)
    }
}

/// Name of a registration in phases and segments.
fn registration_name(scope: RegistrationScope) -> &'static str {
    match scope {
        RegistrationScope::Anchor => "registration_anchor",
        RegistrationScope::Home => "registration_home",
    }
}

/// The handoff that an event belongs to by number.
fn handoff_of(event: &Event) -> Option<HandoffNumber> {
    match event {
        Event::Detached { handoff, .. }
        | Event::Attached { handoff, .. }
        | Event::LinkTriggered { handoff }
        | Event::AddressConfigured { handoff, .. }
        | Event::DiscoveryStarted { handoff }
        | Event::AnchorSelected { handoff, .. }
        | Event::RegisterSent { handoff, .. }
        | Event::Registered { handoff, .. }
        | Event::RegistrationFailed { handoff, .. }
        | Event::UpdateSent { handoff, .. }
        | Event::UpdateAnswered { handoff, .. } => Some(*handoff),
        _ => None,
    }
}
