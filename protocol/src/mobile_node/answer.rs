//! The peer's requests of a call: INVITE and re-INVITE, ACK, BYE.

use super::call::{Call, Unacknowledged, own_media};
use super::{MobileNode, Timer, contact_header};
use crate::cache::Learned;
use crate::node::{MediaCommand, Transmit};
use crate::sip::{MediaDescription, Request, status};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// T2 (RFC 3261 §13.3.1.4): the longest interval between two repetitions of a 200.
const T2: Duration = Duration::from_secs(4);

impl MobileNode {
    /// An INVITE from outside, of a new call or of one that there is.
    pub(super) fn handle_invite(&mut self, now: Time, request: Request) {
        let Some(own) = self.own_address() else { return };
        let id = request.headers.call_id.clone();
        let (Some(contact), Some(media)) =
            (request.headers.contact_address().cloned(), MediaDescription::from_sdp(&request.body))
        else {
            return self.answer(now, &request, status::BAD_REQUEST);
        };
        if request.headers.to.uri.address_of_record() != self.address_of_record.address_of_record() {
            return self.answer(now, &request, status::NOT_FOUND);
        }
        match self.calls.get_mut(&id) {
            Some(call) if call.remote_tag.as_deref() == request.headers.from.tag() => {
                if request.headers.cseq <= call.remote_cseq {
                    return self.answer(now, &request, status::SERVER_ERROR);
                }
                if call.update.is_some() {
                    return self.answer(now, &request, status::REQUEST_PENDING);
                }
                call.remote_cseq = request.headers.cseq;
                call.remote_target = contact.uri.clone();
                self.media(MediaCommand::Retarget { call: id.clone(), remote: media.address });
            }
            None if request.headers.to.tag().is_none() => {
                let caller = request.headers.from.uri.address_of_record();
                self.record(Event::CallAccepted { call: id.clone(), caller: caller.clone() });
                let tag = self.random.token("tag");
                let call = Call::incoming(now, &request.headers, contact.uri.clone(), tag);
                self.calls.insert(id.clone(), call);
                self.start_media(&id, &caller, media.address);
            }
            _ => return self.answer(now, &request, status::NO_SUCH_CALL),
        }
        // What a peer says of its place is the best that tier 1 can know.
        self.tier1.learn(now, &request.headers.from.uri.address_of_record(), contact.uri, Learned::Told);
        self.answer_invite(now, &id, &request, own);
    }

    fn answer_invite(&mut self, now: Time, id: &str, request: &Request, own: SocketAddr) {
        let contact = contact_header(self.contact(own));
        let t1 = self.settings.t1;
        let (Some(call), Some(key)) = (self.calls.get_mut(id), self.transactions.accept(request)) else {
            return;
        };
        let mut response = request.response(status::OK, &call.local_tag);
        response.headers.contact.push(contact);
        response.headers.set("Content-Type", MediaDescription::CONTENT_TYPE);
        response.body = own_media(own);
        if let Some(answer) = Transmit::response(response.clone()) {
            call.unacknowledged = Some(Unacknowledged { answer, interval: t1, sent_at: now });
            self.timers.set(Timer::RepeatAnswer(id.to_owned()), now + t1);
        }
        self.transactions.respond(now, &key, response);
    }

    /// No ACK yet: the 200 goes out again, for 64·T1 (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_answer(&mut self, now: Time, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Some(waiting) = &mut call.unacknowledged else { return };
        if now - waiting.sent_at >= 64 * self.settings.t1 {
            return self.hang_up(now, id);
        }
        waiting.interval = (2 * waiting.interval).min(T2);
        self.timers.set(Timer::RepeatAnswer(id.to_owned()), now + waiting.interval);
        self.transmits.push_back(waiting.answer.clone());
    }

    pub(super) fn handle_ack(&mut self, request: &Request) {
        if let Some(call) = self.calls.get_mut(&request.headers.call_id) {
            call.unacknowledged = None;
            self.timers.stop(&Timer::RepeatAnswer(request.headers.call_id.clone()));
        }
    }

    pub(super) fn handle_bye(&mut self, now: Time, request: &Request) {
        let id = &request.headers.call_id;
        let known =
            self.calls.get(id).is_some_and(|call| call.remote_tag.as_deref() == request.headers.from.tag());
        self.answer(now, request, if known { status::OK } else { status::NO_SUCH_CALL });
        if known {
            self.end_call(id);
        }
    }
}
