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
}

impl Message {
    fn is_like(&self, other: &Message) -> bool {
        (self.is_sent, self.peer, &self.summary) == (other.is_sent, other.peer, &other.summary)
    }

    fn text(&self) -> String {
        let arrow = if self.is_sent { "to" } else { "from" };
        format!("{} {arrow} {}", self.summary, self.peer)
    }
}

/// How many conversations there are in either, and those that are not the same.
pub fn compare_messages(measured: &[Record], predicted: &[Record]) -> (usize, Vec<Difference>) {
    let sides = [measured, predicted].map(conversations);
    let ends = [measured, predicted].map(|records| records.iter().map(|record| record.at).max());
    let mut names: Vec<_> = sides.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let differences = names.iter().filter_map(|&conversation| {
        let [measured, predicted] =
            sides.each_ref().map(|side| side.get(conversation).map_or(&[][..], Vec::as_slice));
        let same = measured.iter().zip(predicted).take_while(|(one, other)| one.is_like(other)).count();
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

fn conversations(records: &[Record]) -> BTreeMap<Conversation, Vec<Message>> {
    let mut conversations: BTreeMap<Conversation, Vec<Message>> = BTreeMap::new();
    for record in records {
        let (is_sent, peer, summary, call) = match &record.event {
            Event::MessageSent { peer, summary, call } => (true, peer, summary, call),
            Event::MessageReceived { peer, summary, call } => (false, peer, summary, call),
            _ => continue,
        };
        // Of a call, what follows names the lab.
        let call = call.split('@').next().unwrap_or(call).to_owned();
        let message = Message { at: record.at, is_sent, peer: *peer, summary: summary.clone() };
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
            Event::MessageSent { peer, summary, call }
        } else {
            Event::MessageReceived { peer, summary, call }
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
        assert_eq!(differences[0].measured.as_deref(), Some("200 REGISTER 1 from 10.0.0.2"));
        assert_eq!(differences[0].predicted.as_deref(), Some("200 REGISTER 1 from 10.0.0.3"));
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
            (&None, Some("200 BYE 2 from 10.0.0.1"))
        );
    }
}
