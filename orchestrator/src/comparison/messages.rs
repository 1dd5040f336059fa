//! Conversations: what a node sends and receives under one Call-ID, in its order.
//!
//! Two things have no order that could be compared. Answers of several servers to one multicast request come as the
//! machine likes where they are equally near. And a run ends somewhere: what only one of the two has in its last second
//! was cut off in the other.

use samp_model::{Event, Record, Time};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What is missing in a run's last moments is no difference.
const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// Call-IDs in a message at most: its own, and those of a call that it replaces (RFC 3891) or has replaced (RFC 3515).
const MOST_NAMES: i64 = 3;

/// One node's messages under one Call-ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conversation {
    /// The node.
    pub node: String,
    /// The Call-ID, without the name of the lab.
    pub call: String,
}

/// A conversation that is not the same in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Which one.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// How many messages are the same before it.
    pub after: usize,
    /// The run's next message; none where it has no more.
    pub measured: Option<String>,
    /// The prediction's next message; none where it has no more.
    pub predicted: Option<String>,
}

#[derive(Clone, Debug)]
struct Message {
    at: Time,
    is_sent: bool,
    peer: IpAddr,
    summary: String,
    /// Length of its datagram.
    bytes: u32,
}

impl Message {
    /// Where the lab's name is so much longer in `self`, messages that name it are longer, too.
    fn is_like(&self, other: &Message, longer_name: i64) -> bool {
        let longer = i64::from(self.bytes) - i64::from(other.bytes);
        (self.is_sent, self.peer, &self.summary) == (other.is_sent, other.peer, &other.summary)
            && (0..=MOST_NAMES).any(|names| longer == names * longer_name)
    }

    fn text(&self) -> String {
        let arrow = if self.is_sent { "to" } else { "from" };
        format!("{} {arrow} {}, {} bytes", self.summary, self.peer, self.bytes)
    }
}

/// How many conversations there are in either, and those that are not the same.
pub fn compare_messages(measured: &[Record], predicted: &[Record]) -> (usize, Vec<Difference>) {
    let sides = [measured, predicted].map(conversations);
    let ends = [measured, predicted].map(|records| records.iter().map(|record| record.at).max());
    let [ours, theirs] = [measured, predicted].map(|records| records.iter().find_map(lab_name).map(str::len));
    let longer_name = ours.zip(theirs).map_or(0, |(ours, theirs)| ours as i64 - theirs as i64);
    let mut names: Vec<_> = sides.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let differences = names.iter().filter_map(|&conversation| {
        let [measured, predicted] =
            sides.each_ref().map(|side| side.get(conversation).map_or(&[][..], Vec::as_slice));
        let same =
            measured.iter().zip(predicted).take_while(|(one, other)| one.is_like(other, longer_name)).count();
        let (next, expected) = (measured.get(same), predicted.get(same));
        let is_cut_off = match (next, expected) {
            (None, None) => true,
            (Some(next), None) => ends[0].is_some_and(|end| end - next.at <= LAST_MOMENTS),
            (None, Some(next)) => ends[1].is_some_and(|end| end - next.at <= LAST_MOMENTS),
            (Some(_), Some(_)) => false,
        };
        (!is_cut_off).then(|| Difference {
            conversation: conversation.clone(),
            after: same,
            measured: next.map(Message::text),
            predicted: expected.map(Message::text),
        })
    });
    (names.len(), differences.collect())
}

/// The lab's name, which is in the Call-IDs of calls.
fn lab_name(record: &Record) -> Option<&str> {
    match &record.event {
        Event::MessageSent { call, .. } => Some(call.split_once('@')?.1),
        _ => None,
    }
}

fn conversations(records: &[Record]) -> BTreeMap<Conversation, Vec<Message>> {
    let mut conversations: BTreeMap<Conversation, Vec<Message>> = BTreeMap::new();
    for record in records {
        let (is_sent, peer, summary, call, bytes) = match &record.event {
            Event::MessageSent { peer, summary, call, bytes } => (true, peer, summary, call, bytes),
            Event::MessageReceived { peer, summary, call, bytes } => (false, peer, summary, call, bytes),
            _ => continue,
        };
        // Of a call, what follows names the lab.
        let call = call.split('@').next().unwrap_or(call).to_owned();
        let message =
            Message { at: record.at, is_sent, peer: *peer, summary: summary.clone(), bytes: *bytes };
        conversations.entry(Conversation { node: record.node.clone(), call }).or_default().push(message);
    }
    for messages in conversations.values_mut() {
        messages.sort_by_key(|message| message.at);
        let is_round =
            |one: &Message, next: &Message| !one.is_sent && !next.is_sent && one.summary == next.summary;
        for round in messages.chunk_by_mut(is_round) {
            round.sort_by_key(|message| message.peer);
        }
    }
    conversations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ms: u64, is_sent: bool, peer: u8, summary: &str) -> Record {
        let (peer, summary, call) = (IpAddr::from([10, 0, 0, peer]), summary.into(), format!("c@{ms}"));
        let event = if is_sent {
            Event::MessageSent { peer, summary, call, bytes: 100 }
        } else {
            Event::MessageReceived { peer, summary, call, bytes: 100 }
        };
        Record { at: Time::from_nanos(ms * 1_000_000), node: "mn1".into(), event }
    }

    #[test]
    fn instants_and_the_order_of_a_rounds_answers_do_not_count() {
        let ask = |at| record(at, true, 9, "REGISTER 1");
        let answer = |at, peer| record(at, false, peer, "200 REGISTER 1");
        let measured = [ask(1), answer(5, 1), answer(6, 2)];
        assert_eq!(compare_messages(&measured, &[ask(0), answer(3, 2), answer(3, 1)]), (1, Vec::new()));
        let (_, differences) = compare_messages(&measured, &[ask(0), answer(3, 3), answer(3, 1)]);
        assert_eq!(differences[0].after, 2);
        assert_eq!(differences[0].measured.as_deref(), Some("200 REGISTER 1 from 10.0.0.2, 100 bytes"));
        assert_eq!(differences[0].predicted.as_deref(), Some("200 REGISTER 1 from 10.0.0.3, 100 bytes"));
    }

    #[test]
    fn lengths_count_but_for_the_labs_name() {
        let sent = |call: &str, bytes| {
            let (peer, summary, call) = (IpAddr::from([10, 0, 0, 1]), "INVITE 1".into(), call.into());
            let event = Event::MessageSent { peer, summary, call, bytes };
            [Record { at: Time::ZERO, node: "mn1".into(), event }]
        };
        let predicted = sent("call-1@simulated", 409);
        for (bytes, unlike) in [(403, 0), (397, 0), (409, 0), (404, 1), (415, 1)] {
            let (_, differences) = compare_messages(&sent("call-1@lab", bytes), &predicted);
            assert_eq!(differences.len(), unlike, "{bytes}");
        }
        // Registrations name nobody.
        assert_eq!(compare_messages(&sent("r", 409), &sent("r", 410)).1.len(), 1);
    }

    #[test]
    fn only_what_the_end_cuts_off_may_be_missing() {
        let short = [record(0, true, 1, "BYE 2")];
        let long = |answered, end| {
            [
                record(0, true, 1, "BYE 2"),
                record(answered, false, 1, "200 BYE 2"),
                record(end, true, 2, "ACK 1"),
            ]
        };
        let (_, differences) = compare_messages(&long(500, 1200), &short);
        assert_eq!(differences, []);
        let (_, differences) = compare_messages(&short, &long(100, 1200));
        assert_eq!((differences.len(), differences[0].after), (1, 1));
        assert_eq!(
            (&differences[0].measured, differences[0].predicted.as_deref()),
            (&None, Some("200 BYE 2 from 10.0.0.1, 100 bytes"))
        );
    }
}
