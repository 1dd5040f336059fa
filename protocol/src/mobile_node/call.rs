//! Calls: set-up through tier 1 or the anchor, re-INVITE when this node moves, BYE.

use super::{MobileNode, Timer, contact_header};
use crate::RTP_PORT;
use crate::cache::Learned;
use crate::node::{MediaCommand, Output, Transmit};
use crate::overlay::identifier_of;
use crate::server::{CACHE, path_of};
use crate::sip::{Headers, MediaDescription, Method, NameAddr, Request, Response, Uri, Via, status};
use crate::transaction::ClientKey;
use bytes::Bytes;
use samp_model::record::{CacheOutcome, HandoffNumber};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// Temporarily Unavailable: a call before the node has an anchor.
const UNAVAILABLE: u16 = 480;
/// The step in which the wait after glare is chosen (RFC 3261 §14.1).
const GLARE_STEP: Duration = Duration::from_millis(10);

/// A call, at one of its ends.
#[derive(Debug)]
pub(super) struct Call {
    /// The peer's address-of-record.
    peer: Uri,
    /// This node made the call, so it owns the Call-ID.
    is_caller: bool,
    pub(super) local_tag: String,
    pub(super) remote_tag: Option<String>,
    local_cseq: u32,
    pub(super) remote_cseq: u32,
    /// The peer's Contact.
    pub(super) remote_target: Uri,
    state: State,
    started: Time,
    tier1_was_stale: bool,
    /// The re-INVITE under way.
    pub(super) update: Option<ClientKey>,
    /// The last 200 to an INVITE of the peer's, until its ACK comes.
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// The last ACK sent, with its sequence number, for when the peer repeats its 200.
    ack: Option<(u32, Transmit)>,
}

impl Call {
    /// A call that this node makes.
    fn outgoing(now: Time, peer: Uri, local_tag: String) -> Self {
        Self {
            remote_target: peer.clone(),
            peer,
            is_caller: true,
            local_tag,
            remote_tag: None,
            local_cseq: 0,
            remote_cseq: 0,
            state: State::Calling,
            started: now,
            tier1_was_stale: false,
            update: None,
            unacknowledged: None,
            ack: None,
        }
    }

    /// The call that this INVITE asks for.
    pub(super) fn incoming(now: Time, invite: &Headers, remote_target: Uri, local_tag: String) -> Self {
        Self {
            is_caller: false,
            remote_tag: invite.from.tag().map(str::to_owned),
            remote_cseq: invite.cseq,
            remote_target,
            state: State::Established,
            ..Self::outgoing(now, invite.from.uri.clone(), local_tag)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Established,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) answer: Transmit,
    pub(super) interval: Duration,
    pub(super) sent_at: Time,
}

/// A request of a call that waits for its response.
#[derive(Clone, Debug)]
pub(super) struct CallRequest {
    call: String,
    kind: Kind,
    /// It went straight to the peer's last known care-of address, not through the anchor.
    direct: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Invite,
    Update { handoff: HandoffNumber },
    Bye { request: Box<Request> },
}

impl MobileNode {
    pub(super) fn start_call(&mut self, now: Time, callee: String, id: String) {
        self.record(Event::CallStarted { call: id.clone(), callee: callee.clone() });
        let Ok(peer) = callee.parse::<Uri>() else {
            return self.record(Event::CallFailed { call: id, status: status::BAD_REQUEST });
        };
        let cached = self.tier1.get(now, &peer.address_of_record());
        let call = Call::outgoing(now, peer, self.random.token("tag"));
        self.calls.insert(id.clone(), call);
        self.invite(now, &id, cached);
    }

    /// Sends the INVITE straight to a care-of address, or through the anchor.
    fn invite(&mut self, now: Time, id: &str, care_of: Option<Uri>) {
        let Some(call) = self.calls.get(id) else { return };
        let peer = call.peer.clone();
        let anchor = self.anchor.as_ref().map(|anchor| anchor.address);
        let (uri, destination) = match care_of.and_then(|uri| uri.socket_address().map(|to| (uri, to))) {
            Some((uri, to)) => (uri, Some((to, Some(self.settings.stale_deadline)))),
            None => (peer, anchor.map(|to| (to, None))),
        };
        let request = self.in_dialog(id, Method::Invite, Some(uri));
        let (Some(request), Some((destination, deadline))) = (request, destination) else {
            return self.fail_call(id, UNAVAILABLE);
        };
        let key = self.transactions.send(now, request, destination, deadline);
        let pending = CallRequest { call: id.to_owned(), kind: Kind::Invite, direct: deadline.is_some() };
        self.call_requests.insert(key, pending);
    }

    /// This node has moved: what it sent from its old address is void.
    pub(super) fn abandon_all_requests(&mut self) {
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        calls.iter().for_each(|id| self.abandon_requests(id));
    }

    /// This node has moved: every peer gets to know, and what was being set up begins anew.
    pub(super) fn update_calls(&mut self, now: Time) {
        let calls: Vec<_> = self.calls.iter().map(|(id, call)| (id.clone(), call.state)).collect();
        for (id, state) in calls {
            match state {
                State::Established => {
                    self.record(Event::UpdateSent { handoff: self.handoff, call: id.clone() });
                    self.update_call(now, &id);
                }
                State::Calling => self.invite(now, &id, None),
            }
        }
    }

    /// Sends a re-INVITE with the present care-of address (RFC 3261 §14.1).
    pub(super) fn update_call(&mut self, now: Time, id: &str) {
        let Some(to) = self.calls.get(id).and_then(|call| call.remote_target.socket_address()) else {
            return;
        };
        self.send_update(now, id, None, to, Some(self.settings.anchor_timeout));
    }

    fn send_update(
        &mut self,
        now: Time,
        id: &str,
        uri: Option<Uri>,
        to: SocketAddr,
        deadline: Option<Duration>,
    ) {
        let direct = uri.is_none();
        let Some(request) = self.in_dialog(id, Method::Invite, uri) else { return };
        let key = self.transactions.send(now, request, to, deadline);
        let kind = Kind::Update { handoff: self.handoff };
        self.call_requests.insert(key.clone(), CallRequest { call: id.to_owned(), kind, direct });
        if let Some(call) = self.calls.get_mut(id) {
            call.update = Some(key);
        }
    }

    /// A request of this call with the next sequence number, to the peer's Contact or to `uri`.
    fn in_dialog(&mut self, id: &str, method: Method, uri: Option<Uri>) -> Option<Request> {
        let own = self.own_address()?;
        let call = self.calls.get_mut(id)?;
        call.local_cseq += 1;
        let (cseq, tag, peer) = (call.local_cseq, call.local_tag.clone(), call.peer.clone());
        let (uri, remote_tag) = (uri.unwrap_or_else(|| call.remote_target.clone()), call.remote_tag.clone());
        let mut request = self.request(method.clone(), uri, peer, id, cseq, own);
        request.headers.from.params.set("tag", Some(tag));
        if let Some(tag) = remote_tag {
            request.headers.to.params.set("tag", Some(tag));
        }
        if method == Method::Invite {
            request.headers.contact.push(contact_header(self.contact(own)));
            request.headers.set("Content-Type", MediaDescription::CONTENT_TYPE);
            request.body = own_media(own);
        }
        Some(request)
    }

    /// The final response to a request of a call.
    pub(super) fn handle_call_response(&mut self, now: Time, pending: CallRequest, response: &Response) {
        let accepted = response.status < 300;
        match pending.kind {
            Kind::Invite if accepted => self.handle_invite_accepted(now, &pending, response),
            Kind::Invite => self.handle_invite_refused(now, &pending, response.status),
            Kind::Update { handoff } => self.handle_update_answered(now, &pending, handoff, response),
            Kind::Bye { .. } => {}
        }
    }

    /// The peer says 200 again, so it has not seen the ACK.
    pub(super) fn repeat_ack(&mut self, response: &Response) {
        let Some(call) = self.calls.get(&response.headers.call_id) else { return };
        if let Some((cseq, ack)) = &call.ack
            && *cseq == response.headers.cseq
        {
            self.transmits.push_back(ack.clone());
        }
    }

    fn handle_invite_accepted(&mut self, now: Time, pending: &CallRequest, response: &Response) {
        let id = &pending.call;
        let (Some(contact), Some(media)) =
            (response.headers.contact_address(), MediaDescription::from_sdp(&response.body))
        else {
            return self.fail_call(id, status::BAD_REQUEST);
        };
        let Some(call) = self.calls.get_mut(id) else { return };
        call.remote_tag = response.headers.to.tag().map(str::to_owned);
        call.remote_target = contact.uri.clone();
        call.state = State::Established;
        let (srd, peer) = (now - call.started, call.peer.address_of_record());
        let cache = cache_outcome(pending.direct, call.tier1_was_stale, response.headers.get(CACHE));
        self.tier1.learn(now, &peer, contact.uri.clone(), Learned::Found);
        self.acknowledge(id, response.headers.cseq);
        let path = path_of(response);
        self.record(Event::CallEstablished { call: id.clone(), srd, cache, path });
        self.start_media(id, &peer, media.address);
    }

    fn handle_invite_refused(&mut self, now: Time, pending: &CallRequest, code: u16) {
        if pending.direct {
            self.fall_back_to_anchor(now, &pending.call);
        } else {
            self.fail_call(&pending.call, code);
        }
    }

    fn fall_back_to_anchor(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.tier1_was_stale = true;
        let peer = call.peer.address_of_record();
        self.tier1.forget(&peer);
        self.invite(now, id, None);
    }

    fn handle_update_answered(
        &mut self,
        now: Time,
        pending: &CallRequest,
        handoff: HandoffNumber,
        response: &Response,
    ) {
        let id = &pending.call;
        let Some(call) = self.calls.get_mut(id) else { return };
        call.update = None;
        let is_caller = call.is_caller;
        self.record(Event::UpdateAnswered { handoff, call: id.clone(), status: response.status });
        match response.status {
            200..=299 => {
                if let Some(contact) = response.headers.contact_address().cloned()
                    && let Some(call) = self.calls.get_mut(id)
                {
                    call.remote_target = contact.uri;
                }
                self.acknowledge(id, response.headers.cseq);
                if let Some(media) = MediaDescription::from_sdp(&response.body) {
                    self.media(MediaCommand::Retarget { call: id.clone(), remote: media.address });
                }
            }
            status::REQUEST_PENDING => {
                let ms = Duration::from_millis;
                let (from, to) = if is_caller { (ms(2_100), ms(4_000)) } else { (ms(0), ms(2_000)) };
                let wait = self.random.duration("glare", from, to, GLARE_STEP);
                self.timers.set(Timer::RetryUpdate(id.clone()), now + wait);
            }
            status::NO_SUCH_CALL | status::REQUEST_TIMEOUT => self.end_call(id),
            _ => {}
        }
    }

    /// Nobody answered a request of a call.
    pub(super) fn handle_call_silence(&mut self, now: Time, pending: CallRequest) {
        let id = &pending.call;
        let anchor = self.anchor.as_ref().map(|anchor| anchor.address);
        match (pending.kind, anchor) {
            (Kind::Invite, _) if pending.direct => self.fall_back_to_anchor(now, id),
            (Kind::Invite, _) => self.fail_call(id, status::REQUEST_TIMEOUT),
            // The peer has moved too: its home server knows where to.
            (Kind::Update { .. }, Some(anchor)) if pending.direct => {
                let Some(call) = self.calls.get(id) else { return };
                let peer = call.peer.clone();
                self.send_update(now, id, Some(peer), anchor, None);
            }
            (Kind::Update { handoff }, _) => {
                let status = status::REQUEST_TIMEOUT;
                self.record(Event::UpdateAnswered { handoff, call: id.clone(), status });
                self.end_call(id);
            }
            (Kind::Bye { mut request }, Some(anchor)) if pending.direct => {
                let Some(own) = self.own_address() else { return };
                request.uri = request.headers.to.uri.clone();
                request.headers.via = vec![Via::new(own, &self.random.branch())];
                request.headers.cseq += 1;
                let key = self.transactions.send(now, (*request).clone(), anchor, None);
                let kind = Kind::Bye { request };
                self.call_requests.insert(key, CallRequest { call: pending.call, kind, direct: false });
            }
            (Kind::Bye { .. }, _) => {}
        }
    }

    pub(super) fn hang_up_all(&mut self, now: Time) {
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        calls.iter().for_each(|call| self.hang_up(now, call));
    }

    pub(super) fn hang_up(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get(id) else { return };
        if call.state == State::Calling {
            self.cancel(now, id);
            return self.fail_call(id, status::REQUEST_TERMINATED);
        }
        let destination = call.remote_target.socket_address();
        if let (Some(to), Some(request)) = (destination, self.in_dialog(id, Method::Bye, None)) {
            let key = self.transactions.send(now, request.clone(), to, Some(self.settings.anchor_timeout));
            let kind = Kind::Bye { request: Box::new(request) };
            self.call_requests.insert(key, CallRequest { call: id.to_owned(), kind, direct: true });
        }
        self.end_call(id);
    }

    /// Cancels the INVITE under way (RFC 3261 §9.1).
    fn cancel(&mut self, now: Time, id: &str) {
        let keys: Vec<_> = self.requests_of(id);
        for key in keys {
            if let Some((sent, destination)) = self.transactions.pending_request(&key) {
                let cancel = crate::transaction::client::in_the_steps_of(sent, Method::Cancel);
                self.transactions.send(now, cancel, destination, None);
            }
        }
    }

    fn requests_of(&self, id: &str) -> Vec<ClientKey> {
        let requests = self.call_requests.iter().filter(|(_, pending)| pending.call == id);
        requests.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets requests that were sent from an address that is gone.
    fn abandon_requests(&mut self, id: &str) {
        for key in self.requests_of(id) {
            self.transactions.forget(&key);
            self.call_requests.remove(&key);
        }
        self.timers.stop(&Timer::RetryUpdate(id.to_owned()));
        if let Some(call) = self.calls.get_mut(id) {
            call.update = None;
        }
    }

    /// Sends the ACK to a 2xx, straight to the peer's Contact (RFC 3261 §13.2.2.4).
    fn acknowledge(&mut self, id: &str, cseq: u32) {
        let Some(own) = self.own_address() else { return };
        let branch = self.random.branch();
        let Some(call) = self.calls.get_mut(id) else { return };
        let (peer, tag) = (call.peer.clone(), call.local_tag.clone());
        let (uri, remote_tag) = (call.remote_target.clone(), call.remote_tag.clone());
        let Some(destination) = uri.socket_address() else { return };
        let mut ack = self.request(Method::Ack, uri, peer, id, cseq, own);
        ack.headers.via = vec![Via::new(own, &branch)];
        ack.headers.from = NameAddr::new(self.address_of_record.clone()).with("tag", Some(tag));
        ack.headers.to.params.set("tag", remote_tag);
        let ack = Transmit::request(destination, ack);
        self.transmits.push_back(ack.clone());
        if let Some(call) = self.calls.get_mut(id) {
            call.ack = Some((cseq, ack));
        }
    }

    pub(super) fn start_media(&mut self, id: &str, peer: &str, remote: SocketAddr) {
        let own = self.address_of_record.address_of_record();
        let (ssrc_send, ssrc_receive) = (ssrc(id, &own), ssrc(id, peer));
        self.media(MediaCommand::Start { call: id.to_owned(), remote, ssrc_send, ssrc_receive });
    }

    fn fail_call(&mut self, id: &str, status: u16) {
        self.forget_call(id);
        self.record(Event::CallFailed { call: id.to_owned(), status });
    }

    pub(super) fn end_call(&mut self, id: &str) {
        self.forget_call(id);
        self.media(MediaCommand::Stop { call: id.to_owned() });
        self.record(Event::CallEnded { call: id.to_owned() });
    }

    fn forget_call(&mut self, id: &str) {
        self.calls.remove(id);
        for timer in [Timer::RepeatAnswer(id.to_owned()), Timer::RetryUpdate(id.to_owned())] {
            self.timers.stop(&timer);
        }
        self.call_requests
            .retain(|_, pending| pending.call != id || matches!(pending.kind, Kind::Bye { .. }));
    }

    pub(super) fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }
}

fn cache_outcome(direct: bool, tier1_was_stale: bool, tier2: Option<&str>) -> CacheOutcome {
    match (direct, tier1_was_stale, tier2) {
        (true, _, _) => CacheOutcome::Tier1Hit,
        (false, true, Some("hit")) => CacheOutcome::Tier1StaleTier2Hit,
        (false, true, _) => CacheOutcome::Tier1Stale,
        (false, false, Some("hit")) => CacheOutcome::Tier2Hit,
        (false, false, Some("stale")) => CacheOutcome::Tier2Stale,
        (false, false, _) => CacheOutcome::Miss,
    }
}

pub(super) fn own_media(own: SocketAddr) -> Bytes {
    Bytes::from(MediaDescription { address: SocketAddr::new(own.ip(), RTP_PORT) }.to_sdp())
}

/// The synchronisation source of what this node sends in this call: both ends can compute both.
fn ssrc(call: &str, sender: &str) -> u32 {
    let hash = identifier_of(&format!("{call} {sender}")).0;
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
