//! Records in order: by node and instant, and by call.

use super::interventions::intervention;
use super::messages::{Message, Messages};
use samp_model::record::{CacheOutcome, Event, FloodNumber, HandoffNumber};
use samp_model::ring::RingView;
use samp_model::{Record, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// What is known so far; records may be pushed in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    nodes: BTreeMap<String, Vec<Record>>,
    calls: BTreeMap<String, Call>,
    /// The calls that each node began or accepted.
    calls_of: BTreeMap<String, BTreeSet<String>>,
    /// Each node's handoffs, by number, with when they began.
    handoffs: BTreeMap<String, BTreeMap<HandoffNumber, Time>>,
    messages: Messages,
    interventions: usize,
    floods_ended: BTreeSet<FloodNumber>,
    ring: RingView,
}

/// What is known of one call, from both of its ends.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// When the caller was told to call.
    pub started: Option<Time>,
    /// The node that called.
    pub caller: Option<String>,
    /// Whom it called, by address-of-record.
    pub callee_address: Option<String>,
    /// The nodes that accepted and were not turned away, the first one first.
    pub accepted: Vec<String>,
    /// The terminals of the callee's that were not in time.
    pub cancelled: BTreeSet<String>,
    /// When another terminal was asked to take the call over, and by whom.
    pub transfer_started: Option<(Time, String)>,
    /// Why it did not.
    pub transfer_failed: Option<u16>,
    /// The call that has taken this one's place.
    pub replaced_by: Option<String>,
    /// The caller had the 200.
    pub established: Option<Established>,
    /// When and how it failed.
    pub failed: Option<(Time, u16)>,
    /// When the first of its ends saw it end.
    pub ended: Option<Time>,
    /// When the first and the last server passed the INVITE on.
    pub forwarded: Option<(Time, Time)>,
    /// The nodes that have heard media in it, since when.
    pub hearing: BTreeMap<String, Time>,
    /// What the ends received in all.
    pub media: Vec<MediaTotals>,
}

/// How a call was established.
#[derive(Clone, Debug)]
pub struct Established {
    /// When.
    pub at: Time,
    /// Session Request Delay.
    pub srd: Duration,
    /// What the caches were worth.
    pub cache: CacheOutcome,
    /// The servers that the INVITE passed.
    pub path: Vec<IpAddr>,
    /// The ways there and back of what was redirected before.
    pub redirected: Vec<Vec<IpAddr>>,
}

/// What one end of a call sent and received.
#[derive(Clone, Debug)]
pub struct MediaTotals {
    /// The node.
    pub node: String,
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets received.
    pub received: u64,
    /// RTP packets missing.
    pub lost: u64,
    /// The longest silence.
    pub longest_silence: Duration,
}

impl History {
    /// Takes in one more record. Of single messages only those that were sent are kept, as few bytes of each as figures
    /// need.
    pub fn push(&mut self, record: Record) {
        if matches!(record.event, Event::MessageSent { .. } | Event::MessageReceived { .. }) {
            self.messages.push(&record);
            return;
        }
        self.ring.note(&record);
        self.note_call(&record);
        if let Some((number, at)) = begins(&record) {
            let handoffs = self.handoffs.entry(record.node.clone()).or_default();
            handoffs.entry(number).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
        if let Event::FloodEnded { number, .. } = record.event {
            self.floods_ended.insert(number);
        } else {
            self.interventions += usize::from(intervention(&record.event).is_some());
        }
        let records = self.nodes.entry(record.node.clone()).or_default();
        // Nearly always the newest of its node; equal instants keep the order of arrival.
        let place = records.partition_point(|earlier| earlier.at <= record.at);
        records.insert(place, record);
    }

    /// The records of a node, oldest first.
    pub fn of(&self, node: &str) -> &[Record] {
        self.nodes.get(node).map_or(&[], Vec::as_slice)
    }

    /// The records of a node from one instant until another, both included: in virtual time a handoff may begin in the
    /// instant in which the one before has come to its end.
    pub fn window(&self, node: &str, from: Time, until: Time) -> &[Record] {
        let records = self.of(node);
        let start = records.partition_point(|record| record.at < from);
        let end = records.partition_point(|record| record.at <= until);
        &records[start..end.max(start)]
    }

    /// The nodes that have records, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &[Record])> {
        self.nodes.iter().map(|(node, records)| (node.as_str(), records.as_slice()))
    }

    /// How often something was done to the lab from outside.
    pub fn interventions(&self) -> usize {
        self.interventions
    }

    /// Whether a flood is over.
    pub fn has_flood_ended(&self, number: FloodNumber) -> bool {
        self.floods_ended.contains(&number)
    }

    /// What the servers have said last of their places on the ring.
    pub fn ring(&self) -> &RingView {
        &self.ring
    }

    /// The messages that were sent, in order, by Call-ID or by the home address that they are about.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&str, Vec<&Message>)> {
        self.messages.by_call()
    }

    /// A call.
    pub fn call(&self, call: &str) -> Option<&Call> {
        self.calls.get(call)
    }

    /// Whether a transfer of this call has failed, or both ends of the new call hear each other.
    pub fn transfer_decided(&self, call: &str) -> bool {
        let Some(old) = self.call(call) else { return false };
        let new = old.replaced_by.as_ref().and_then(|new| self.call(new));
        old.transfer_failed.is_some() || new.is_some_and(|new| new.talks() || new.failed.is_some())
    }

    /// All calls, in the order in which they were started.
    pub fn calls(&self) -> Vec<(&str, &Call)> {
        let mut calls: Vec<_> = self.calls.iter().map(|(id, call)| (id.as_str(), call)).collect();
        calls.sort_by_key(|(_, call)| call.started);
        calls
    }

    /// The calls that a node began or accepted, in the order in which they were started.
    pub fn calls_of(&self, node: &str) -> Vec<(&str, &Call)> {
        let ids = self.calls_of.get(node).into_iter().flatten();
        let mut calls: Vec<_> = ids.filter_map(|id| Some((id.as_str(), self.calls.get(id)?))).collect();
        calls.sort_by_key(|(_, call)| call.started);
        calls
    }

    /// The instant at which a handoff of a node began, and the one at which its next handoff did.
    pub fn handoff_window(&self, node: &str, number: HandoffNumber) -> Option<(Time, Time)> {
        let handoffs = self.handoffs.get(node)?;
        let next = handoffs.range(number + 1..).next();
        Some((*handoffs.get(&number)?, next.map_or(Time::from_nanos(u64::MAX), |(_, at)| *at)))
    }

    /// The numbers of a node's handoffs, in order.
    pub fn handoffs_of(&self, node: &str) -> impl Iterator<Item = HandoffNumber> {
        self.handoffs.get(node).into_iter().flat_map(|handoffs| handoffs.keys().copied())
    }

    /// What a node recorded from the handoff before this one on: nothing earlier belongs to it.
    pub fn since_before(&self, node: &str, number: HandoffNumber) -> &[Record] {
        let before = self.handoffs.get(node).and_then(|handoffs| handoffs.range(..number).next_back());
        let records = self.of(node);
        before.map_or(records, |(_, at)| &records[records.partition_point(|record| record.at < *at)..])
    }

    fn note_call(&mut self, record: &Record) {
        let Some(id) = call_of(&record.event) else { return };
        if matches!(record.event, Event::CallStarted { .. } | Event::CallAccepted { .. }) {
            self.calls_of.entry(record.node.clone()).or_default().insert(id.to_owned());
        }
        let call = self.calls.entry(id.to_owned()).or_default();
        match &record.event {
            Event::CallStarted { callee, .. } => {
                call.started = Some(record.at);
                call.caller = Some(record.node.clone());
                call.callee_address = Some(callee.clone());
            }
            Event::CallAccepted { .. } => call.accepted.push(record.node.clone()),
            Event::CallCancelled { .. } => {
                call.accepted.retain(|node| *node != record.node);
                call.cancelled.insert(record.node.clone());
            }
            Event::TransferStarted { .. } => {
                call.transfer_started = Some((record.at, record.node.clone()));
                call.transfer_failed = None;
            }
            Event::TransferFailed { status, .. } => call.transfer_failed = Some(*status),
            Event::CallReplaced { by, .. } => call.replaced_by = Some(by.clone()),
            Event::CallEstablished { srd, cache, path, redirected, .. } => {
                call.established = Some(Established {
                    at: record.at,
                    srd: *srd,
                    cache: *cache,
                    path: path.clone(),
                    redirected: redirected.clone(),
                });
            }
            Event::CallFailed { status, .. } => call.failed = Some((record.at, *status)),
            Event::CallEnded { .. } => {
                call.ended = Some(call.ended.map_or(record.at, |ended| ended.min(record.at)));
            }
            Event::InviteForwarded { .. } => {
                let (first, last) = call.forwarded.unwrap_or((record.at, record.at));
                call.forwarded = Some((first.min(record.at), last.max(record.at)));
            }
            Event::MediaFirstReceived { .. } => {
                call.hearing.entry(record.node.clone()).or_insert(record.at);
            }
            Event::MediaSummary { sent, received, lost, longest_silence, .. } => {
                call.media.push(MediaTotals {
                    node: record.node.clone(),
                    sent: *sent,
                    received: *received,
                    lost: *lost,
                    longest_silence: *longest_silence,
                });
            }
            _ => {}
        }
    }
}

impl Call {
    /// The node that accepted, of several the first.
    pub fn callee(&self) -> Option<&str> {
        self.accepted.first().map(String::as_str)
    }

    /// What its two ends received in all, and not those that were turned away.
    pub fn media(&self) -> impl Iterator<Item = &MediaTotals> {
        self.media.iter().filter(|totals| !self.cancelled.contains(&totals.node))
    }

    /// The other end, seen from `node`; none when `node` has no part in the call or the other end is not known.
    pub fn peer_of(&self, node: &str) -> Option<&str> {
        match (self.caller.as_deref(), self.callee()) {
            (Some(caller), Some(callee)) if caller == node => Some(callee),
            (Some(caller), Some(callee)) if callee == node => Some(caller),
            _ => None,
        }
    }

    /// Whether the call was up at this instant.
    pub fn is_live(&self, at: Time) -> bool {
        self.established.as_ref().is_some_and(|established| established.at <= at)
            && self.ended.is_none_or(|ended| at < ended)
    }

    /// Whether it is up and both ends hear each other.
    pub fn talks(&self) -> bool {
        self.talks_since().is_some()
    }

    /// Whether it is up now and its ends hear each other. A callee that runs a program of the user's tells nothing.
    pub fn is_up(&self) -> bool {
        let is_decided = self.is_decided(self.callee().is_none());
        is_decided && self.failed.is_none() && self.ended.is_none()
    }

    /// Whether it has come about or failed. A program of the user's as callee tells nothing: there the caller has to
    /// hear it.
    pub fn is_decided(&self, to_program: bool) -> bool {
        self.failed.is_some() || if to_program { self.is_heard() } else { self.talks() }
    }

    /// Whether it is up and the caller hears the callee.
    pub fn is_heard(&self) -> bool {
        let caller = self.caller.as_ref();
        self.established.is_some() && caller.is_some_and(|caller| self.hearing.contains_key(caller))
    }

    /// When it was up and both ends had heard each other.
    pub fn talks_since(&self) -> Option<Time> {
        let established = self.established.as_ref()?.at;
        let heard = |node: Option<&str>| self.hearing.get(node?).copied();
        Some(established.max(heard(self.caller.as_deref())?).max(heard(self.callee())?))
    }
}

impl FromIterator<Record> for History {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut history = Self::default();
        records.into_iter().for_each(|record| history.push(record));
        history
    }
}

/// The handoff that this record begins, and when: with its detachment, or, where it makes before it breaks, with its
/// attachment. Others have both.
fn begins(record: &Record) -> Option<(HandoffNumber, Time)> {
    match record.event {
        Event::Detached { handoff, .. } => Some((handoff, record.at)),
        // The first attachment is no handoff.
        Event::Attached { handoff: 1.., attach_cost, .. } => {
            let called = record.at.as_nanos().saturating_sub(attach_cost.as_nanos() as u64);
            Some((record.event.handoff()?, Time::from_nanos(called)))
        }
        _ => None,
    }
}

/// The call that an event tells of.
fn call_of(event: &Event) -> Option<&str> {
    match event {
        Event::UpdateSent { call, .. }
        | Event::UpdateAnswered { call, .. }
        | Event::CallStarted { call, .. }
        | Event::CallEstablished { call, .. }
        | Event::CallFailed { call, .. }
        | Event::CallAccepted { call, .. }
        | Event::CallRinging { call, .. }
        | Event::CallCancelled { call }
        | Event::TransferStarted { call, .. }
        | Event::TransferFailed { call, .. }
        | Event::CallReplaced { call, .. }
        | Event::CallEnded { call }
        | Event::InviteForwarded { call, .. }
        | Event::MediaRetargeted { call, .. }
        | Event::MediaFirstSent { call, .. }
        | Event::MediaFirstReceived { call, .. }
        | Event::MediaSummary { call, .. } => Some(call),
        _ => None,
    }
}
