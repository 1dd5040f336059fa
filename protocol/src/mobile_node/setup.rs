//! A caller's way to a callee: straight to where tier 1 believes it, through the anchor, or where a 3xx points.
//!
//! ```text
//! start ─ tier 1 hit ─▶ Cached ──refused, or silent for stale_deadline──▶ Anchor     stale: sequential
//!   │        └────────▶ Cached and Anchor with the same CSeq, the first 2xx wins      stale: parallel
//!   └──── miss ───────▶ Anchor ──3xx──▶ Redirected, by q ──3xx──▶ …                    RFC 3261 §8.1.3.4
//! ```
//! With `parallel` the caller forks as a proxy would, so the callee answers the INVITE that comes second with 482
//! (§8.2.2.2). Of several 2xx the first makes the call, the others get ACK and BYE (§13.2.2.4).

use super::call::{Call, CallRequest, Kind, State};
use super::{MobileNode, Timer};
use crate::cache::Learned;
use crate::server::{CACHE, FORKED, MAX_PATH, path_of, redirected_ways};
use crate::sip::{Contact, MediaDescription, Method, NameAddr, Request, Response, Uri, Via, status};
use crate::transaction::ClientKey;
use samp_model::record::CacheOutcome;
use samp_model::settings::Stale;
use samp_model::{Event, Time};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Targets that redirections may lead to, one call (RFC 3261 §8.1.3.4 wants an end).
const MAX_TARGETS: usize = 8;
/// While there is no word of the callee, an INVITE has to reach the anchor by timer B, and the anchor has to try where its
/// cache points and to hear of the callee by its own: so many times these two. A server that dies on the way says nothing.
const TRIES: u32 = 2;
/// A callee that rings for so long does not answer any more: as a proxy's timer C (RFC 3261 §16.6).
const SET_UP_LIMIT: Duration = Duration::from_secs(180);
/// From here on a provisional response is the callee's own: 100 is the next hop's (RFC 3261 §8.2.6.1).
const FIRST_OF_CALLEE: u16 = 101;

/// By which way an INVITE goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Straight to the care-of address in tier 1.
    Cached,
    /// Through the anchor.
    Anchor,
    /// To a Contact of a 3xx.
    Redirected,
}

/// What a caller knows of the set-up of a call.
#[derive(Debug)]
pub(super) struct Setup {
    started: Time,
    /// When the callee's terminal began to ring.
    alerted: Option<Time>,
    tier1_was_stale: bool,
    /// What tier 2 was worth, when a 3xx told.
    tier2: Option<String>,
    tried: Vec<Uri>,
    /// Where a 3xx points, the most wanted last.
    targets: Vec<Uri>,
    /// The ways of the INVITEs that were redirected, from where this node was.
    redirected: Vec<Vec<IpAddr>>,
    /// The last refusal by another way than tier 1's.
    refusal: Option<u16>,
    /// The dialog that the call is to replace at the callee (RFC 3891), as a header field says it.
    pub(super) replaces: Option<String>,
    /// Who asked for the call, and wants to hear of it.
    pub(super) referrer: Option<super::transfer::Referrer>,
}

impl Setup {
    pub(super) fn begun(started: Time) -> Self {
        Self {
            started,
            alerted: None,
            tier1_was_stale: false,
            tier2: None,
            tried: Vec::new(),
            targets: Vec::new(),
            redirected: Vec::new(),
            refusal: None,
            replaces: None,
            referrer: None,
        }
    }

    /// Adds ways of redirected INVITEs, as far as they name no more than [`MAX_PATH`] servers together: others are
    /// free to make them up. What is left out only lowers the call's floor.
    fn note_redirected(&mut self, ways: impl IntoIterator<Item = Vec<IpAddr>>) {
        for way in ways {
            if self.redirected.iter().map(Vec::len).sum::<usize>() + way.len() <= MAX_PATH {
                self.redirected.push(way);
            }
        }
    }
}

impl MobileNode {
    pub(super) fn start_call(&mut self, now: Time, callee: String, id: String) {
        self.record(Event::CallStarted { call: id.clone(), callee: callee.clone() });
        let Ok(peer) = callee.parse::<Uri>() else {
            return self.record(Event::CallFailed { call: id, status: status::BAD_REQUEST });
        };
        let call = Call::outgoing(now, peer, self.random.token("tag"));
        self.begin_call(now, id, call);
    }

    pub(super) fn begin_call(&mut self, now: Time, id: String, call: Call) {
        self.calls.insert(id.clone(), call);
        let tries = (self.settings.stale_deadline + 64 * self.settings.t1) * TRIES;
        self.timers.set(Timer::SetUp(id.clone()), now + tries);
        self.set_up(now, &id);
    }

    /// A call that is still set up after so long is given up, and what was cancelled without an answer is forgotten.
    pub(super) fn end_set_up(&mut self, now: Time, id: &str) {
        match self.calls.get(id).map(|call| &call.state) {
            Some(State::Calling) => self.cancel_call(now, id, status::REQUEST_TIMEOUT),
            Some(&State::Cancelling(code)) => self.fail_call(now, id, code),
            _ => {
                for key in self.requests_of(id) {
                    let kind = self.call_requests.get(&key).map(|pending| &pending.kind);
                    if matches!(kind, Some(Kind::Invite { .. })) {
                        self.transactions.forget(&key);
                        self.call_requests.remove(&key);
                    }
                }
            }
        }
    }

    /// Sends the first INVITE of a call, or the first two.
    fn set_up(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get(id) else { return };
        let cached = self.tier1.get(now, &call.peer.address_of_record());
        let Some((uri, to)) = cached.and_then(|uri| uri.socket_address().map(|to| (uri, to))) else {
            return self.invite_through_anchor(now, id);
        };
        let anchor = self.anchor.as_ref().map(|anchor| anchor.address);
        let Some(request) = self.in_dialog(id, Method::Invite, Some(uri)) else {
            return self.fail_call(now, id, status::TEMPORARILY_UNAVAILABLE);
        };
        if let (Stale::Parallel, Some(anchor), Some(own)) = (self.settings.stale, anchor, self.own_address())
        {
            let mut fork = request.clone();
            fork.uri = fork.headers.to.uri.clone();
            fork.headers.via = vec![Via::new(own, &self.random.branch())];
            self.send_invite(now, id, Way::Cached, request, to);
            self.send_invite(now, id, Way::Anchor, fork, anchor);
        } else {
            self.send_invite(now, id, Way::Cached, request, to);
        }
    }

    pub(super) fn invite_through_anchor(&mut self, now: Time, id: &str) {
        let peer = self.calls.get(id).map(|call| call.peer.clone());
        let first_hop = peer.as_ref().and_then(|peer| self.first_hop(peer));
        match (self.in_dialog(id, Method::Invite, peer), first_hop) {
            (Some(request), Some(to)) => self.send_invite(now, id, Way::Anchor, request, to),
            _ => self.fail_call(now, id, status::TEMPORARILY_UNAVAILABLE),
        }
    }

    fn send_invite(&mut self, now: Time, id: &str, way: Way, mut request: Request, to: SocketAddr) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.setup.tried.push(request.uri.clone());
        if let Some(replaces) = &call.setup.replaces {
            request.headers.set("Replaces", replaces.clone());
        }
        let deadline = match way {
            Way::Cached => Some(self.settings.stale_deadline),
            Way::Anchor => None,
            Way::Redirected => Some(self.settings.anchor_timeout),
        };
        let key = self.transactions.send(now, request, to, deadline);
        let kind = Kind::Invite { way, proceeding: false };
        self.call_requests.insert(key, CallRequest { call: id.to_owned(), kind });
    }

    /// A provisional response: the callee rings, or the INVITE may be cancelled now.
    pub(super) fn handle_provisional(&mut self, now: Time, key: &ClientKey, code: u16) {
        let Some(pending) = self.call_requests.get_mut(key) else { return };
        let Kind::Invite { proceeding, .. } = &mut pending.kind else { return };
        *proceeding = true;
        let id = pending.call.clone();
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.state {
            State::Calling if code >= FIRST_OF_CALLEE => {
                if call.setup.alerted.is_none() {
                    call.setup.alerted = Some(now);
                    self.timers.set(Timer::SetUp(id), now + SET_UP_LIMIT);
                }
            }
            State::Calling | State::Ringing(_) => {}
            // Hung up, or answered by another way meanwhile.
            State::Cancelling(_) | State::Established => self.cancel(now, key),
        }
    }

    pub(super) fn handle_invite_response(&mut self, now: Time, id: &str, way: Way, response: &Response) {
        let is_last = !self.is_inviting(id);
        let Some(call) = self.calls.get(id) else { return };
        match (&call.state, response.status) {
            (State::Calling, 200..=299) => self.handle_invite_accepted(now, id, way, response),
            (State::Calling, 300..=399) => self.handle_redirection(now, id, way, response),
            (State::Calling, code) => self.handle_refusal(now, id, way, code),
            (_, 200..=299) => {
                let cancelled = match call.state {
                    State::Cancelling(code) => Some(code),
                    _ => None,
                };
                self.turn_away(now, response);
                if let Some(code) = cancelled {
                    self.fail_call(now, id, code);
                }
            }
            (&State::Cancelling(code), _) if is_last => self.fail_call(now, id, code),
            _ => {}
        }
    }

    pub(super) fn handle_invite_failure(&mut self, now: Time, id: &str, way: Way, code: u16) {
        match self.calls.get(id).map(|call| &call.state) {
            Some(State::Calling) => self.handle_refusal(now, id, way, code),
            Some(&State::Cancelling(code)) if !self.is_inviting(id) => self.fail_call(now, id, code),
            _ => {}
        }
    }

    fn handle_invite_accepted(&mut self, now: Time, id: &str, way: Way, response: &Response) {
        let (Some(contact), Some(media)) =
            (response.headers.contact_address(), MediaDescription::from_sdp(&response.body))
        else {
            self.turn_away(now, response);
            return self.fail_call(now, id, status::NOT_ACCEPTABLE_HERE);
        };
        let others = self.requests_of(id);
        let is_cached_open = others.iter().any(|key| {
            let kind = self.call_requests.get(key).map(|pending| &pending.kind);
            matches!(kind, Some(Kind::Invite { way: Way::Cached, .. }))
        });
        let Some(call) = self.calls.get_mut(id) else { return };
        call.setup.note_redirected(redirected_ways(response));
        call.remote_tag = response.headers.to.tag().map(str::to_owned);
        call.remote_target = contact.uri.clone();
        call.state = State::Established;
        let setup = &call.setup;
        let (srd, peer) = (setup.alerted.unwrap_or(now) - setup.started, call.peer.address_of_record());
        let tier2 = response.headers.get(CACHE).or(setup.tier2.as_deref());
        let cache = match self.registrar.is_some() || self.anchor.is_none() {
            true => CacheOutcome::Unused,
            false => cache_outcome(way, setup.tier1_was_stale || is_cached_open, tier2),
        };
        let redirected = setup.redirected.clone();
        let path = path_of(response);
        // Of several terminals one has answered; the next call is to ring them all again.
        if response.headers.get(FORKED).is_none() {
            self.tier1.learn(now, &peer, contact.uri.clone(), Learned::Found);
        }
        self.acknowledge(id, response.headers.cseq);
        self.record(Event::CallEstablished { call: id.to_owned(), srd, cache, path, redirected });
        self.start_media(id, &peer, media.address);
        others.iter().for_each(|key| self.cancel(now, key));
        let referrer = self.calls.get_mut(id).and_then(|call| call.setup.referrer.take());
        self.notify_referrer(now, referrer, status::OK);
    }

    /// 3xx: the Contacts are tried in the order of their q, none twice (RFC 3261 §8.1.3.4).
    fn handle_redirection(&mut self, now: Time, id: &str, way: Way, response: &Response) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let setup = &mut call.setup;
        setup.tier2 = response.headers.get(CACHE).map(str::to_owned).or(setup.tier2.take());
        let passed = self.care_of.into_iter().chain(path_of(response)).collect();
        setup.note_redirected([passed]);
        setup.note_redirected(redirected_ways(response));
        let mut contacts: Vec<_> = response
            .headers
            .contact
            .iter()
            .filter_map(|contact| match contact {
                Contact::Address(address) => {
                    Some((address.q().unwrap_or(NameAddr::Q_MAX), address.uri.clone()))
                }
                Contact::All => None,
            })
            .collect();
        contacts.sort_by_key(|(quality, _)| *quality);
        for (_, mut uri) in contacts {
            uri.headers = None;
            let is_new = !setup.tried.contains(&uri) && !setup.targets.contains(&uri);
            if is_new && setup.tried.len() + setup.targets.len() < MAX_TARGETS {
                setup.targets.push(uri);
            }
        }
        self.handle_refusal(now, id, way, response.status);
    }

    /// One way has failed: the next one, if there is one.
    fn handle_refusal(&mut self, now: Time, id: &str, way: Way, code: u16) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let peer = call.peer.address_of_record();
        match way {
            // Both INVITEs have come to the callee; the other one makes the call.
            Way::Cached if code == status::LOOP_DETECTED => {}
            Way::Cached => {
                call.setup.tier1_was_stale = true;
                self.tier1.forget(&peer);
            }
            Way::Anchor | Way::Redirected => call.setup.refusal = Some(code),
        }
        if is_decisive(code) {
            self.cancel_all(now, id);
            return self.fail_call(now, id, code);
        }
        let target = self.calls.get_mut(id).and_then(|call| call.setup.targets.pop());
        if let Some(target) = target {
            let anchor = self.anchor.as_ref().map(|anchor| anchor.address);
            let to = target.socket_address().or(anchor);
            match (self.in_dialog(id, Method::Invite, Some(target)), to) {
                (Some(request), Some(to)) => self.send_invite(now, id, Way::Redirected, request, to),
                _ => self.fail_call(now, id, status::TEMPORARILY_UNAVAILABLE),
            }
        } else if !self.is_inviting(id) {
            match (way, self.calls.get(id).and_then(|call| call.setup.refusal)) {
                (Way::Cached, None) => self.invite_through_anchor(now, id),
                (_, refusal) => self.fail_call(now, id, refusal.unwrap_or(code)),
            }
        }
    }

    /// Whether an INVITE of this call still waits.
    fn is_inviting(&self, id: &str) -> bool {
        let mut requests = self.call_requests.values().filter(|pending| pending.call == id);
        requests.any(|pending| matches!(pending.kind, Kind::Invite { .. }))
    }

    /// Ends a call before there is an answer; it has then failed with this status.
    pub(super) fn cancel_call(&mut self, now: Time, id: &str, code: u16) {
        if !self.is_inviting(id) {
            return self.fail_call(now, id, code);
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.state = State::Cancelling(code);
        }
        self.timers.set(Timer::SetUp(id.to_owned()), now + 64 * self.settings.t1);
        self.cancel_all(now, id);
    }

    fn cancel_all(&mut self, now: Time, id: &str) {
        self.requests_of(id).iter().for_each(|key| self.cancel(now, key));
    }

    /// Cancels an INVITE, if it has had a provisional response; else the first one makes it so (RFC 3261 §9.1).
    fn cancel(&mut self, now: Time, key: &ClientKey) {
        let kind = self.call_requests.get(key).map(|pending| &pending.kind);
        if !matches!(kind, Some(Kind::Invite { proceeding: true, .. })) {
            return;
        }
        if self.transactions.cancel(now, key)
            && let Some(pending) = self.call_requests.get(key)
        {
            self.timers.set(Timer::SetUp(pending.call.clone()), now + 64 * self.settings.t1);
        }
    }

    /// Forgets requests that were sent from an address that is gone.
    pub(super) fn abandon_all_requests(&mut self) {
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        for id in calls {
            for key in self.requests_of(&id) {
                self.transactions.forget(&key);
                self.call_requests.remove(&key);
            }
            self.timers.stop(&Timer::RetryUpdate(id.clone()));
            self.timers.stop(&Timer::EndUpdate(id.clone()));
            if let Some(call) = self.calls.get_mut(&id) {
                call.update = None;
            }
        }
    }
}

/// Whether the callee has spoken, so that no other way can be of use.
fn is_decisive(code: u16) -> bool {
    matches!(
        code,
        status::BUSY_HERE | status::REQUEST_TERMINATED | status::NOT_ACCEPTABLE_HERE | status::BAD_EXTENSION
    ) || code >= 600
}

fn cache_outcome(way: Way, tier1_was_stale: bool, tier2: Option<&str>) -> CacheOutcome {
    match (way, tier1_was_stale, tier2) {
        (Way::Cached, _, _) => CacheOutcome::Tier1Hit,
        (_, true, Some("hit")) => CacheOutcome::Tier1StaleTier2Hit,
        (_, true, _) => CacheOutcome::Tier1Stale,
        (_, false, Some("hit")) => CacheOutcome::Tier2Hit,
        (_, false, Some("stale")) => CacheOutcome::Tier2Stale,
        (_, false, _) => CacheOutcome::Miss,
    }
}
