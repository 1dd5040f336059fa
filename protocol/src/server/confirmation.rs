//! The paper's confirmation of an anchor (`confirm: paper`): an ACK to the answer of a multicast REGISTER.
//!
//! The REGISTER carries the Contact, and every server that hears it keeps a binding that nobody sees. The ACK, with
//! the answer's Call-ID, tags and CSeq number, commits it at the chosen server; at all others it expires. RFC 3261
//! knows no ACK to a REGISTER, so an unmodified registrar ignores it.

use super::SampServer;
use crate::sip::Request;
use samp_model::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a binding waits to be committed.
const UNCOMMITTED: Duration = Duration::from_secs(2);
/// Bindings that may wait; with more, a discovery is answered as ever but cannot be confirmed.
const MAX_WAITING: usize = 10_000;

/// Call-ID, From tag and CSeq number of the REGISTER.
type Key = (String, String, u32);

/// Bindings that wait to be committed.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    waiting: BTreeMap<Key, Request>,
    /// Which of them expires when, soonest first.
    order: VecDeque<(Time, Key)>,
}

impl Confirmations {
    fn key(request: &Request) -> Option<Key> {
        let headers = &request.headers;
        Some((headers.call_id.clone(), headers.from.tag()?.to_owned(), headers.cseq))
    }

    /// Keeps what a multicast REGISTER asks for.
    pub(super) fn offer(&mut self, now: Time, register: &Request) {
        self.expire(now);
        if self.order.len() < MAX_WAITING
            && let Some(key) = Self::key(register)
        {
            self.order.push_back((now + UNCOMMITTED, key.clone()));
            self.waiting.insert(key, register.clone());
        }
    }

    /// The REGISTER that this ACK commits, if it is in time.
    pub(super) fn commit(&mut self, now: Time, ack: &Request) -> Option<Request> {
        self.expire(now);
        self.waiting.remove(&Self::key(ack)?)
    }

    fn expire(&mut self, now: Time) {
        while let Some((expires_at, key)) = self.order.front()
            && *expires_at <= now
        {
            self.waiting.remove(key);
            self.order.pop_front();
        }
    }
}

impl SampServer {
    /// An ACK to this server itself: it has been chosen.
    pub(super) fn handle_confirmation(&mut self, now: Time, ack: &Request) {
        if self.auth.is_some() || ack.headers.to.tag() != Some(&self.stateless_tag(ack)) {
            // With `auth: digest` an ACK, which carries no credentials, changes nothing.
            return;
        }
        if let Some(register) = self.confirmations.commit(now, ack) {
            // Nobody waits for an answer, so a refusal changes nothing.
            let _ = self.anchored.register(now, &register, self.epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, Method, parse};

    fn register(call_id: &str) -> Request {
        let text = format!(
            "REGISTER sip:sip.mcast.net SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
             From: <sip:mn1@samp.test>;tag=a\r\nTo: <sip:mn1@samp.test>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:mn1@10.0.0.2:5060>\r\n\r\n"
        );
        let Message::Request(request) = parse(text.as_bytes()).unwrap() else { panic!("a request") };
        request
    }

    #[test]
    fn an_ack_commits_once_and_in_time() {
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let ack = |call_id| Request { method: Method::Ack, ..register(call_id) };
        let mut confirmations = Confirmations::default();
        confirmations.offer(at(0), &register("c"));
        confirmations.offer(at(0), &register("d"));
        assert_eq!(confirmations.commit(at(1), &ack("e")), None);
        assert_eq!(confirmations.commit(at(1_999), &ack("c")), Some(register("c")));
        assert_eq!(confirmations.commit(at(1_999), &ack("c")), None);
        assert_eq!(confirmations.commit(at(2_000), &ack("d")), None);
    }

    #[test]
    fn who_asks_without_end_takes_no_more_than_the_bound() {
        let mut confirmations = Confirmations::default();
        for number in 0..MAX_WAITING + 10 {
            confirmations.offer(Time::ZERO, &register(&number.to_string()));
        }
        assert_eq!(confirmations.waiting.len(), MAX_WAITING);
        confirmations.offer(Time::ZERO + UNCOMMITTED, &register("later"));
        assert_eq!(confirmations.waiting.len(), 1);
    }
}
