//! Anchor discovery: one multicast REGISTER, many answers, a choice among those within δ.
//!
//! ```text
//!                         anchor needed ──▶ Open ──δ, or the deadline──▶ chosen ─▶ REGISTER or ACK to the choice
//! discover: ahead,   handoff done, probe, ──▶ Open ──the deadline──▶ candidates, kept for when an anchor is needed
//!                    link going down
//! ```
//! RFC 3261 §17.1.3 keeps only the first response to a multicast request, so discovery is a transaction of its own
//! kind, open for δ. With `confirm: standard` the request carries no Contact and so changes no binding (§10.2.3).

use super::registration::Cause;
use super::{MobileNode, SIP_PORT, Timer, contact_header};
use crate::node::Transmit;
use crate::server::minted_uri;
use crate::sip::{Host, Message, Method, NameAddr, Request, Response, Transport, Uri, Via, status};
use crate::transaction::in_the_steps_of;
use samp_model::settings::{AnchorSelect, Confirm, Discover, Family};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest pause between two unheard discoveries.
const MAX_PAUSE: Duration = Duration::from_secs(4);
/// Servers that one discovery listens to at most.
const MAX_ANSWERS: usize = 256;

/// A discovery under way.
#[derive(Debug)]
pub(super) struct Discovery {
    request: Request,
    started: Time,
    /// Who answered, by address: a random choice depends on who has answered, and not on who was a microsecond before whom.
    answers: Vec<Candidate>,
    /// How long to wait for the first answer; doubles with each unheard attempt.
    patience: Duration,
    /// Nobody waits for it: it only measures.
    is_ahead: bool,
}

/// A server that may become the anchor.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    address: SocketAddr,
    response_time: Duration,
    /// The To field of its answer, which has its tag.
    to: NameAddr,
    minted: Option<Uri>,
}

impl MobileNode {
    /// An anchor is needed, and not this one: one that is known to answer within δ, or a discovery.
    pub(super) fn find_anchor(&mut self, now: Time, except: Option<SocketAddr>) {
        let mut known = std::mem::take(&mut self.candidates);
        known.retain(|known| Some(known.address) != except && known.response_time <= self.settings.delta);
        if known.is_empty() {
            return self.start_discovery(now);
        }
        self.stop_discovery();
        let (answers, chosen) = (known.len() as u32, self.choose(&known));
        self.record_choice(&chosen, answers, answers);
        self.adopt_anchor(now, chosen.address);
        self.register_with_anchor(now, Cause::Remembered);
    }

    pub(super) fn start_discovery(&mut self, now: Time) {
        self.record(Event::DiscoveryStarted { handoff: self.handoff });
        self.multicast_register(now, self.settings.discovery_deadline, false);
    }

    /// Measures who could be the anchor, if that is wanted and nobody does already.
    pub(super) fn look_ahead(&mut self, now: Time) {
        if self.settings.discover == Discover::Ahead && self.discovery.is_none() {
            self.multicast_register(now, self.settings.discovery_deadline, true);
        }
    }

    /// A handoff cuts a discovery ahead short: who has answered by now is a candidate.
    pub(super) fn keep_heard(&mut self) {
        if let Some(discovery) = &self.discovery
            && discovery.is_ahead
            && !discovery.answers.is_empty()
        {
            self.candidates = discovery.answers.clone();
        }
    }

    pub(super) fn stop_discovery(&mut self) {
        self.discovery = None;
        self.timers.stop(&Timer::Delta);
        self.timers.stop(&Timer::DiscoveryDeadline);
    }

    fn multicast_register(&mut self, now: Time, patience: Duration, is_ahead: bool) {
        let Some(own) = self.own_address() else { return };
        let group = self.settings.discovery_group(Family::of(own.ip()));
        // The name that RFC 3261 §10.2.6 assigns has an IPv4 address only.
        let host = if group.is_ipv4() { Host::Name("sip.mcast.net".to_owned()) } else { Host::Ip(group) };
        let uri = Uri::new(None, host);
        let home = self.address_of_record.clone();
        let call_id = self.random.token("call");
        let mut request = self.request(Method::Register, uri, home, &call_id, 1, own);
        if self.settings.confirm == Confirm::Paper && !is_ahead {
            request.headers.contact.push(contact_header(self.contact(own)));
            request.headers.expires = Some(self.lifetime.as_secs() as u32);
        }
        let message = Arc::new(Message::Request(request.clone()));
        self.discovery = Some(Discovery { request, started: now, answers: Vec::new(), patience, is_ahead });
        self.timers.set(Timer::Delta, now + self.settings.delta);
        self.timers.set(Timer::DiscoveryDeadline, now + patience);
        let to = SocketAddr::new(group, SIP_PORT);
        let ttl = Some(self.settings.multicast_ttl);
        self.transmits.push_back(Transmit { ttl, ..Transmit::new(to, Transport::Udp, message) });
    }

    pub(super) fn handle_discovery_answer(&mut self, now: Time, from: SocketAddr, response: &Response) {
        let contact = self.own_address().map(|own| self.contact(own));
        let Some(discovery) = &mut self.discovery else { return };
        let branch = discovery.request.top_via().map(Via::branch);
        let ours = response.headers.via.first().map(Via::branch) == branch;
        let place = discovery.answers.binary_search_by_key(&from, |answer| answer.address);
        let Err(place) = place else { return };
        if !ours || response.status != status::OK || discovery.answers.len() == MAX_ANSWERS {
            return;
        }
        let answer = Candidate {
            address: from,
            response_time: now - discovery.started,
            to: response.headers.to.clone(),
            minted: contact.and_then(|contact| minted_uri(response, &contact)),
        };
        discovery.answers.insert(place, answer);
        if self.settings.anchor_select == AnchorSelect::Fastest && !discovery.is_ahead {
            self.finish_discovery(now, true);
        }
    }

    /// Chooses, if there is somebody to choose; `at_deadline` takes those slower than δ too.
    pub(super) fn finish_discovery(&mut self, now: Time, at_deadline: bool) {
        let Some(discovery) = &self.discovery else { return };
        if discovery.is_ahead {
            if at_deadline {
                self.candidates = discovery.answers.clone();
                self.stop_discovery();
            }
            return;
        }
        let answers = discovery.answers.clone();
        let within: Vec<_> =
            answers.iter().filter(|answer| answer.response_time <= self.settings.delta).cloned().collect();
        let candidates = if at_deadline && within.is_empty() { &answers } else { &within };
        if candidates.is_empty() {
            if at_deadline {
                let patience = (2 * discovery.patience).min(MAX_PAUSE);
                self.multicast_register(now, patience, false);
            }
            return;
        }
        let chosen = self.choose(candidates);
        let Some(discovery) = self.discovery.take() else { return };
        self.stop_discovery();
        self.record_choice(&chosen, answers.len() as u32, within.len() as u32);
        if self.anchor.as_ref().is_some_and(|present| present.address == chosen.address) {
            return;
        }
        match self.settings.confirm {
            Confirm::Standard => {
                self.adopt_anchor(now, chosen.address);
                self.register_with_anchor(now, Cause::Discovery);
            }
            Confirm::Paper => self.confirm(now, &discovery.request, chosen),
        }
    }

    fn choose(&mut self, candidates: &[Candidate]) -> Candidate {
        let choice = match self.settings.anchor_select {
            AnchorSelect::Random => self.random.index("anchor", candidates.len()),
            AnchorSelect::Fastest => {
                let fastest = candidates.iter().enumerate().min_by_key(|(_, one)| one.response_time);
                fastest.map_or(0, |(index, _)| index)
            }
        };
        candidates[choice].clone()
    }

    fn record_choice(&mut self, chosen: &Candidate, answers: u32, within_delta: u32) {
        let (handoff, anchor, response_time) = (self.handoff, chosen.address.ip(), chosen.response_time);
        self.record(Event::AnchorSelected { handoff, anchor, response_time, answers, within_delta });
    }

    /// The paper's ACK to the winner: its answer's Call-ID, tags and CSeq number, and a branch of its own.
    fn confirm(&mut self, now: Time, register: &Request, chosen: Candidate) {
        let Some(own) = self.own_address() else { return };
        let mut ack = in_the_steps_of(register, Method::Ack);
        ack.uri = Uri::new(None, Host::Ip(chosen.address.ip()));
        ack.headers.to = chosen.to;
        ack.headers.via = vec![Via::new(own, &self.random.branch())];
        self.transmits.push_back(Transmit::request(chosen.address, ack));
        let (handoff, anchor) = (self.handoff, chosen.address.ip());
        self.record(Event::AnchorConfirmed { handoff, anchor });
        let contact = self.contact(own);
        let anchor = self.adopt_anchor(now, chosen.address);
        anchor.contacts.insert(contact);
        anchor.minted = chosen.minted;
        self.handle_anchored(now, self.settings.anchor_probe);
        self.register_with_home(now);
    }
}
