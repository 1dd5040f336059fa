//! A call at one of its ends: its dialog (RFC 3261 §12), the requests within it, and how it ends (§15).
//!
//! ```text
//! caller   Calling ──200──▶ Established ──BYE──▶ over        callee   INVITE ──▶ Ringing ──200──▶ Established ──▶ over
//!             │ └──300–699, silence──▶ over                               (ring)    └──CANCEL──487──▶ over
//!         hang up, or no word of the callee
//!             ▼
//!         Cancelling ──487──▶ over; ──200──▶ ACK, BYE, over
//! ```
//! The set-up is in `setup.rs`, the callee's part in `answer.rs`, what a move asks for in `update.rs`.

use super::setup::{Setup, Way};
use super::{MobileNode, Timer, contact_header};
use crate::RTP_PORT;
use crate::node::{MediaCommand, Output, Transmit};
use crate::overlay::identifier_of;
use crate::sip::{Headers, MediaDescription, Method, Origin, Request, Response, Uri, Via, status};
use crate::transaction::{ClientKey, ServerKey};
use samp_model::record::HandoffNumber;
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// The peer's address-of-record.
    pub(super) peer: Uri,
    /// This node made the call, so it owns the Call-ID (RFC 3261 §14.1).
    pub(super) is_caller: bool,
    pub(super) local_tag: String,
    pub(super) remote_tag: Option<String>,
    pub(super) local_cseq: u32,
    pub(super) remote_cseq: u32,
    /// The peer's Contact.
    pub(super) remote_target: Uri,
    pub(super) state: State,
    /// What a caller knows of its set-up.
    pub(super) setup: Setup,
    /// The re-INVITE under way.
    pub(super) update: Option<ClientKey>,
    /// Until when the peer must have accepted where this node has moved to.
    pub(super) update_until: Time,
    /// The last 200 to an INVITE of the peer's, until its ACK comes.
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// Hung up before that: the BYE follows the ACK, as the peer may not know of the dialog yet (RFC 3261 §15).
    pub(super) is_hung_up: bool,
    /// The last ACK sent, with its sequence number, for when the peer repeats its 200.
    pub(super) ack: Option<(u32, Transmit)>,
}

#[derive(Debug)]
pub(super) enum State {
    Calling,
    /// Hung up or given up while calling, to fail with this status: each INVITE is cancelled once it has a provisional
    /// response (RFC 3261 §9.1).
    Cancelling(u16),
    /// Called, and not answered yet.
    Ringing(Box<Ringing>),
    Established,
}

/// An INVITE that is to be answered.
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) server: ServerKey,
    pub(super) invite: Request,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) answer: Transmit,
    pub(super) interval: Duration,
    pub(super) sent_at: Time,
    /// The 200 made the offer, so the ACK brings the answer (RFC 3261 §13.2.1).
    pub(super) made_offer: bool,
}

/// A request of a call that waits for its response.
#[derive(Clone, Debug)]
pub(super) struct CallRequest {
    pub(super) call: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Invite {
        way: Way,
        /// Whether there was a provisional response.
        proceeding: bool,
    },
    Update {
        handoff: HandoffNumber,
        /// To the peer's Contact, not through the anchor.
        direct: bool,
    },
    Bye {
        request: Box<Request>,
        direct: bool,
    },
}

impl Call {
    /// A call that this node makes.
    pub(super) fn outgoing(now: Time, peer: Uri, local_tag: String) -> Self {
        Self {
            remote_target: peer.clone(),
            peer,
            is_caller: true,
            local_tag,
            remote_tag: None,
            local_cseq: 0,
            remote_cseq: 0,
            state: State::Calling,
            setup: Setup::begun(now),
            update: None,
            update_until: now,
            unacknowledged: None,
            is_hung_up: false,
            ack: None,
        }
    }

    /// The call that this INVITE asks for.
    pub(super) fn incoming(now: Time, ringing: Ringing, remote_target: Uri, local_tag: String) -> Self {
        let headers = &ringing.invite.headers;
        Self {
            is_caller: false,
            remote_tag: headers.from.tag().map(str::to_owned),
            remote_cseq: headers.cseq,
            remote_target,
            ..Self::outgoing(now, headers.from.uri.clone(), local_tag)
        }
        .in_state(State::Ringing(Box::new(ringing)))
    }

    fn in_state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// Whether a message with these tags, as the peer sees them, belongs to its dialog (RFC 3261 §12.2.2).
    pub(super) fn is_dialog_of(&self, headers: &Headers) -> bool {
        headers.to.tag() == Some(&self.local_tag) && headers.from.tag() == self.remote_tag.as_deref()
    }

    /// Whether this node still waits for the answer, and a message with these tags comes from who may give it.
    pub(super) fn is_being_answered(&self, headers: &Headers) -> bool {
        let is_calling = matches!(self.state, State::Calling | State::Cancelling(_));
        is_calling && headers.to.tag() == Some(&self.local_tag)
    }

    pub(super) fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }
}

impl MobileNode {
    /// A request of this call with the next sequence number, to the peer's Contact or to `uri`.
    pub(super) fn in_dialog(&mut self, id: &str, method: Method, uri: Option<Uri>) -> Option<Request> {
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
            request.headers.set("Allow", super::ALLOW);
            request.headers.set("Supported", super::SUPPORTED);
            request.headers.set("Content-Type", MediaDescription::CONTENT_TYPE);
            request.body = self.own_media(own).offer(self.origin(id)).into();
        }
        Some(request)
    }

    /// Where this node hears.
    pub(super) fn own_media(&self, own: SocketAddr) -> MediaDescription {
        MediaDescription { address: SocketAddr::new(own.ip(), RTP_PORT) }
    }

    /// The description of a call's session changes with the care-of address and with nothing else.
    pub(super) fn origin(&self, id: &str) -> Origin {
        // Always of ten digits, so that a message's length does not depend on the lab's name, which is in the Call-ID.
        let id = ssrc(id, &self.address_of_record.address_of_record()) | 1 << 31;
        Origin { id, version: self.handoff }
    }

    /// The final response to a request of a call.
    pub(super) fn handle_call_response(&mut self, now: Time, pending: CallRequest, response: &Response) {
        match pending.kind {
            Kind::Invite { way, .. } => self.handle_invite_response(now, &pending.call, way, response),
            Kind::Update { handoff, .. } => {
                self.handle_update_answered(now, &pending.call, handoff, response)
            }
            Kind::Bye { .. } => {}
        }
    }

    /// Nobody has answered a request of a call, which counts as this code.
    pub(super) fn handle_call_failure(&mut self, now: Time, pending: CallRequest, code: u16) {
        let id = &pending.call;
        match pending.kind {
            Kind::Invite { way, .. } => self.handle_invite_failure(now, id, way, code),
            Kind::Update { handoff, direct } => self.handle_update_silence(now, id, handoff, direct),
            Kind::Bye { mut request, direct } => {
                let anchor = self.anchor.as_ref().map(|anchor| anchor.address);
                // The peer has moved: its home server knows where to.
                let (true, Some(anchor), Some(own)) = (direct, anchor, self.own_address()) else { return };
                request.uri = Uri { params: Default::default(), ..request.headers.to.uri.clone() };
                request.headers.via = vec![Via::new(own, &self.random.branch())];
                request.headers.cseq += 1;
                let key = self.transactions.send(now, (*request).clone(), anchor, None);
                let kind = Kind::Bye { request, direct: false };
                self.call_requests.insert(key, CallRequest { call: pending.call, kind });
            }
        }
    }

    pub(super) fn hang_up_all(&mut self, now: Time) {
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        calls.iter().for_each(|call| self.hang_up(now, call));
    }

    pub(super) fn hang_up(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        match call.state {
            State::Calling | State::Cancelling(_) => self.cancel_call(now, id, status::REQUEST_TERMINATED),
            State::Ringing(_) => self.decline(now, id),
            State::Established if call.unacknowledged.is_some() => call.is_hung_up = true,
            State::Established => self.bye(now, id),
        }
    }

    pub(super) fn bye(&mut self, now: Time, id: &str) {
        let destination = self.calls.get(id).and_then(|call| call.remote_target.socket_address());
        if let (Some(to), Some(request)) = (destination, self.in_dialog(id, Method::Bye, None)) {
            self.send_bye(now, id, to, request);
        }
        self.end_call(now, id);
    }

    pub(super) fn send_bye(&mut self, now: Time, id: &str, to: SocketAddr, request: Request) {
        let key = self.transactions.send(now, request.clone(), to, Some(self.settings.anchor_timeout));
        let kind = Kind::Bye { request: Box::new(request), direct: true };
        self.call_requests.insert(key, CallRequest { call: id.to_owned(), kind });
    }

    pub(super) fn requests_of(&self, id: &str) -> Vec<ClientKey> {
        let requests = self.call_requests.iter().filter(|(_, pending)| pending.call == id);
        requests.map(|(key, _)| *key).collect()
    }

    /// Sends the ACK to a 2xx, straight to the peer's Contact (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge(&mut self, id: &str, cseq: u32) {
        let Some(own) = self.own_address() else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        let (peer, tag) = (call.peer.clone(), call.local_tag.clone());
        let (uri, remote_tag) = (call.remote_target.clone(), call.remote_tag.clone());
        let Some(destination) = uri.socket_address() else { return };
        let mut ack = self.request(Method::Ack, uri, peer, id, cseq, own);
        ack.headers.from.params.set("tag", Some(tag));
        ack.headers.to.params.set("tag", remote_tag);
        let ack = Transmit::request(destination, ack);
        self.transmits.push_back(ack.clone());
        if let Some(call) = self.calls.get_mut(id) {
            call.ack = Some((cseq, ack));
        }
    }

    /// A 2xx that no request waits for: the peer has not seen the ACK, or another terminal has answered, too.
    pub(super) fn handle_late_answer(&mut self, now: Time, response: &Response) {
        let Some(call) = self.calls.get(&response.headers.call_id) else { return };
        let is_peers = response.headers.to.tag() == call.remote_tag.as_deref();
        match &call.ack {
            Some((cseq, ack)) if is_peers && *cseq == response.headers.cseq => {
                self.transmits.push_back(ack.clone())
            }
            _ if !is_peers => self.turn_away(now, response),
            _ => {}
        }
    }

    /// The callee answers with 200, and is not wanted: ACK and BYE (RFC 3261 §13.2.2.4).
    pub(super) fn turn_away(&mut self, now: Time, response: &Response) {
        let headers = &response.headers;
        let (Some(own), Some(contact)) = (self.own_address(), headers.contact_address()) else { return };
        let uri = contact.uri.clone();
        let Some(destination) = uri.socket_address() else { return };
        let mut request = |method, cseq| {
            let mut request =
                self.request(method, uri.clone(), headers.to.uri.clone(), &headers.call_id, cseq, own);
            request.headers.from.params.set("tag", headers.from.tag().map(str::to_owned));
            request.headers.to = headers.to.clone();
            request
        };
        let ack = request(Method::Ack, headers.cseq);
        let mut bye = request(Method::Bye, headers.cseq + 1);
        // It may tell its user that somebody else took the call (RFC 3326).
        bye.headers.set("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"");
        self.transmits.push_back(Transmit::request(destination, ack));
        self.send_bye(now, &headers.call_id, destination, bye);
    }

    pub(super) fn start_media(&mut self, id: &str, peer: &str, remote: SocketAddr) {
        let own = self.address_of_record.address_of_record();
        let (ssrc_send, ssrc_receive) = (ssrc(id, &own), ssrc(id, peer));
        self.media(MediaCommand::Start { call: id.to_owned(), remote, ssrc_send, ssrc_receive });
    }

    /// The call could not be set up.
    pub(super) fn fail_call(&mut self, now: Time, id: &str, status: u16) {
        let call = self.forget_call(now, id);
        self.record(Event::CallFailed { call: id.to_owned(), status });
        self.tell_referrer(now, call, status);
    }

    pub(super) fn end_call(&mut self, now: Time, id: &str) {
        self.forget_call(now, id);
        self.media(MediaCommand::Stop { call: id.to_owned() });
        self.record(Event::CallEnded { call: id.to_owned() });
    }

    /// The call is no more. An INVITE of it that still waits is cancelled: nothing else ends one that has a provisional
    /// response, when the final one does not come.
    pub(super) fn forget_call(&mut self, now: Time, id: &str) -> Option<Call> {
        for timer in [
            Timer::RepeatAnswer(id.to_owned()),
            Timer::RetryUpdate(id.to_owned()),
            Timer::EndUpdate(id.to_owned()),
            Timer::Answer(id.to_owned()),
            Timer::SetUp(id.to_owned()),
        ] {
            self.timers.stop(&timer);
        }
        for key in self.requests_of(id) {
            if !matches!(self.call_requests[&key].kind, Kind::Bye { .. }) {
                self.transactions.cancel(now, &key);
                self.call_requests.remove(&key);
            }
        }
        self.calls.remove(id)
    }

    pub(super) fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }
}

/// The synchronisation source of what this node sends in this call: both ends can compute both.
fn ssrc(call: &str, sender: &str) -> u32 {
    let hash = identifier_of(&format!("{call} {sender}")).0;
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
