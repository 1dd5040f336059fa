//! The peer's requests of a call: INVITE and CANCEL, re-INVITE and UPDATE, ACK, BYE (RFC 3261 §13.3, §14.2, §15.1.2;
//! RFC 3311).
//!
//! ```text
//! INVITE, To without tag ─▶ known From tag and CSeq: 482, merged (§8.2.2.2)
//!                           known From tag, higher CSeq: the caller begins anew, so does the call
//!                           else Ringing ─ring─▶ 200, repeated until ACK, for 64·T1 at most ─▶ BYE
//! INVITE or UPDATE in a dialog ─▶ older CSeq: 500; own re-INVITE under way: 491; offer not possible: 488; else 200
//! ```

use super::call::{Call, Ringing, State, Unacknowledged};
use super::{MobileNode, Timer, contact_header};
use crate::cache::Learned;
use crate::node::{MediaCommand, Transmit};
use crate::sip::{MediaDescription, Method, Request, Response, status};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// T2 (RFC 3261 §13.3.1.4): the longest interval between two repetitions of a 200.
const T2: Duration = Duration::from_secs(4);
/// Calls at a time, at this end; one more gets 486.
pub(super) const MAX_CALLS: usize = 64;

impl MobileNode {
    /// An INVITE from outside, of a new call or of one that there is.
    pub(super) fn handle_invite(&mut self, now: Time, request: Request) {
        if request.headers.contact_address().is_none() {
            return self.answer(now, &request, status::BAD_REQUEST);
        }
        if request.headers.to.tag().is_some() {
            return self.handle_change(now, &request);
        }
        // The Request-URI is what counts (RFC 3261 §8.2.2.1); who had this address before may be meant.
        if request.uri.user != self.address_of_record.user {
            return self.answer(now, &request, status::NOT_FOUND);
        }
        if let Some(call) = self.calls.get(&request.headers.call_id) {
            let from_same = call.remote_tag.as_deref() == request.headers.from.tag() && !call.is_caller;
            if !from_same || request.headers.cseq <= call.remote_cseq {
                return self.answer(now, &request, status::LOOP_DETECTED);
            }
            self.drop_attempt(now, &request.headers.call_id);
        } else if self.calls.len() >= MAX_CALLS {
            return self.answer(now, &request, status::BUSY_HERE);
        }
        let offer_is_good = request.body.is_empty() || MediaDescription::from_sdp(&request.body).is_some();
        if !offer_is_good {
            return self.answer(now, &request, status::NOT_ACCEPTABLE_HERE);
        }
        let replaced = match self.replaced_by(&request) {
            Ok(replaced) => replaced,
            Err(code) => return self.answer(now, &request, code),
        };
        let id = request.headers.call_id.clone();
        self.accept_call(now, request);
        if let Some(old) = replaced {
            self.take_over(now, &old, &id);
        }
    }

    /// Lets the callee ring, or answers at once.
    fn accept_call(&mut self, now: Time, invite: Request) {
        let Some(server) = self.transactions.accept(&invite) else { return };
        let (id, caller) = (invite.headers.call_id.clone(), invite.headers.from.uri.address_of_record());
        let Some(contact) = invite.headers.contact_address().map(|contact| contact.uri.clone()) else {
            return;
        };
        let is_replacement = invite.headers.get("Replaces").is_some();
        // What a peer says of its place is the best that tier 1 can know.
        self.tier1.learn(now, &caller, contact.clone(), Learned::Found);
        let tag = self.random.token("tag");
        let ringing = invite.response(status::RINGING, &tag);
        let call = Call::incoming(now, Ringing { server, invite }, contact, tag);
        self.calls.insert(id.clone(), call);
        // A call that takes another one's place does not ring (RFC 3891 §3).
        if self.settings.ring.is_zero() || is_replacement {
            return self.pick_up(now, &id);
        }
        let Some(own) = self.own_address() else { return };
        let ringing = self.with_contact(ringing, own);
        self.transactions.respond(now, &server, ringing);
        self.record(Event::CallRinging { call: id.clone(), caller });
        self.timers.set(Timer::Answer(id), now + self.settings.ring);
    }

    fn with_contact(&self, mut response: Response, own: SocketAddr) -> Response {
        response.headers.contact.push(contact_header(self.contact(own)));
        response.headers.set("Allow", super::ALLOW);
        response.headers.set("Supported", super::SUPPORTED);
        response
    }

    /// The callee answers the call that rings.
    pub(super) fn pick_up(&mut self, now: Time, id: &str) {
        let Some(own) = self.own_address() else { return };
        let (media, origin) = (self.own_media(own), self.origin(id));
        let Some(call) = self.calls.get_mut(id) else { return };
        let State::Ringing(ringing) = std::mem::replace(&mut call.state, State::Established) else { return };
        let Ringing { server, invite } = *ringing;
        let (caller, tag) = (invite.headers.from.uri.address_of_record(), call.local_tag.clone());
        let offer = MediaDescription::from_sdp(&invite.body);
        let body = match offer {
            Some(_) => media.answer(origin, &invite.body),
            None => Some(media.offer(origin)),
        };
        self.record(Event::CallAccepted { call: id.to_owned(), caller: caller.clone() });
        if let Some(offer) = offer {
            self.start_media(id, &caller, offer.address);
        }
        let mut response = self.with_contact(invite.response(status::OK, &tag), own);
        response.headers.set("Content-Type", MediaDescription::CONTENT_TYPE);
        response.body = body.unwrap_or_default().into();
        self.repeat_until_ack(now, id, &response, offer.is_none());
        self.transactions.respond(now, &server, response);
    }

    /// INVITE or UPDATE in a dialog: the peer has moved, or changes the session.
    pub(super) fn handle_change(&mut self, now: Time, request: &Request) {
        let id = request.headers.call_id.clone();
        let Some(own) = self.own_address() else { return };
        let is_invite = request.method == Method::Invite;
        let (media, origin) = (self.own_media(own), self.origin(&id));
        let call = self.calls.get_mut(&id);
        // A callee that moves before its 200 is here; this node's own INVITE is still in progress (RFC 3261 §14.2).
        if is_invite && call.as_ref().is_some_and(|call| call.is_being_answered(&request.headers)) {
            return self.answer(now, request, status::REQUEST_PENDING);
        }
        let Some(call) = call.filter(|call| call.is_dialog_of(&request.headers)) else {
            return self.answer(now, request, status::NO_SUCH_CALL);
        };
        if request.headers.cseq <= call.remote_cseq {
            return self.answer(now, request, status::SERVER_ERROR);
        }
        call.remote_cseq = request.headers.cseq;
        let changes_session = is_invite || !request.body.is_empty();
        if call.update.is_some() && changes_session || is_invite && !call.is_established() {
            return self.answer(now, request, status::REQUEST_PENDING);
        }
        let offer = MediaDescription::from_sdp(&request.body);
        if offer.is_none() && !request.body.is_empty() {
            return self.answer(now, request, status::NOT_ACCEPTABLE_HERE);
        }
        let (peer, tag) = (call.peer.address_of_record(), call.local_tag.clone());
        if let Some(contact) = request.headers.contact_address() {
            call.remote_target = contact.uri.clone();
            self.tier1.learn(now, &peer, contact.uri.clone(), Learned::Told);
        }
        if let Some(offer) = offer {
            self.media(MediaCommand::Retarget { call: id.clone(), remote: offer.address });
        }
        let body = match offer {
            Some(_) => media.answer(origin, &request.body),
            None => is_invite.then(|| media.offer(origin)),
        };
        let Some(server) = self.transactions.accept(request) else { return };
        let mut response = self.with_contact(request.response(status::OK, &tag), own);
        if let Some(body) = body {
            response.headers.set("Content-Type", MediaDescription::CONTENT_TYPE);
            response.body = body.into();
        }
        if is_invite {
            self.repeat_until_ack(now, &id, &response, offer.is_none());
        }
        self.transactions.respond(now, &server, response);
    }

    fn repeat_until_ack(&mut self, now: Time, id: &str, response: &Response, made_offer: bool) {
        let interval = self.settings.t1;
        let (Some(call), Some(answer)) = (self.calls.get_mut(id), Transmit::response(response.clone()))
        else {
            return;
        };
        call.unacknowledged = Some(Unacknowledged { answer, interval, sent_at: now, made_offer });
        self.timers.set(Timer::RepeatAnswer(id.to_owned()), now + interval);
    }

    /// No ACK yet: the 200 goes out again, for 64·T1 (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_answer(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(waiting) = &mut call.unacknowledged else { return };
        if now - waiting.sent_at >= 64 * self.settings.t1 {
            return self.bye(now, id);
        }
        waiting.interval = (2 * waiting.interval).min(T2);
        self.timers.set(Timer::RepeatAnswer(id.to_owned()), now + waiting.interval);
        self.transmits.push_back(waiting.answer.clone());
    }

    pub(super) fn handle_ack(&mut self, now: Time, request: &Request) {
        let id = &request.headers.call_id;
        let Some(call) = self.calls.get_mut(id) else { return };
        if !call.is_dialog_of(&request.headers) || request.headers.cseq != call.remote_cseq {
            return;
        }
        let waiting = call.unacknowledged.take();
        let (peer, is_hung_up) = (call.peer.address_of_record(), call.is_hung_up);
        self.timers.stop(&Timer::RepeatAnswer(id.clone()));
        if is_hung_up {
            return self.bye(now, id);
        }
        let made_offer = waiting.is_some_and(|waiting| waiting.made_offer);
        if let (true, Some(answer)) = (made_offer, MediaDescription::from_sdp(&request.body)) {
            self.start_media(id, &peer, answer.address);
        }
    }

    /// The caller has begun the same call anew: its first attempt is void.
    fn drop_attempt(&mut self, now: Time, id: &str) {
        if self.calls.get(id).is_some_and(Call::is_established) {
            self.media(MediaCommand::Stop { call: id.to_owned() });
        }
        self.refuse_ringing(now, id, status::REQUEST_TERMINATED);
    }

    /// Ends a call that rings: 480, as nobody is going to answer it.
    pub(super) fn decline(&mut self, now: Time, id: &str) {
        self.refuse_ringing(now, id, status::TEMPORARILY_UNAVAILABLE);
        self.record(Event::CallCancelled { call: id.to_owned() });
    }

    fn refuse_ringing(&mut self, now: Time, id: &str, code: u16) {
        let Some(call) = self.forget_call(now, id) else { return };
        if let State::Ringing(ringing) = call.state {
            let response = ringing.invite.response(code, &call.local_tag);
            self.transactions.respond(now, &ringing.server, response);
        }
    }

    /// CANCEL is answered whenever its INVITE is known, and ends the call while that rings (RFC 3261 §9.2).
    pub(super) fn handle_cancel(&mut self, now: Time, request: &Request) {
        let Some(invite) = self.transactions.cancelled_by(request) else {
            return self.answer(now, request, status::NO_SUCH_CALL);
        };
        self.answer(now, request, status::OK);
        let rings = |call: &Call| matches!(&call.state, State::Ringing(ringing) if ringing.server == invite);
        let ringing = self.calls.iter().find(|(_, call)| rings(call)).map(|(id, _)| id.clone());
        if let Some(id) = ringing {
            self.refuse_ringing(now, &id, status::REQUEST_TERMINATED);
            self.record(Event::CallCancelled { call: id });
        }
    }

    pub(super) fn handle_bye(&mut self, now: Time, request: &Request) {
        let id = &request.headers.call_id;
        let known = self.calls.get(id).is_some_and(|call| call.is_dialog_of(&request.headers));
        self.answer(now, request, if known { status::OK } else { status::NO_SUCH_CALL });
        if !known {
            return;
        }
        // The caller ends what rings (RFC 3261 §15.1.2).
        if self.calls.get(id).is_some_and(|call| matches!(call.state, State::Ringing(_))) {
            self.refuse_ringing(now, id, status::REQUEST_TERMINATED);
            return self.record(Event::CallCancelled { call: id.clone() });
        }
        // Another terminal of the callee's was faster (RFC 3326).
        let is_elsewhere = request.headers.get("Reason").is_some_and(|reason| reason.contains("cause=200"));
        if is_elsewhere {
            self.forget_call(now, id);
            self.media(MediaCommand::Stop { call: id.clone() });
            self.record(Event::CallCancelled { call: id.clone() });
        } else {
            self.end_call(now, id);
        }
    }
}
