//! Anchor discovery: one multicast REGISTER, many answers, a choice among those within δ.
//!
//! RFC 3261 §17.1.3 keeps only the first response to a multicast request, so discovery is a transaction of its own
//! kind, open for δ. The request carries no Contact and so changes no binding (§10.2.3).

use super::registration::{Anchor, Cause};
use super::{MobileNode, SIP_PORT, Timer};
use crate::node::Transmit;
use crate::sip::{Host, Message, Method, Response, Transport, Uri, status};
use samp_model::settings::{AnchorSelect, Family};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest pause between two unheard discoveries.
const MAX_PAUSE: Duration = Duration::from_secs(4);

/// A discovery under way.
#[derive(Debug)]
pub(super) struct Discovery {
    branch: String,
    started: Time,
    /// Who answered, after what time, in the order of arrival.
    answers: Vec<(SocketAddr, Duration)>,
    /// How long to wait for the first answer; doubles with each unheard attempt.
    patience: Duration,
}

impl MobileNode {
    pub(super) fn start_discovery(&mut self, now: Time) {
        self.record(Event::DiscoveryStarted { handoff: self.handoff });
        self.multicast_register(now, self.settings.discovery_deadline);
    }

    fn multicast_register(&mut self, now: Time, patience: Duration) {
        let Some(own) = self.own_address() else { return };
        let group = self.settings.discovery_group(Family::of(own.ip()));
        // The name that RFC 3261 §10.2.6 assigns has an IPv4 address only.
        let host = if group.is_ipv4() { Host::Name("sip.mcast.net".to_owned()) } else { Host::Ip(group) };
        let uri = Uri::new(None, host);
        let home = self.address_of_record.clone();
        let call_id = self.random.token("call");
        let request = self.request(Method::Register, uri, home, &call_id, 1, own);
        let branch = request.headers.via[0].branch().to_owned();
        self.discovery = Some(Discovery { branch, started: now, answers: Vec::new(), patience });
        self.timers.set(Timer::Delta, now + self.settings.delta);
        self.timers.set(Timer::DiscoveryDeadline, now + patience);
        self.transmits.push_back(Transmit {
            destination: SocketAddr::new(group, SIP_PORT),
            transport: Transport::Udp,
            message: Arc::new(Message::Request(request)),
            ttl: Some(self.settings.multicast_ttl),
        });
    }

    pub(super) fn handle_discovery_answer(&mut self, now: Time, from: SocketAddr, response: &Response) {
        let Some(discovery) = &mut self.discovery else { return };
        let ours = response.headers.via.first().is_some_and(|via| via.branch() == discovery.branch);
        let known = discovery.answers.iter().any(|&(server, _)| server == from);
        if !ours || known || response.status != status::OK {
            return;
        }
        discovery.answers.push((from, now - discovery.started));
        if self.settings.anchor_select == AnchorSelect::Fastest {
            self.finish_discovery(now, true);
        }
    }

    /// Chooses, if there is somebody to choose; `at_deadline` takes those slower than δ too.
    pub(super) fn finish_discovery(&mut self, now: Time, at_deadline: bool) {
        let Some(discovery) = &self.discovery else { return };
        let within: Vec<_> =
            discovery.answers.iter().filter(|(_, time)| *time <= self.settings.delta).copied().collect();
        let candidates =
            if at_deadline && within.is_empty() { discovery.answers.clone() } else { within.clone() };
        if candidates.is_empty() {
            if at_deadline {
                let patience = (2 * discovery.patience).min(MAX_PAUSE);
                self.multicast_register(now, patience);
            }
            return;
        }
        let (answers, within_delta) = (discovery.answers.len() as u32, within.len() as u32);
        let choice = match self.settings.anchor_select {
            AnchorSelect::Random => self.random.index("anchor", candidates.len()),
            AnchorSelect::Fastest => 0,
        };
        let (server, response_time) = candidates[choice];
        self.discovery = None;
        self.timers.stop(&Timer::Delta);
        self.timers.stop(&Timer::DiscoveryDeadline);
        let (handoff, anchor) = (self.handoff, server.ip());
        self.record(Event::AnchorSelected { handoff, anchor, response_time, answers, within_delta });
        if self.anchor.as_ref().is_none_or(|present| present.address != server) {
            self.anchor = Some(Anchor::new(server));
            self.register_with_anchor(now, Cause::Discovery);
        }
    }
}
