//! Session mobility: a call moves to another terminal by REFER with Replaces (RFC 3515, 3891, 5631).
//!
//! ```text
//! this terminal         the other one          the correspondent node
//!      │ REFER, Refer-To: <peer?Replaces=call>      │
//!      ├───────────────────▶│                       │
//!      │◀──202, NOTIFY 100──┤  INVITE, Replaces     │
//!      │                    ├──────────────────────▶│ finds the dialog, answers,
//!      │                    │◀─────────200──────────┤ and ends the replaced call
//!      │◀──NOTIFY 200───────┤                       │
//!      │◀──────────────BYE──┼───────────────────────┤
//! ```

use super::call::{Call, State};
use super::{MobileNode, Timer, contact_header};
use crate::sip::{Headers, Method, Request, Uri, status};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a terminal that sent a REFER waits to hear of it (RFC 3515 §2.4.4 lets the other one choose).
const PATIENCE: Duration = Duration::from_secs(64);
/// REFERs at a time; more are refused.
const MAX_TRANSFERS: usize = 16;

/// A transfer that this node has asked for, by the Call-ID of its REFER.
#[derive(Debug)]
pub(super) struct Transfer {
    call: String,
}

/// Who asked for a call by REFER, and hears of it by NOTIFY.
#[derive(Debug)]
pub(super) struct Referrer {
    /// The REFER, as it came; its dialog is the subscription's.
    refer: Request,
    tag: String,
    cseq: u32,
}

/// A dialog, as the Replaces field names it (RFC 3891 §6.1).
#[derive(Debug, PartialEq)]
struct Replaces {
    call_id: String,
    /// The tag of the one that reads it.
    to_tag: String,
    from_tag: String,
}

impl Replaces {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(';').map(str::trim);
        let call_id = words.next()?.to_owned();
        let (mut to_tag, mut from_tag) = (None, None);
        for word in words {
            match word.split_once('=')? {
                ("to-tag", tag) => to_tag = Some(tag.to_owned()),
                ("from-tag", tag) => from_tag = Some(tag.to_owned()),
                _ => {}
            }
        }
        Some(Self { call_id, to_tag: to_tag?, from_tag: from_tag? })
    }

    fn of(headers: &Headers) -> Option<Option<Self>> {
        headers.get("Replaces").map(Self::parse)
    }
}

impl MobileNode {
    /// Moves a call to the terminal at this URI.
    pub(super) fn transfer(&mut self, now: Time, id: &str, target: &str) {
        let refused = |node: &mut Self, status| {
            node.record(Event::TransferFailed { call: id.to_owned(), status });
        };
        self.record(Event::TransferStarted { call: id.to_owned(), target: target.to_owned() });
        let Some(call) = self.calls.get(id).filter(|call| call.is_established()) else {
            return refused(self, status::NO_SUCH_CALL);
        };
        let remote_tag = call.remote_tag.clone().unwrap_or_default();
        let replaces = format!("{id};to-tag={remote_tag};from-tag={}", call.local_tag);
        let mut peer = Uri { params: Default::default(), ..call.peer.clone() };
        peer.headers = Some(format!("Replaces={}", escape(&replaces)));
        let uri = target.parse::<Uri>().ok();
        let to = uri.as_ref().and_then(Uri::socket_address);
        let to = to.or(self.anchor.as_ref().map(|anchor| anchor.address));
        let (Some(uri), Some(to), Some(own)) = (uri, to, self.own_address()) else {
            return refused(self, status::BAD_REQUEST);
        };
        if self.transfers.len() >= MAX_TRANSFERS {
            return refused(self, status::BUSY_HERE);
        }
        let refer_id = self.random.token("call");
        let mut refer = self.request(Method::Refer, uri.clone(), uri, &refer_id, 1, own);
        refer.headers.contact.push(contact_header(self.contact(own)));
        refer.headers.set("Refer-To", format!("<{peer}>"));
        refer.headers.set("Referred-By", format!("<{}>", self.address_of_record));
        self.transactions.send(now, refer, to, None);
        self.timers.set(Timer::Transfer(refer_id.clone()), now + PATIENCE);
        self.transfers.insert(refer_id, Transfer { call: id.to_owned() });
    }

    /// The answer to a REFER, or none.
    pub(super) fn handle_refer_response(&mut self, call_id: &str, code: u16) {
        if code >= 300 {
            self.end_transfer(call_id, Some(code));
        }
    }

    /// The transfer is over: as it should be, or not.
    pub(super) fn end_transfer(&mut self, refer_id: &str, failure: Option<u16>) {
        self.timers.stop(&Timer::Transfer(refer_id.to_owned()));
        if let (Some(transfer), Some(status)) = (self.transfers.remove(refer_id), failure) {
            self.record(Event::TransferFailed { call: transfer.call, status });
        }
    }

    /// The other terminal tells how the call that it was asked for goes (RFC 3515 §2.4.5).
    pub(super) fn handle_notify(&mut self, now: Time, request: &Request) {
        let id = &request.headers.call_id;
        if !self.transfers.contains_key(id) {
            return self.answer(now, request, status::NO_SUCH_CALL);
        }
        self.answer(now, request, status::OK);
        let text = String::from_utf8_lossy(&request.body);
        let code = text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        match code {
            Some(200..=299) => self.end_transfer(id, None),
            Some(code @ 300..) => self.end_transfer(id, Some(code)),
            _ => {}
        }
    }

    /// Somebody asks this terminal to take over a call.
    pub(super) fn handle_refer(&mut self, now: Time, request: Request) {
        let target = request.headers.get("Refer-To").and_then(|text| {
            let inner = text.split_once('<').map_or(text, |(_, rest)| rest);
            inner.split('>').next()?.parse::<Uri>().ok()
        });
        let (Some(mut target), Some(own), true) =
            (target, self.own_address(), request.headers.contact_address().is_some())
        else {
            return self.answer(now, &request, status::BAD_REQUEST);
        };
        if self.calls.len() >= super::answer::MAX_CALLS {
            return self.answer(now, &request, status::BUSY_HERE);
        }
        let fields = target.headers.take().unwrap_or_default();
        let replaces = fields.split('&').find_map(|field| field.strip_prefix("Replaces="));
        let replaces = replaces.and_then(unescape);
        let Some(server) = self.transactions.accept(&request) else { return };
        let tag = self.random.token("tag");
        let mut response = request.response(status::ACCEPTED, &tag);
        response.headers.contact.push(contact_header(self.contact(own)));
        self.transactions.respond(now, &server, response);
        let mut referrer = Referrer { refer: request, tag, cseq: 0 };
        self.notify(now, &mut referrer, status::TRYING);
        let (id, callee) = (self.random.token("call"), target.to_string());
        self.record(Event::CallStarted { call: id.clone(), callee });
        let mut call = Call::outgoing(now, target, self.random.token("tag"));
        call.setup.replaces = replaces;
        call.setup.referrer = Some(referrer);
        self.begin_call(now, id, call);
    }

    pub(super) fn notify_referrer(&mut self, now: Time, referrer: Option<Referrer>, code: u16) {
        if let Some(mut referrer) = referrer {
            self.notify(now, &mut referrer, code);
        }
    }

    /// The call that was asked for has failed.
    pub(super) fn tell_referrer(&mut self, now: Time, call: Option<Call>, code: u16) {
        self.notify_referrer(now, call.and_then(|call| call.setup.referrer), code);
    }

    fn notify(&mut self, now: Time, referrer: &mut Referrer, code: u16) {
        let (Some(own), Some(contact)) = (self.own_address(), referrer.refer.headers.contact_address())
        else {
            return;
        };
        referrer.cseq += 1;
        let (uri, from) = (contact.uri.clone(), referrer.refer.headers.from.clone());
        let call_id = referrer.refer.headers.call_id.clone();
        let Some(to): Option<SocketAddr> = uri.socket_address() else { return };
        let mut notify = self.request(Method::Notify, uri, from.uri.clone(), &call_id, referrer.cseq, own);
        notify.headers.from = referrer.refer.headers.to.clone().with("tag", Some(referrer.tag.clone()));
        notify.headers.to = from;
        notify.headers.contact.push(contact_header(self.contact(own)));
        notify.headers.set("Event", "refer");
        let state = if code < 200 { "active;expires=64" } else { "terminated;reason=noresource" };
        notify.headers.set("Subscription-State", state);
        notify.headers.set("Content-Type", "message/sipfrag;version=2.0");
        notify.body = format!("SIP/2.0 {code} {}\r\n", status::reason(code)).into();
        self.transactions.send(now, notify, to, None);
    }

    /// The call that an INVITE is to replace, if it says so.
    ///
    /// # Errors
    /// The status to refuse with (RFC 3891 §3).
    pub(super) fn replaced_by(&self, invite: &Request) -> Result<Option<String>, u16> {
        let Some(replaces) = Replaces::of(&invite.headers) else { return Ok(None) };
        let replaces = replaces.ok_or(status::BAD_REQUEST)?;
        let call = self.calls.get(&replaces.call_id).ok_or(status::NO_SUCH_CALL)?;
        let is_it = call.local_tag == replaces.to_tag && call.remote_tag.as_ref() == Some(&replaces.from_tag);
        match call.state {
            State::Established if is_it => Ok(Some(replaces.call_id)),
            _ => Err(status::NO_SUCH_CALL),
        }
    }

    /// The new call takes the old one's place.
    pub(super) fn take_over(&mut self, now: Time, old: &str, new: &str) {
        self.record(Event::CallReplaced { call: old.to_owned(), by: new.to_owned() });
        self.hang_up(now, old);
    }
}

/// As a header field in a URI wants it (RFC 3261 §19.1.2).
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
        out
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    // It becomes a header field: one line.
    (!text.contains(['\r', '\n'])).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_survives_the_way_through_a_uri() {
        let text = "a b@c;to-tag=1;from-tag=2";
        let escaped = escape(text);
        assert_eq!(escaped, "a%20b%40c%3Bto-tag%3D1%3Bfrom-tag%3D2");
        assert_eq!(unescape(&escaped).as_deref(), Some(text));
        let replaces = Replaces { call_id: "a b@c".into(), to_tag: "1".into(), from_tag: "2".into() };
        assert_eq!(Replaces::parse(text), Some(replaces));
    }

    #[test]
    fn what_is_no_dialog_is_refused() {
        for text in ["", "c", "c;to-tag=1", "c;from-tag=1", "c;to-tag;from-tag=1"] {
            assert_eq!(Replaces::parse(text), None, "{text}");
        }
        for text in ["%", "%4", "%zz", "%0D%0AVia: x", "%ff"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
