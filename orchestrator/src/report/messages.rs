//! The messages that were sent, as few bytes of each as figures need.

use samp_model::{Event, Record, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What requests and their answers have in common: CSeq number, or sequence number. Some have none.
pub(super) type Number = Option<u32>;

/// All messages, by Call-ID or by the home address that they are about.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    sent: BTreeMap<String, Vec<Message>>,
    names: BTreeSet<Arc<str>>,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) at: Time,
    /// The node that sent it.
    pub(super) by: Arc<str>,
    pub(super) to: IpAddr,
    pub(super) kind: Kind,
    /// Length of its IP datagram.
    pub(super) bytes: u32,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) number: Number,
    pub(super) is_request: bool,
    /// Whether it is a request of a transaction of its own, and not ACK or CANCEL.
    pub(super) begins: bool,
    pub(super) is_invite: bool,
}

impl Messages {
    /// Takes in a record, if it is that of a message that was sent.
    pub(super) fn push(&mut self, record: &Record) {
        let Event::MessageSent { peer, summary, call, bytes } = &record.event else { return };
        let by = match self.names.get(record.node.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = record.node.as_str().into();
                self.names.insert(Arc::clone(&name));
                name
            }
        };
        let message = Message { at: record.at, by, to: *peer, kind: Kind::of(summary), bytes: *bytes };
        match self.sent.get_mut(call) {
            Some(messages) => messages.push(message),
            None => drop(self.sent.insert(call.clone(), vec![message])),
        }
    }

    /// Each Call-ID's messages, in order.
    pub(super) fn by_call(&self) -> impl Iterator<Item = (&str, Vec<&Message>)> {
        self.sent.iter().map(|(call, messages)| {
            let mut messages: Vec<_> = messages.iter().collect();
            messages.sort_by_key(|message| message.at);
            (call.as_str(), messages)
        })
    }
}

impl Kind {
    /// Of what records say: `INVITE 1`, `200 INVITE 1`, `BU 7`, `BAck 7 status 0`, `HoTI`.
    fn of(summary: &str) -> Self {
        let mut words = summary.split(' ').peekable();
        let is_response = words.next_if(|word| word.parse::<u16>().is_ok()).is_some();
        let method = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse().ok());
        let is_request = !is_response && !matches!(method, "BAck" | "HoT" | "CoT" | "BE");
        Self {
            number,
            is_request,
            begins: is_request && !matches!(method, "ACK" | "CANCEL"),
            is_invite: method == "INVITE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_a_message_is() {
        let kind = |number, is_request, begins, is_invite| Kind { number, is_request, begins, is_invite };
        for (summary, expected) in [
            ("INVITE 1", kind(Some(1), true, true, true)),
            ("180 INVITE 2", kind(Some(2), false, false, true)),
            ("ACK 2", kind(Some(2), true, false, false)),
            ("CANCEL 2", kind(Some(2), true, false, false)),
            ("REGISTER 7", kind(Some(7), true, true, false)),
            ("BU 65535", kind(Some(65535), true, true, false)),
            ("BAck 65535 status 0", kind(Some(65535), false, false, false)),
            ("HoTI", kind(None, true, true, false)),
            ("CoT", kind(None, false, false, false)),
            ("BE status 1", kind(None, false, false, false)),
            ("", kind(None, true, true, false)),
        ] {
            assert_eq!(Kind::of(summary), expected, "{summary}");
        }
    }
}
