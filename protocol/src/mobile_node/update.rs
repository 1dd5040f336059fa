//! What a move means for a call: re-INVITE to the correspondent node (RFC 3261 §14.1), and the way to one that has
//! moved as well.
//!
//! ```text
//! moved ─▶ re-INVITE to the peer's Contact ──200──▶ ACK, media to where the peer is
//!              │        └──491 (glare)──▶ again after 2.1–4 s (caller) or 0–2 s (callee)
//!              │        └──481, 408──▶ the call is over
//!              │        └──any other refusal──▶ again after 2 s; 64·T1 after the move the call is over
//!              └──silence for anchor_timeout──▶ re-INVITE through the anchor to the peer's home server ──▶ as above
//! ```

use super::call::{CallRequest, Kind, State};
use super::{MobileNode, Timer};
use crate::node::MediaCommand;
use crate::sip::{MediaDescription, Method, Response, Uri, status};
use samp_model::record::HandoffNumber;
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// The step in which the wait after glare is chosen (RFC 3261 §14.1).
const GLARE_STEP: Duration = Duration::from_millis(10);
/// The wait after any other refusal.
const RETRY: Duration = Duration::from_secs(2);

impl MobileNode {
    /// This node has moved: every peer gets to know, and what was being set up begins anew.
    pub(super) fn update_calls(&mut self, now: Time) {
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        for id in calls {
            match self.calls.get(&id).map(|call| &call.state) {
                Some(State::Established) => {
                    self.record(Event::UpdateSent { handoff: self.handoff, call: id.clone() });
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.update_until = now + 64 * self.settings.t1;
                    }
                    self.update_call(now, &id);
                }
                Some(State::Calling) => self.invite_through_anchor(now, &id),
                // Its CANCEL, or the INVITE to cancel, is lost with the address.
                Some(&State::Cancelling(code)) => self.fail_call(now, &id, code),
                Some(State::Ringing(_)) | None => {}
            }
        }
    }

    /// Sends a re-INVITE with the present care-of address.
    pub(super) fn update_call(&mut self, now: Time, id: &str) {
        if let Some(to) = self.calls.get(id).and_then(|call| call.remote_target.socket_address()) {
            self.send_update(now, id, None, to, Some(self.settings.anchor_timeout));
        }
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
        let kind = Kind::Update { handoff: self.handoff, direct };
        self.call_requests.insert(key, CallRequest { call: id.to_owned(), kind });
        if let Some(call) = self.calls.get_mut(id) {
            call.update = Some(key);
        }
        if !direct {
            // As long as the anchor may try, where its cache points and by way of the home server.
            let tries = self.settings.stale_deadline + 64 * self.settings.t1;
            self.timers.set(Timer::EndUpdate(id.to_owned()), now + tries);
        }
    }

    /// The anchor has taken a re-INVITE on, and no more was heard: it may be dead.
    pub(super) fn end_update(&mut self, now: Time, id: &str) {
        let Some(key) = self.calls.get_mut(id).and_then(|call| call.update.take()) else { return };
        self.transactions.forget(&key);
        let pending = self.call_requests.remove(&key);
        if let Some(CallRequest { kind: Kind::Update { handoff, direct }, .. }) = pending {
            self.handle_update_silence(now, id, handoff, direct);
        }
    }

    pub(super) fn handle_update_answered(
        &mut self,
        now: Time,
        id: &str,
        handoff: HandoffNumber,
        response: &Response,
    ) {
        self.timers.stop(&Timer::EndUpdate(id.to_owned()));
        let Some(call) = self.calls.get_mut(id) else { return };
        call.update = None;
        let (is_caller, until, is_hung_up) = (call.is_caller, call.update_until, call.is_hung_up);
        self.record(Event::UpdateAnswered { handoff, call: id.to_owned(), status: response.status });
        match response.status {
            200..=299 => {
                if let Some(contact) = response.headers.contact_address().cloned()
                    && let Some(call) = self.calls.get_mut(id)
                {
                    call.remote_target = contact.uri;
                    // The ACK to an earlier 200 of this node's went to where it was.
                    call.unacknowledged = None;
                    self.timers.stop(&Timer::RepeatAnswer(id.to_owned()));
                }
                self.acknowledge(id, response.headers.cseq);
                // Who accepts knows of the dialog.
                if is_hung_up {
                    return self.bye(now, id);
                }
                if let Some(media) = MediaDescription::from_sdp(&response.body) {
                    self.media(MediaCommand::Retarget { call: id.to_owned(), remote: media.address });
                }
            }
            status::REQUEST_PENDING => {
                let ms = Duration::from_millis;
                let (from, to) = if is_caller { (ms(2_100), ms(4_000)) } else { (ms(0), ms(2_000)) };
                let wait = self.random.duration("glare", from, to, GLARE_STEP);
                self.timers.set(Timer::RetryUpdate(id.to_owned()), now + wait);
            }
            // The peer knows nothing of the call any more (RFC 3261 §12.2.1.2).
            status::NO_SUCH_CALL | status::REQUEST_TIMEOUT => self.end_call(now, id),
            // Until it accepts, the peer sends its media to where this node was.
            _ if now < until => self.timers.set(Timer::RetryUpdate(id.to_owned()), now + RETRY),
            _ => self.hang_up(now, id),
        }
    }

    pub(super) fn handle_update_silence(
        &mut self,
        now: Time,
        id: &str,
        handoff: HandoffNumber,
        direct: bool,
    ) {
        let Some(peer) = self.calls.get(id).map(|call| call.peer.clone()) else { return };
        match &self.anchor {
            // The peer has moved too: its home server knows where to.
            Some(anchor) if direct => {
                let to = anchor.address;
                self.send_update(now, id, Some(peer), to, None);
            }
            _ => {
                let status = status::REQUEST_TIMEOUT;
                self.record(Event::UpdateAnswered { handoff, call: id.to_owned(), status });
                self.hang_up(now, id);
            }
        }
    }
}
